"""Our refs in the user's repository: read, moved by compare-and-swap, cleared of what a power cut has left empty."""

import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

from git import Repo
from git.exc import GitCommandError

from server.errors import HeadMoved, WorkspaceUnusable
from server.files import abandoned
from server.vcs.git_environment import translating_git_errors

NOTHING = "0" * 40  # git's word for a ref that must not be there
_COMMIT = re.compile(r"[0-9a-f]{40}")
_BROKEN = re.compile(r"ignoring (?:broken ref|dangling symref) (\S+)")
_REF = rb"(?!0{40})[0-9a-f]{40} refs/[^\0-\x20\x7f~^:?*\[\\]+"
_PEELED = rb"\^[0-9a-f]{40}"
_PACKED = re.compile(_REF + b"|" + _PEELED)
_ALL_PACKED = re.compile(b"(?:#.*\n)*(?:" + _REF + b"\n(?:" + _PEELED + b"\n)?)*+")
_LOCK_SECONDS = 10.0  # that a ref is locked by git, at the very most
_FAILURES = 20  # refs that cannot be moved: then it is the disk, and not the refs
_PACKS_SAFELY = (2, 36)  # git before it removes the files while packed-refs may not be on the disk yet
_MANY = 1000  # refs that are files: git takes some 15 ms to read so many
_LONG_AGO = 10**9 + 1  # ns


class Move(NamedTuple):
    """A ref that is to be at `new`, and is at `old` now; None: it is new."""

    ref: str
    new: str
    old: str | None


class Refs:
    """Those of one night."""

    def __init__(self, repo: Repo, *watched: str) -> None:
        """`watched`: prefixes of refs that nobody but us should touch."""
        self._repo, self._folder = repo, Path(str(repo.common_dir))
        self._watched = [self._folder / prefix for prefix in watched]
        self._seen: object = None
        self._whole = False
        self._packed: tuple[object, dict[str, str] | None] = None, None  # packed-refs: its state, and what it says
        self.mended: Path | None = None  # packed-refs as it was, if it was damaged

    def resolve(self, ref: str) -> str | None:
        """What a ref names; None if there is none. Raises WorkspaceUnusable."""
        try:  # almost always a file of its own, or not there: no need to ask a process
            if _COMMIT.fullmatch(told := (self._folder / ref).read_text(encoding="ascii").strip()):
                return told
        except FileNotFoundError:
            if (packed := self._read_packed()) is not None:
                return packed.get(ref)
        except (OSError, UnicodeDecodeError):
            pass
        with translating_git_errors(f"Reading {ref}"):
            try:
                return str(self._repo.git.rev_parse("--verify", "--quiet", ref))
            except GitCommandError as error:
                if error.status == 1:  # there is none
                    return None
                raise

    def _read_packed(self) -> dict[str, str] | None:
        """What packed-refs says, read anew when it has changed; None where git must be asked what it can read of it."""
        path = self._folder / "packed-refs"
        if (stamp := _stamp(path)) is None or stamp != self._packed[0]:
            try:
                self._packed = stamp, _parsed(path.read_bytes())
            except FileNotFoundError:
                self._packed = None, {}
            except OSError:
                self._packed = None, None
        return self._packed[1]

    def has(self, ref: str) -> bool:
        """Whether a ref has a file that says something, or a line in packed-refs; no process is asked."""
        with suppress(OSError):
            if (self._folder / ref).stat().st_size:
                return True
        with suppress(OSError):
            return f" {ref}\n".encode() in (self._folder / "packed-refs").read_bytes()
        return False

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
        undisturbed = self._whole and not self.disturbed
        with translating_git_errors(f"Moving {ref}"):
            self._unlock(ref)
            # --no-deref: what somebody has made a symbolic ref of must not move theirs.
            self._repo.git.update_ref("--no-deref", ref, commit, expected or NOTHING)
        if undisturbed:
            self.accept()

    def put(self, moves: list[Move]) -> list[str]:
        """Move many refs in one transaction; where that fails, as many as can be. Returns what failed, and why.

        Raises:
            WorkspaceUnusable: nearly all fail.
        """
        failed: list[str] = []
        left = [moves] if moves else []
        while left:
            some = left.pop()
            try:
                self._transact(some)
            except WorkspaceUnusable as error:
                if len(some) == 1:
                    failed.append(error.problem)
                    if len(failed) > _FAILURES:
                        raise
                else:
                    left += [some[len(some) // 2 :], some[: len(some) // 2]]
        return failed

    @property
    def disturbed(self) -> bool:
        """Whether somebody else has added or removed a ref below the watched prefixes since `accept`, at no cost."""
        return self._seen != self._look()

    def accept(self, whole: bool = True) -> None:
        """Call what the watched prefixes are like now undisturbed; if not `whole`, only until we move a ref."""
        self._whole = whole
        then = time.time_ns() - _LONG_AGO
        for folder in self._watched:
            # A file system's clock ticks in milliseconds. A time that it cannot give shows what happens within a tick.
            with suppress(OSError):
                os.utime(folder, ns=(then, then))
        self._seen = self._look()

    def numbers(self, prefix: str) -> list[int]:
        """The numbers below `prefix`, in order."""
        with translating_git_errors(f"Looking for {prefix}"):
            refs = str(self._repo.git.for_each_ref("--format=%(refname)", f"{prefix}/")).splitlines()
        return sorted(int(name) for ref in refs if (name := ref.rpartition("/")[2]).isdecimal())

    def all(self, *prefixes: str) -> dict[str, str]:
        """What each ref below `prefixes` names; a file that says nothing, as a power cut leaves it, is removed."""
        self.mended = mend_packed(self._folder) or self.mended
        with translating_git_errors("Looking for refs"):
            format_ = "--format=%(refname) %(objectname)"
            _, told, said = self._repo.git.for_each_ref(format_, *prefixes, with_extended_output=True)
            broken = [path for ref in _BROKEN.findall(str(said)) if (path := self._folder / ref).is_file()]
            for path in broken:
                path.unlink()
        if broken:  # a packed one may have been behind it
            return self.all(*prefixes)
        return dict(line.split(" ") for line in str(told).splitlines())

    def pack(self) -> None:
        """Have git put refs into packed-refs, as `git gc` does, if many are files: listing them opens each file.

        Raises:
            WorkspaceUnusable.
        """
        if self._repo.git.version_info[:2] < _PACKS_SAFELY:
            return
        with translating_git_errors("Packing refs"):
            if sum(len(os.listdir(folder)) for folder in self._watched if folder.is_dir()) >= _MANY:
                self._repo.git.pack_refs("--all")

    def _transact(self, moves: list[Move]) -> None:
        with translating_git_errors(f"Moving {moves[0].ref}"), TemporaryFile() as asked:
            for ref, new, old in moves:
                self._unlock(ref)
                asked.write(f"option no-deref\nupdate {ref} {new} {old or NOTHING}\n".encode())
            asked.seek(0)
            self._repo.git.update_ref("--stdin", istream=asked)

    def _unlock(self, ref: str) -> None:
        """Remove the lock of a git that was killed: the ref is ours alone, as the night is."""
        lock = self._folder / f"{ref}.lock"
        if abandoned(lock, _LOCK_SECONDS):
            lock.unlink(missing_ok=True)

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in (self._folder / "packed-refs", *self._watched)]


def mend_packed(folder: Path) -> Path | None:
    """Leave out the lines of `folder`/packed-refs that keep git from reading any; the file as it was is set aside.

    Returns:
        Where that is; None if there was nothing to mend.
    """
    path, lock = folder / "packed-refs", folder / "packed-refs.lock"
    with translating_git_errors(f"Reading {path}"):
        try:
            packed = path.read_bytes()
        except FileNotFoundError:
            return None
        if _ALL_PACKED.fullmatch(packed):
            return None
        *lines, end = packed.split(b"\n")
        good = _readable(lines)
        if not end and len(good) == sum(not line.startswith(b"#") for line in lines):
            return None
        if abandoned(lock, _LOCK_SECONDS):
            lock.unlink(missing_ok=True)
        with lock.open("xb") as file:  # as git does
            file.write(b"".join(line + b"\n" for line in good))
            file.flush()
            os.fsync(file.fileno())
        aside = path.with_name(f"{path.name}.{time.time_ns()}.damaged")
        shutil.copyfile(path, aside)
        lock.replace(path)
    return aside


def _readable(lines: list[bytes]) -> list[bytes]:
    """The refs, and what a tag stands for behind its line; not the header, which says what may be relied upon."""
    good: list[bytes] = []
    follows = False  # the line before was a ref's
    for line in lines:
        ref = _PACKED.fullmatch(line) is not None and (follows or not line.startswith(b"^"))
        if ref:
            good.append(line)
        follows = ref and not line.startswith(b"^")
    return good


def _parsed(packed: bytes) -> dict[str, str] | None:
    """What each ref of a packed-refs names; None if there is anything in it that cannot be read."""
    *lines, end = packed.split(b"\n")
    good = _readable(lines)
    if end or len(good) != sum(not line.startswith(b"#") for line in lines):
        return None
    named = (line.decode("utf-8", "surrogateescape").partition(" ") for line in good if not line.startswith(b"^"))
    return {ref: name for name, _, ref in named}


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def way_back(ref: str, commit: str | None) -> str:
    """What the operator does about a ref that somebody else has moved."""
    back = f"`git update-ref {ref} {commit}`" if commit else f"`git update-ref -d {ref}`"
    return f"The operator keeps what is there with `git branch NAME {ref}` and moves it back with {back}."
