"""What a run leaves to the next one: processes that must be ended, and a GPU that must be free again.

A process that waits for a driver in trouble (state D) outlives SIGKILL and keeps its memory. The next run would fail
for lack of it, and the history would blame an idea: nothing is started until the process is gone.
"""

import time
from datetime import datetime

import psutil

from server.errors import GpuHeld
from server.experiment import Experiment
from server.hardware import gpu_pids

COOKIE_VARIABLE = "AUTORESEARCH_RUN"
_KILL_SECONDS = 5.0
_GPU_PROFILES = ("gpu", "gpu-small")


def clear(cookie: str) -> list[int]:
    """End every process of a run whose supervisor is dead. Returns the pids of those that outlive SIGKILL."""
    deadline = time.monotonic() + _KILL_SECONDS
    while (alive := _carriers(cookie)) and time.monotonic() < deadline:
        for process in alive:
            try:
                process.kill()
            except psutil.Error:
                continue
        psutil.wait_procs(alive, timeout=0.2)
    return [process.pid for process in alive]


def held(last: Experiment | None) -> str:
    """Which processes of the last run keep the GPU, in words; empty if it is free."""
    if last is None or last.result is None or last.attempt.profile not in _GPU_PROFILES:
        return ""
    figures, ended = last.result.figures, datetime.fromisoformat(last.result.finished_at).timestamp()
    unkillable, lingering = _pids(figures.unkillable), _pids(figures.gpu_held)
    left = [pid for pid in unkillable if _lives(pid, ended)] or sorted(lingering & (gpu_pids() if lingering else set()))
    return f"experiment {last.number} has left {', '.join(map(named, left))}, which cannot be ended" if left else ""


def require_free(last: Experiment | None) -> None:
    """Refuse to start a run on a GPU that the last one has not given back. Raises GpuHeld."""
    if told := held(last):
        raise GpuHeld(
            f"The GPU is not free: {told}.",
            "The operator ends that process, or restarts the machine; run_experiment works as soon as it is gone.",
        )


def named(pid: int) -> str:
    """A process for a human: its name, where we may see it, and its pid."""
    try:
        return f"{psutil.Process(pid).name()} ({pid})"
    except psutil.Error:
        return f"process {pid}"


def _carriers(cookie: str) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(COOKIE_VARIABLE) == cookie and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def _pids(told: str | None) -> set[int]:
    return {int(pid) for pid in (told or "").split(", ") if pid.isdecimal()}


def _lives(pid: int, before: float) -> bool:
    """Whether the process lives that had this pid at the moment `before`, in seconds since the epoch."""
    try:
        process = psutil.Process(pid)
        return process.create_time() <= before and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
