"""Three-way merges of candidates, file by file, by `git merge-file`."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from git import Repo

from server.errors import PatchRefused
from server.files import write_whole
from server.source.candidate import Candidate
from server.vcs.git_environment import translating_git_errors

_QUOTED = 4000  # characters of a conflict


def merge(repo: Repo, scratch: Path, sides: tuple[Candidate, Candidate, Candidate], name: str) -> Candidate:
    """The second of base, ours and theirs, with what theirs changed since base.

    Args:
        scratch: a folder for files that are gone afterwards. name: of theirs.

    Raises:
        PatchRefused: with both sides of what conflicts. WorkspaceUnusable.
    """
    conflicts: list[str] = []
    texts: dict[str, str] = {}
    for path in sorted({path for side in sides for path in side}):
        before, mine, yours = (side.get(path) for side in sides)
        if mine != before and yours not in (before, mine):  # changed on both sides
            text, told = _both(repo, scratch, (before, mine, yours), name)
            conflicts += [told if text is not None else f"{path}: {told}"] if told else []
        else:
            text = yours if mine == before else mine
        if text is not None:
            texts[path] = text
    if conflicts:
        raise PatchRefused(
            "\n".join([f"What {name} changed conflicts with the candidate:", *conflicts])[:_QUOTED],
            "Write the change against the candidate with apply_patch(patch).",
        )
    if not texts:
        raise PatchRefused(f"What {name} changed would leave no editable file.", "Try something else.")
    if texts == dict(sides[1]):
        raise PatchRefused(f"What {name} changed is in the candidate already.", "Try something else.")
    return Candidate(texts)


def _both(
    repo: Repo, scratch: Path, texts: tuple[str | None, str | None, str | None], name: str
) -> tuple[str | None, str]:
    """One file merged, and the places that git could not merge, with both sides; None where a side has deleted it."""
    base, ours, theirs = texts
    if ours is None or theirs is None:
        who, other = (name, "the candidate") if theirs is None else ("the candidate", name)
        return None, f"{who} has deleted it, and {other} has changed it"
    with translating_git_errors("Merging"), TemporaryDirectory(dir=scratch) as folder:
        paths = [Path(folder) / side for side in ("ours", "base", "theirs")]
        for path, text in zip(paths, (ours, base or "", theirs), strict=True):
            write_whole(path, text)
        labels = [f"-L{label}" for label in ("the candidate", "before", name)]
        status, merged, _ = repo.git.merge_file(
            "-p",
            "--diff3",
            *labels,
            *map(str, paths),
            with_extended_output=True,
            with_exceptions=False,
            strip_newline_in_stdout=False,
            stdout_as_string=True,
        )
    return merged, (_conflicts(merged) or "git cannot merge them") if status else ""


def _conflicts(merged: str) -> str:
    """The places that git could not merge, with both sides."""
    return "\n".join(re.findall(r"^<{7} .*?^>{7} [^\n]*", merged, re.DOTALL | re.MULTILINE))
