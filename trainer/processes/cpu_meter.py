"""CPU seconds of a process and everything it started, counted from outside.

On a CPU the budget is these seconds: with wall time, whatever else runs on the machine would worsen the score.
The kernel adds a child's time to its parent's when that waits for it, and keeps it with a zombie until then; so
children too short to be seen count. A parent that ignores SIGCHLD would lose them, and the system call filter lets none
ignore it (trainer.sandbox.seccomp). Where there is no filter, the figures last seen of each process count; what lives
for less than a look *and* is ignored is missed, and the cap on wall time bounds that.
"""

import time

import psutil

_LOOK_SECONDS = 0.25  # between two looks: each reads the machine's process table


class CpuMeter:
    """Counts from its making on."""

    def __init__(self, spared: int) -> None:
        """Of all descendants of this process, every one but `spared` and its own is meant."""
        self._spared = spared
        self._own: dict[tuple[int, float], float] = {}  # by process, dead or alive: when it was last seen
        self._hidden = 0.0
        self._looked = time.monotonic()
        self._seconds = 0.0
        self._whole_before, self._own_before = self._look()

    def read(self, now: bool = False) -> float:
        """CPU seconds so far, a quarter of a second old at most; `now`: as they are. Never falls."""
        if now or time.monotonic() - self._looked >= _LOOK_SECONDS:
            whole, own = self._look()
            counted = max(whole - self._whole_before, own - self._own_before) + self._hidden
            self._seconds = max(self._seconds, counted)
        return self._seconds

    def _look(self) -> tuple[float, float]:
        """Seconds of the processes there are, with the children they waited for; and of all ever seen, without."""
        since, self._looked = self._looked, time.monotonic()
        kept, whole = {self._spared}, 0.0
        for process in psutil.Process().children(recursive=True):  # parents come before their children
            try:
                if process.pid in kept or process.ppid() in kept:
                    kept.add(process.pid)
                    continue
                times = process.cpu_times()
                own = self._own[process.pid, process.create_time()] = times.user + times.system
                whole += own + times.children_user + times.children_system
            except psutil.NoSuchProcess:
                continue  # gone meanwhile
            except psutil.AccessDenied:
                self._hidden += self._looked - since  # what cannot be read may have worked all the time
        return whole, sum(self._own.values())
