"""Three texts of one file, merged as git does it."""

import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from git import Repo

from server.files import write_whole
from server.vcs.git_environment import translating_git_errors


def merge_file(repo: Repo, scratch: Path | None, texts: tuple[str, str, str], sides: Sequence[str]) -> tuple[str, str]:
    """Base, ours and theirs in one text, and the places that git could not merge, with both sides.

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
    return merged, (_conflicts(merged) or "git cannot merge them") if status else ""


def _conflicts(merged: str) -> str:
    """The places that git could not merge, with both sides."""
    return "\n".join(re.findall(r"^<{7} .*?^>{7} [^\n]*", merged, re.DOTALL | re.MULTILINE))
