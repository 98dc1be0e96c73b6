"""Our refs in the user's repository: read, moved by compare-and-swap, cleared of what a power cut has left empty."""

import re
from contextlib import suppress
from pathlib import Path

from git import Repo
from git.exc import GitCommandError

from server.errors import HeadMoved
from server.files import abandoned
from server.vcs.git_environment import translating_git_errors

NOTHING = "0" * 40  # git's word for a ref that must not be there
_COMMIT = re.compile(r"[0-9a-f]{40}")
_BROKEN = re.compile(r"ignoring broken ref (\S+)")
_LOCK_SECONDS = 10.0  # that a ref is locked by git, at the very most


class Refs:
    """Those of one night."""

    def __init__(self, repo: Repo) -> None:
        self._repo, self._folder = repo, Path(str(repo.common_dir))

    def resolve(self, ref: str) -> str | None:
        """What a ref names; None if there is none. Raises WorkspaceUnusable."""
        with suppress(OSError, UnicodeDecodeError):  # almost always a file of its own: no need to ask a process
            if _COMMIT.fullmatch(told := (self._folder / ref).read_text(encoding="ascii").strip()):
                return told
        with translating_git_errors(f"Reading {ref}"):
            try:
                return str(self._repo.git.rev_parse("--verify", "--quiet", ref))
            except GitCommandError as error:
                if error.status == 1:  # there is none
                    return None
                raise

    def swap(self, ref: str, commit: str, expected: str | None) -> None:
        """Move a ref from `expected` (None: it must be new), in one transaction of git's; done already is done.

        Raises:
            HeadMoved: it is elsewhere, and stays there. WorkspaceUnusable: git cannot.
        """
        found = self.resolve(ref)
        if found == commit:
            return
        if found != expected:
            raise HeadMoved(
                f"{ref} is at {found or 'nothing'}, not at {expected or 'nothing'}: somebody else moved it.",
                f"It was not touched. {way_back(ref, expected)}",
            )
        lock = self._folder / f"{ref}.lock"
        with translating_git_errors(f"Moving {ref}"):
            if abandoned(lock, _LOCK_SECONDS):  # its git was killed; the ref is ours alone, as the night is
                lock.unlink(missing_ok=True)
            self._repo.git.update_ref(ref, commit, expected or NOTHING)

    def numbers(self, prefix: str) -> list[int]:
        """The numbers below `prefix`, in order."""
        with translating_git_errors(f"Looking for {prefix}"):
            refs = str(self._repo.git.for_each_ref("--format=%(refname)", f"{prefix}/")).splitlines()
        return sorted(int(name) for ref in refs if (name := ref.rpartition("/")[2]).isdecimal())

    def clear(self, *prefixes: str) -> list[str]:
        """Remove refs that say nothing: a file that was not written out when the power went. Returns their names."""
        with translating_git_errors("Looking for broken refs"):
            _, _, said = self._repo.git.for_each_ref("--format=", *prefixes, with_extended_output=True)
            broken = _BROKEN.findall(str(said))
            for ref in broken:
                (self._folder / ref).unlink(missing_ok=True)
        return broken


def way_back(ref: str, commit: str | None) -> str:
    """What the operator does about a ref that somebody else has moved."""
    back = f"`git update-ref {ref} {commit}`" if commit else f"`git update-ref -d {ref}`"
    return f"The operator keeps what is there with `git branch NAME {ref}` and moves it back with {back}."
