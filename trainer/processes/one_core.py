"""All processes of one train.py on one core of the CPU, where no control group counts what they use (Linux).

So they use at most one CPU second in a second, whatever they hide from whoever counts. train.py cannot leave its core:
the system call filter answers its own request without making it, and refuses one about another process. A core that
others use is left for one that is free, so that nobody's load costs a run its time. Only cores of the fastest kind
come into question.
"""

import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

_CONSIDER_SECONDS = 2.0
_WORTH = 0.3  # of a core that others must use more than of another, before the processes move
_SIBLING = 0.5  # what a busy hyperthread beside it takes of a core
_ALIKE = 0.9  # share of the fastest core's speed: cores of one kind differ by less
_SWEEPS = 20
_CPUS = Path("/sys/devices/system/cpu")
_SPEEDS = ("cpu_capacity", "acpi_cppc/highest_perf", "cpufreq/cpuinfo_max_freq")


class OneCore:
    """Where the processes are held, from the first `hold` on."""

    def __init__(self, pid: int, used: Callable[[], float]) -> None:
        """For process `pid` and all it will start, which have used so many CPU seconds. Raises OSError: no such thing.

        Nothing is held yet.
        """
        if sys.platform != "linux":
            raise OSError("processes cannot be held on one core")
        allowed = os.sched_getaffinity(pid)
        os.sched_setaffinity(pid, allowed)
        self._used = used
        self._cores = _fastest(sorted(allowed))
        self._beside = {core: _siblings(core) - {core} for core in self._cores}
        self._core: int | None = None
        self._looked, self._ticks, self._used_before = time.monotonic(), _busy(), used()

    def hold(self, pids: Callable[[], Iterable[int]]) -> None:
        """Bring all threads of these processes to the core; asked again, until none is found elsewhere."""
        if self._core is None or time.monotonic() - self._looked >= _CONSIDER_SECONDS:
            self._consider()
        for _ in range(_SWEEPS):
            if not sum(self._bring(pid) for pid in pids()):
                return

    def _consider(self) -> None:
        """Choose a core, or another one."""
        before, seconds = self._ticks, time.monotonic() - self._looked
        self._looked, self._ticks = time.monotonic(), _busy()
        used, self._used_before = self._used() - self._used_before, self._used()
        load = {core: (busy - before.get(core, 0.0)) / max(seconds, 0.01) for core, busy in self._ticks.items()}
        if self._core is not None:
            load[self._core] = max(0.0, load.get(self._core, 0.0) - used / max(seconds, 0.01))
        taken = {core: _taken(core, load, self._beside[core]) for core in random.sample(self._cores, len(self._cores))}
        self._core = choose(taken, self._core)

    def _bring(self, pid: int) -> int:
        """How many threads of a process were elsewhere."""
        assert self._core is not None
        moved = 0
        with suppress(OSError):  # it has ended
            for thread in map(int, os.listdir(f"/proc/{pid}/task")):
                with suppress(OSError):
                    if os.sched_getaffinity(thread) != {self._core}:
                        os.sched_setaffinity(thread, {self._core})
                        moved += 1
        return moved


def choose(taken: Mapping[int, float], now: int | None) -> int:
    """The core that is taken least; the one of `now` unless another is much freer.

    Args:
        taken: what others take of each core, as a share of its time; of equal ones the first is chosen.
    """
    best = min(taken, key=lambda core: taken[core])
    return best if now is None or taken[now] - taken[best] > _WORTH else now


def _taken(core: int, load: Mapping[int, float], beside: Iterable[int]) -> float:
    return load.get(core, 0.0) + _SIBLING * sum(load.get(sibling, 0.0) for sibling in beside)


def _busy() -> dict[int, float]:
    """Seconds that each core has worked."""
    found = dict[int, float]()
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        name, *ticks = line.split()
        if name.startswith("cpu") and name != "cpu":
            user, nice, system, _, _, interrupts, soft, *_ = map(int, ticks)
            found[int(name[3:])] = (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")
    return found


def _fastest(cores: list[int]) -> list[int]:
    """Those of the fastest kind: some machines have slow ones beside them."""
    speeds = {core: _speed(core) for core in cores}
    return [core for core in cores if speeds[core] >= _ALIKE * max(speeds.values())]


def _speed(core: int) -> float:
    for name in _SPEEDS:
        with suppress(OSError, ValueError):
            return float((_CPUS / f"cpu{core}" / name).read_text(encoding="ascii"))
    return 1.0


def _siblings(core: int) -> set[int]:
    """The hyperthreads that share a core with this one, itself among them."""
    found = {core}
    with suppress(OSError, ValueError):
        told = (_CPUS / f"cpu{core}" / "topology" / "thread_siblings_list").read_text(encoding="ascii").strip()
        for part in told.split(","):
            first, _, last = part.partition("-")
            found |= set(range(int(first), int(last or first) + 1))
    return found
