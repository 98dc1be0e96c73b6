"""Who computes: locks that a supervisor inherits, and that the kernel drops when it dies, however it dies.

A run's own tells whether its supervisor lives. One for all runs of a repository and one for a GPU keep two runs off
one device: under another tag, after the night, in another repository. The runs of a server with several slots share the
first of these, and each has the lease of its slot: whoever wants the device alone waits for all of them. Two users, or
two containers, do not see each other's; there a run that was not alone is known by what the driver tells of strangers.
"""

import fcntl
import os
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from server.errors import DeviceBusy
from server.runs.cleanup import supervisors
from server.runs.hardware import gpu_name
from trainer.contract import GPU_PROFILES, RunFile

LEASE = "device.lease"  # of all runs of a repository
_SLOT = "slot-{}.lease"  # of the runs in one slot
_EXIT_SECONDS = 5.0  # a supervisor that has written its result is about to exit
_GLANCE_SECONDS = 0.3  # somebody may be looking at the lease just now
_LOOK_SECONDS = 0.05
_MOST = 4096  # bytes of a path


class Lease:
    """A file, locked by us and by whoever inherits its descriptor, which names the run that had it last."""

    def __init__(self, path: Path, shared: bool = False) -> None:
        """Lock it; a `shared` one together with others who do so, and unsigned. Raises DeviceBusy, OSError."""
        self.path, self.shared = path, shared
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
        if not self.shared:
            os.ftruncate(self.descriptor, 0)
            os.pwrite(self.descriptor, os.fsencode(run), 0)

    def close(self) -> None:
        """Let go; whoever inherited it holds it on."""
        os.close(self.descriptor)

    def _lock(self) -> None:
        begun, kind = time.monotonic(), fcntl.LOCK_SH if self.shared else fcntl.LOCK_EX
        while True:
            try:
                return fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                over = (Path(self._holder()) / RunFile.RESULT).exists()
                if time.monotonic() - begun > (_EXIT_SECONDS if over else _GLANCE_SECONDS):
                    raise self._busy() from None
            time.sleep(_LOOK_SECONDS)

    def _holder(self) -> str:
        """The folder of the run that has it, or of one of those that share it."""
        sharing = (path for path in slot_leases(self.path.parent) if self.path.name == LEASE and is_held(path))
        return next(map(_signed, sharing), self.run)

    def _busy(self) -> DeviceBusy:
        run = self._holder()
        pids = supervisors(run)
        who = f"supervisor {', '.join(map(str, pids))} of the run in" if pids else "the run in"
        return DeviceBusy(
            f"Device busy: {who} {run} is still active.",
            "Call again when it has ended. To end it now, the operator sends SIGTERM to its supervisor.",
        )


@contextmanager
def device_leases(home: Path, profile: str, slot: str = "", gpu: str = "") -> Generator[Sequence[Lease]]:
    """Those of what a run of this repository computes on.

    Args:
        slot: the id of one of several slots; empty: it wants the machine for itself. gpu: the UUID of the slot's.

    Raises:
        DeviceBusy, OSError.
    """
    home.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        leases: list[Lease] = []
        paths = [home / _SLOT.format(slot)] * bool(slot) + (_of_gpu(gpu) if profile in GPU_PROFILES else [])
        for path, shared in ((home / LEASE, bool(slot)), *((path, False) for path in paths)):
            leases.append(Lease(path, shared))
            stack.callback(leases[-1].close)
        yield leases


def slot_leases(home: Path) -> list[Path]:
    """The leases of all slots that a repository has had."""
    return sorted(home.glob(_SLOT.format("*")))


def slot_taken(home: Path, slot: str) -> bool:
    """Whether somebody has the lease of a slot just now."""
    return is_held(home / _SLOT.format(slot))


def last_runs(home: Path, leases: Sequence[Lease]) -> set[str]:
    """The folders of the runs that had these leases last; of a whole machine's, also those of its slots."""
    signed = [one.run for one in leases] + [_signed(path) for path in slot_leases(home) if not leases[0].shared]
    return set(filter(None, signed))


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


def _signed(path: Path) -> str:
    """The run that signed a lease; empty where none did."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(_MOST).decode(errors="replace")
    return ""


def _of_gpu(uuid: str) -> list[Path]:
    """In the user's home, which is the same for every process of theirs, as a folder for temporary files is not."""
    name = uuid or gpu_name()
    try:
        folder = Path.home() / ".cache" / "autoresearch"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return []  # no home that can be written to: the repository's lease is all there is
    return [folder / f"{name}.lease"] if name and os.access(folder, os.W_OK) else []
