"""What a run leaves to the next one: processes that must be ended, and a GPU that must be free again.

A process that waits for a driver in trouble (state D) outlives SIGKILL and keeps its memory. The next run would fail
for lack of it, and the history would blame an idea: nothing is started until the process is gone.
"""

import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psutil

from server.errors import GpuHeld
from server.records import Experiment, Figures, Outcome, Result
from server.runs.hardware import gpu_pids
from trainer.contract import COOKIE_VARIABLE, GPU_PROFILES, Entry, RunFile, ScratchRole, join_pids, split_pids

_KILL_SECONDS = 5.0
_RELEASE_SECONDS = 5.0  # after its processes are dead, a driver may take a moment to free their memory
_LOOK_SECONDS = 0.2


def end_run_processes(cookie: str, gpu: bool, uuid: str = "") -> Figures:
    """End every process of a run, its supervisor too.

    Args:
        cookie: its run folder, which is its mark on its processes. gpu: whether it computed on one.
        uuid: that GPU's; empty, here as below: the first that torch will see.

    Returns:
        What could not be cleared: who outlives SIGKILL, and who is dead and keeps the GPU.
    """
    ended, deadline = set[int](), time.monotonic() + _KILL_SECONDS
    while (alive := _of_run(cookie)) and time.monotonic() < deadline:
        for process in alive:
            ended.add(process.pid)
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=_LOOK_SECONDS)
    left = {process.pid for process in alive}
    return Figures(unkillable=join_pids(left), gpu_held=join_pids(_unreleased(ended - left, uuid)) if gpu else None)


def left_nothing(result: Result | None) -> bool:
    """Whether a run has ended with a score, and its supervisor says that it has ended every process of it."""
    if result is None or result.outcome is not Outcome.FINISHED:
        return False
    return not (result.figures.unkillable or result.figures.gpu_held)


def gpu_holders(last: Experiment | None, uuid: str = "") -> str:
    """Which processes of the last run on a GPU keep it, in words; empty if it is free."""
    if last is None or last.result is None or last.attempt.profile not in GPU_PROFILES:
        return ""
    figures, ended = last.result.figures, datetime.fromisoformat(last.result.finished_at).timestamp()
    unkillable, lingering = split_pids(figures.unkillable), split_pids(figures.gpu_held)
    left = [pid for pid in unkillable if _holds(pid, ended)] or sorted(_on_gpu(lingering, uuid))
    return f"experiment {last.number} left {', '.join(map(process_name, left))}, which cannot be ended" if left else ""


def require_gpu_released(last: Experiment | None, uuid: str = "") -> None:
    """Refuse to start a run on a GPU that the last one has not given back. Raises GpuHeld."""
    if told := gpu_holders(last, uuid):
        raise _gpu_held(told)


def require_run_cleared(run: str, gpu: bool, uuid: str = "") -> None:
    """End what the run in this folder has left, where nobody has looked since. Raises GpuHeld where it stays."""
    left = end_run_processes(run, gpu, uuid)
    if gpu and (pids := sorted(split_pids(left.unkillable) | split_pids(left.gpu_held))):
        raise _gpu_held(f"the run in {run} left {', '.join(map(process_name, pids))}, which cannot be ended")


def _gpu_held(told: str) -> GpuHeld:
    return GpuHeld(
        f"The GPU is not free: {told}.",
        "The operator must end that process, or restart the machine; then run_experiment works again.",
    )


def process_name(pid: int) -> str:
    """A process for a human: its name, where we may see it, and its pid."""
    try:
        return f"{psutil.Process(pid).name()} ({pid})"
    except psutil.Error:
        return f"process {pid}"


def supervisors(cookie: str) -> list[int]:
    """Pids of the run's supervisor: one, or none."""
    found: dict[int, int] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if _supervises(process, cookie) and _lives(process):
                found[process.pid] = process.ppid()
    return [pid for pid, parent in found.items() if parent not in found]  # a child looks like it until its exec(2)


def _supervises(process: psutil.Process, cookie: str) -> bool:
    return process.cmdline()[-2:] == [Entry.SUPERVISOR, cookie]


def _of_run(cookie: str) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if _belongs(process, cookie) and _lives(process):
                found.append(process)
    return found


def _belongs(process: psutil.Process, cookie: str) -> bool:
    """Whether it has the cookie, supervises the run, or works where only the run's processes do.

    The last finds those that were started with another environment: parentage is lost with the supervisor.
    """
    marks = cookie, str((Path(cookie) / RunFile.PLACE).resolve())
    if any(f"{COOKIE_VARIABLE}={mark}" in _environment(process) for mark in marks):
        return True
    if _supervises(process, cookie):
        return True
    return process.cwd().startswith(tuple(f"{mark}/{role.prefix}" for mark in marks for role in ScratchRole))


def _environment(process: psutil.Process) -> list[str]:
    """NAME=value, of a thread that lives where the first is dead: that has none any more (Linux)."""
    if process.status() != psutil.STATUS_ZOMBIE:
        return [f"{name}={value}" for name, value in process.environ().items()]
    found: list[str] = []
    for thread in Path(f"/proc/{process.pid}/task").glob("*/environ"):
        with suppress(OSError):  # the dead one's
            found += thread.read_text(encoding="utf-8", errors="surrogateescape").split("\0")
    return found


def _lives(process: psutil.Process) -> bool:
    """Whether any thread of it does: one that waits for a driver keeps the memory of all."""
    return process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1


def _holds(pid: int, before: float) -> bool:
    """Whether the process lives that had this pid at the moment `before`, in seconds since the epoch.

    A clock that was set meanwhile moves what the system tells of a process's start: its cookie is believed first.
    """
    try:
        process = psutil.Process(pid)
        marked = any(word.startswith(f"{COOKIE_VARIABLE}=") for word in _environment(process))
        return (marked or process.create_time() <= before) and _lives(process)
    except (psutil.Error, OSError):
        return False


def _on_gpu(pids: set[int], uuid: str) -> set[int]:
    """Those of them that compute on it; all, while a driver that hangs does not say."""
    found = gpu_pids(uuid=uuid) if pids else set[int]()
    return pids if found is None else pids & found


def _unreleased(pids: set[int], uuid: str) -> set[int]:
    deadline = time.monotonic() + _RELEASE_SECONDS
    while (left := _on_gpu(pids, uuid)) and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    return left
