"""One server a workspace: a lock the kernel drops when its holder dies, however it dies."""

import fcntl
import os
from pathlib import Path

from server.errors import WorkspaceBusy


class Lock:
    """An exclusive flock(2) on a file that names its holder's pid."""

    def __init__(self, path: Path) -> None:
        """Take the lock. Raises WorkspaceBusy when another process holds it."""
        self._file = path.open("a+", encoding="ascii")  # not truncated: it may name another holder
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read(32).strip() or "unknown"
            self._file.close()
            raise WorkspaceBusy(
                f"Another autoresearch server (pid {holder}) works in {path.parent.parent}.",
                "Use that one, end it, or start this one with another --workspace.",
            ) from None
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        """Let go; a second time does nothing."""
        self._file.close()


def holder(path: Path) -> int | None:
    """The pid that holds the lock; None while nobody does."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(path.read_text(encoding="ascii").strip() or 0)
    except FileNotFoundError:
        return None
    return None
