"""Who computes: locks that a supervisor inherits, and that the kernel drops when it dies, however it dies.

A run's own tells whether its supervisor lives. One for all runs of a repository and one for a GPU keep two runs off
one device: under another tag, after the night, in another repository. Two users, or two containers, do not see each
other's; there a run that was not alone is known by what the driver tells of strangers.
"""

import fcntl
import os
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from server.errors import DeviceBusy
from server.runs.cleanup import supervisors
from server.runs.hardware import gpu_name
from trainer.contract import GPU_PROFILES, RunFile

LEASE = "device.lease"  # of all runs of a repository
_EXIT_SECONDS = 5.0  # a supervisor that has written its result is about to exit
_GLANCE_SECONDS = 0.3  # somebody may be looking at the lease just now
_LOOK_SECONDS = 0.05
_MOST = 4096  # bytes of a path


class Lease:
    """A file, locked by us and by whoever inherits its descriptor, which names the run that had it last."""

    def __init__(self, path: Path) -> None:
        """Lock it. Raises DeviceBusy while another run has it, OSError."""
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            self._lock()
        except BaseException:
            self.close()
            raise

    @property
    def run(self) -> str:
        """The folder of the run that has it, or had it last; empty if none ever had."""
        return os.pread(self.descriptor, _MOST, 0).decode(errors="replace")

    def sign(self, run: Path) -> None:
        """Name the run that has it from now on."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, os.fsencode(run), 0)

    def close(self) -> None:
        """Let go; whoever inherited it holds it on."""
        os.close(self.descriptor)

    def _lock(self) -> None:
        begun = time.monotonic()
        while True:
            try:
                return fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                over = (Path(self.run) / RunFile.RESULT).exists()
                if time.monotonic() - begun > (_EXIT_SECONDS if over else _GLANCE_SECONDS):
                    raise self._busy() from None
            time.sleep(_LOOK_SECONDS)

    def _busy(self) -> DeviceBusy:
        pids = supervisors(self.run)
        who = f"supervisor {', '.join(map(str, pids))} of the run in" if pids else "the run in"
        return DeviceBusy(
            f"Another run is on this device: {who} {self.run} lives.",
            "Call again when it has ended; to end it now, the operator sends its supervisor SIGTERM.",
        )


@contextmanager
def device_leases(home: Path, profile: str) -> Generator[Sequence[Lease]]:
    """Those of what a run of this repository computes on. Raises DeviceBusy, OSError."""
    home.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        leases: list[Lease] = []
        for path in (home / LEASE, *(_of_gpu() if profile in GPU_PROFILES else ())):
            leases.append(Lease(path))
            stack.callback(leases[-1].close)
        yield leases


def is_held(path: Path) -> bool:
    """Whether somebody has locked the file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _of_gpu() -> list[Path]:
    """In the user's home, which is the same for every process of theirs, as a folder for temporary files is not."""
    name = gpu_name()
    try:
        folder = Path.home() / ".cache" / "autoresearch"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return []  # no home that can be written to: the repository's lease is all there is
    return [folder / f"{name}.lease"] if name and os.access(folder, os.W_OK) else []
