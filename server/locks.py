"""One server a repository: a lock the kernel drops when its holder dies, however it dies."""

import fcntl
import os
import time
from pathlib import Path
from typing import NamedTuple

from server.errors import WorkspaceBusy
from server.paths import LOCK

_TRY_SECONDS = 0.5  # somebody may be looking at the lock just now
_LOOK_SECONDS = 0.02


class LockHolder(NamedTuple):
    """Who holds a lock."""

    pid: int
    tag: str  # of the night it serves


def lock_path(repository: Path) -> Path:
    """The lock of a repository: in the .git that all its checkouts share, where no `git clean` comes."""
    folder = repository / ".git"
    if folder.is_file():  # a linked worktree, or a submodule
        folder = repository / folder.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        shared = folder / "commondir"
        folder = folder / shared.read_text(encoding="utf-8").strip() if shared.exists() else folder
    return folder / LOCK


class RepositoryLock:
    """An exclusive flock(2) on a file that names its holder."""

    def __init__(self, path: Path, tag: str) -> None:
        """Take the lock for the night `tag`. Raises WorkspaceBusy when another process holds it."""
        self._file = path.open("a+", encoding="ascii")  # not truncated: it may name another holder
        if not self._taken():
            self._file.seek(0)
            pid, _, other = self._file.read(200).strip().partition(" ")
            self._file.close()
            raise WorkspaceBusy(
                f"Another autoresearch server (pid {pid or 'unknown'}) works in this repository, on the study {other}.",
                "Use that server, end it, or start this one in a clone, with another --workspace.",
            )
        self._file.truncate(0)
        self._file.write(f"{os.getpid()} {tag}\n")
        self._file.flush()

    def release(self) -> None:
        """Let go; a second time does nothing."""
        self._file.close()

    def _taken(self) -> bool:
        deadline = time.monotonic() + _TRY_SECONDS
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(_LOOK_SECONDS)
            else:
                return True


def lock_holder(repository: Path) -> LockHolder | None:
    """Who holds the repository's lock; None while nobody does."""
    path = lock_path(repository)
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pid, _, tag = path.read_text(encoding="ascii").strip().partition(" ")
        return LockHolder(int(pid), tag) if pid and tag else None  # it is just taking the lock
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None
