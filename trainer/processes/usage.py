"""What the processes of one train.py use, and whether every CPU second of it is counted: the guard `meter`.

A control group counts them all. Without one they are looked at and held on one core; that holds where the system call
filter lets no process have its children forgotten, nor leave the core.
"""

from collections.abc import Callable
from contextlib import suppress

import psutil

from trainer.processes.control_group import ControlGroup
from trainer.processes.cpu_meter import CpuMeter
from trainer.processes.one_core import OneCore

METER = "meter"
HELD = "held"


class Usage:
    """That of one process and all it starts, from the making on."""

    def __init__(self, pid: int, spared: int, helpers: frozenset[int], counted: bool, filtered: str = HELD) -> None:
        """Of all descendants of this process but `spared`, its own, and `helpers`; they begin with process `pid`.

        Args:
            counted: budgets are CPU seconds, so that none must be missed.
            filtered: `held`, or why there is no filter of system calls.
        """
        self._group = _group(pid) if counted else None
        self._meter = CpuMeter(spared, helpers, self._group)
        self._core: OneCore | None = None
        self.state = HELD
        if counted and self._group is None:
            self._core = _core(pid, self._meter.read)
            if filtered != HELD:
                self.state = f"no control group can be made, and no system call filter: {filtered}"
            elif self._core is None:
                self.state = "no control group can be made, and processes cannot be held on one core"
        self._holds = False

    @property
    def peak_memory_mb(self) -> float:
        """Memory in MiB that the processes have held at the most."""
        return round(self._meter.peak_memory / 2**20, 1)

    def read(self, now: bool = False) -> float:
        """CPU seconds so far, a quarter of a second old at most; `now`: as they are. Called again and again."""
        seconds = self._meter.read(now)
        if self._holds and self._core:
            self._core.hold(lambda: self._meter.pids)
        return seconds

    def hold(self) -> None:
        """From here on the processes stay on one core, where no control group counts what they use."""
        self._holds = True
        if self._core:
            self._core.hold(self._looked)

    def close(self) -> None:
        """Give back what was made for it; its processes are dead."""
        if self._group:
            self._group.close()

    def _looked(self) -> list[int]:
        self._meter.read(now=True)
        return self._meter.pids


def free_memory_mb() -> float:
    """Memory in MiB that processes of this machine can still be given."""
    return psutil.virtual_memory().available / 2**20


def _group(pid: int) -> ControlGroup | None:
    with suppress(OSError, ValueError):
        return ControlGroup(pid)
    return None


def _core(pid: int, used: Callable[[], float]) -> OneCore | None:
    with suppress(OSError, ValueError):
        return OneCore(pid, used)
    return None
