"""CPU seconds of a process and everything it started, counted from outside.

On a CPU the budget is these seconds: with wall time, whatever else runs on the machine would be measured as val_bpb.
Every process is looked at again and again and its last figure kept, so that work does not vanish with a child that ends
unseen. What lives for less than a look is missed; the stage's cap on wall time bounds that.
"""

import time

import psutil

_LOOK_SECONDS = 0.25  # between two looks: each reads the machine's process table


class Meter:
    """Counts from its making on."""

    def __init__(self, spared: int) -> None:
        """Of all descendants of this process, every one but `spared` and its own is meant."""
        self._spared = spared
        self._seen: dict[tuple[int, float], float] = {}
        self._looked = float("-inf")
        self._before = 0.0
        self._before = self.read(now=True)

    def read(self, now: bool = False) -> float:
        """CPU seconds so far, a quarter of a second old at most; `now`: as they are."""
        if now or time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._looked = time.monotonic()
            self._look()
        return sum(self._seen.values()) - self._before

    def _look(self) -> None:
        kept = {self._spared}
        for process in psutil.Process().children(recursive=True):  # parents come before their children
            try:
                if process.pid in kept or process.ppid() in kept:
                    kept.add(process.pid)
                    continue
                times = process.cpu_times()
                self._seen[process.pid, process.create_time()] = times.user + times.system
            except psutil.Error:
                continue  # gone meanwhile: what it had when it was last seen stays
