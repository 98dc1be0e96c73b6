"""Three texts of one file, merged as git does it."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from git import Repo

from server.files import write_whole
from server.vcs.git_environment import translating_git_errors

# A place that git could not merge: ours, base and theirs.
_CONFLICT = re.compile(
    r"^<{7} [^\n]*\n(.*?)^\|{7} [^\n]*\n(.*?)^={7}\n(.*?)^>{7} [^\n]*(?:\n|\Z)", re.DOTALL | re.MULTILINE
)


def merge_file(repo: Repo, scratch: Path | None, texts: tuple[str, str, str], sides: Sequence[str]) -> tuple[str, str]:
    """Base, ours and theirs in one text, and the places that could not be merged, with both sides.

    Where git sees a conflict, but one side has all that the other has and more, as who built on a change before it was
    kept, that side is taken.

    Args:
        scratch: a folder for files that are gone afterwards; None: the system's.
        sides: what ours, base and theirs are called where they conflict.

    Raises:
        WorkspaceUnusable: git fails, or the disk is full.
    """
    base, ours, theirs = texts
    with translating_git_errors("Merging"), TemporaryDirectory(dir=scratch) as folder:
        paths = [Path(folder) / side for side in ("ours", "base", "theirs")]
        for path, text in zip(paths, (ours, base, theirs), strict=True):
            write_whole(path, text)
        status, merged, _ = repo.git.merge_file(
            "-p",
            "--diff3",
            *(f"-L{side}" for side in sides),
            *map(str, paths),
            with_extended_output=True,
            with_exceptions=False,
            strip_newline_in_stdout=False,
            stdout_as_string=True,
        )
    if not status:
        return merged, ""
    merged, conflicts = _CONFLICT.subn(lambda found: _fuller(*found.groups()) or found[0], merged)
    left = "\n".join(found[0].rstrip("\n") for found in _CONFLICT.finditer(merged))
    return merged, left or ("" if conflicts else "git cannot merge them")


def _fuller(ours: str, base: str, theirs: str) -> str | None:
    """The side that has all that the other one has; None if neither does."""
    before = base.splitlines()
    for fuller, other in ((ours, theirs), (theirs, ours)):
        lines, told = fuller.splitlines(), other.splitlines()
        added = any(line.strip() for line in Counter(told) - Counter(before))
        undone = (Counter(before) - Counter(told)) & Counter(lines)  # what the other one has removed
        rest = iter(lines)
        if added and not undone and all(line in rest for line in told):
            return fuller
    return None
