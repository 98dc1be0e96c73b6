"""Watching real runs from outside, with bounded patience."""

import os
import time
from collections.abc import Callable

import psutil

from server.records import Result
from server.runs.executor import Executor
from server.runs.local_executor import LocalExecutor

PATIENCE = 300.0  # a bound for a hung test, not a measurement
_SLOW = 10.0  # times: a slow machine, whose cores have other work as well. What hangs takes longer still


def cores() -> int:
    """Those that this process may use: a container often has fewer than its machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def stretched(seconds: float) -> float:
    """How long something that takes `seconds` on a quiet machine may take on any: longer, and it hangs."""
    return seconds * _SLOW * max(1.0, os.getloadavg()[0] / cores())


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    """Whether a process has ended. Nobody may wait for an orphan: this process adopts some, as the referee does."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def ended(executor: Executor, number: int = 1, patience: float = PATIENCE) -> Result:
    """The result of a run, once it is there."""
    deadline = time.monotonic() + patience
    while (result := executor.handle(number).result()) is None:
        assert time.monotonic() < deadline, executor.handle(number).progress()
        time.sleep(0.05)
    return result


def processes_of(executor: LocalExecutor, number: int = 1) -> list[psutil.Process]:
    """Every living process that carries the run's cookie."""
    folder, found = executor.runs.path(number), list[psutil.Process]()
    cookies = str(folder), str((folder / "place").resolve())
    for process in psutil.process_iter():
        try:
            if process.environ().get("AUTORESEARCH_RUN") in cookies and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found
