"""CPU seconds and memory of a process and everything it started, measured from outside.

On a CPU the budget is these seconds: with wall time, whatever else runs on the machine would worsen the score. A
control group counts them to the last one, dead or alive (trainer.processes.control_group). Where none can be made, the
processes are looked at: the kernel adds a child's time to its parent's when that waits for it, and keeps it with a
zombie until then; so children too short to be seen count. A parent that ignores SIGCHLD would lose them, and the system
call filter lets none ignore it (trainer.sandbox.seccomp). The kernel tells hundredths, rounded down: a process that was
not there at first counts as if each of its figures were rounded up, or many short ones would work unseen.
"""

import sys
import time
from pathlib import Path

import psutil

from trainer.processes.control_group import ControlGroup

_LOOK_SECONDS = 0.25  # between two looks: each reads the machine's process table
_ROUNDED = 0.04  # seconds: a process has four figures, each rounded down to hundredths


class CpuMeter:
    """Counts from its making on."""

    def __init__(self, spared: int, helpers: frozenset[int] = frozenset(), group: ControlGroup | None = None) -> None:
        """Of all descendants of this process, every one but `spared` and its own is meant, and none of `helpers`.

        `group` holds all that is meant; without one the processes are looked at.
        """
        self._spared, self._helpers = spared, helpers
        self._group, self._group_before = group, group.seconds() if group else 0.0
        self._own: dict[tuple[int, float], float] = {}  # by process, dead or alive: when it was last seen
        self._early: frozenset[tuple[int, float]] | None = None
        self._hidden = 0.0
        self._looked = time.monotonic()
        self._seconds = 0.0
        self.peak_memory = 0.0  # bytes
        self.pids: list[int] = []  # of the processes that lived at the last look
        self._whole_before, self._own_before = self._look()
        self._early = frozenset(self._own)

    def read(self, now: bool = False) -> float:
        """CPU seconds so far, a quarter of a second old at most; `now`: as they are. Never falls."""
        if now or time.monotonic() - self._looked >= _LOOK_SECONDS:
            whole, own = self._look()
            if self._group:
                counted = self._group.seconds() - self._group_before
            else:
                counted = max(whole - self._whole_before, own - self._own_before) + self._hidden
            self._seconds = max(self._seconds, counted)
        return self._seconds

    def _look(self) -> tuple[float, float]:
        """Seconds of the processes there are, with the children they waited for; and of all ever seen, without."""
        since, self._looked = self._looked, time.monotonic()
        kept, whole, sizes = {self._spared}, 0.0, list[tuple[float, psutil.Process]]()
        for process in psutil.Process().children(recursive=True):  # parents come before their children
            try:
                if process.pid in kept or process.ppid() in kept:
                    kept.add(process.pid)
                    continue
                if process.pid in self._helpers:
                    continue
                times, key = process.cpu_times(), (process.pid, process.create_time())
                own = self._own[key] = times.user + times.system
                whole += own + times.children_user + times.children_system
                whole += _ROUNDED * (self._early is not None and key not in self._early)
                if size := process.memory_info().rss:
                    sizes.append((size, process))
            except psutil.NoSuchProcess:
                continue  # gone meanwhile
            except psutil.AccessDenied:
                self._hidden += self._looked - since  # what cannot be read may have worked all the time
        self.pids = [process.pid for _, process in sizes]
        self.peak_memory = max(self.peak_memory, _resident(sizes))
        return whole, sum(self._own.values())


def _resident(sizes: list[tuple[float, psutil.Process]]) -> float:
    """Bytes of memory that processes hold together, or that one has held alone at its highest."""
    together = max((_peak(process) for _, process in sizes), default=0.0)
    if len(sizes) == 1:
        return together
    return max(together, sum(_share(size, process) for size, process in sizes))


def _share(size: float, process: psutil.Process) -> float:
    """Bytes of a process, without what others have as well (Linux; elsewhere with that): a fork shares most."""
    try:
        told = Path(f"/proc/{process.pid}/smaps_rollup").read_text("ascii") if sys.platform == "linux" else ""
    except OSError:
        return size
    return _kilobytes(told, "Pss:") or size


def _peak(process: psutil.Process) -> float:
    """Bytes at the highest, which the kernel keeps (Linux; elsewhere as they are)."""
    try:
        told = Path(f"/proc/{process.pid}/status").read_text("utf-8", "replace") if sys.platform == "linux" else ""
        return _kilobytes(told, "VmHWM:") or process.memory_info().rss
    except (OSError, psutil.Error):
        return 0.0


def _kilobytes(told: str, name: str) -> float:
    """A figure of a file of /proc in bytes; 0 where it is not told, as of a zombie."""
    line = next((line for line in told.splitlines() if line.startswith(name)), None)
    return 1024.0 * float(line.split()[1]) if line else 0.0
