"""One server a workspace: a lock the kernel drops when its holder dies, however it dies."""

import fcntl
import os
from pathlib import Path

from server.errors import WorkspaceBusy


class Lock:
    """An exclusive flock(2) on a file that names its holder's pid."""

    def __init__(self, path: Path) -> None:
        """Take the lock. Raises WorkspaceBusy when another process holds it."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._descriptor, 32).decode("ascii", errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise WorkspaceBusy(
                f"Another autoresearch server (pid {holder}) works in {path.parent.parent}.",
                "Use that one, end it, or start this one with another --workspace.",
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode("ascii"), 0)

    def release(self) -> None:
        os.close(self._descriptor)
