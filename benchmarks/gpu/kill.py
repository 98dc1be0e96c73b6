"""The end of a run that holds memory of the GPU: how long until its processes are dead, and until that is back."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from gpu import driver
from gpu.bench import Bench, end, ended, processes, stage
from gpu.parts import Part, stand_in

_GPU_BYTES = 16 << 30
_CPU_BYTES = 64 << 20
_NEAR = 64 << 20  # bytes: what another process may take meanwhile
_LOOK_SECONDS = 0.02
_START_SECONDS = 60.0
_END_SECONDS = 20.0


def kill(bench: Bench) -> Part:
    """Once by cancelling, once by a SIGKILL of the supervisor and what the server does then."""
    part = Part()
    for way in (_cancelled, _killed):
        name = way.__name__.removeprefix("_")
        found = _measured(bench, name, way)
        part.data[name] = found
        part.lines.append(f"{name}: " + ", ".join(f"{key} {value}" for key, value in found.items()))
        if None in (found["dead_seconds"], found["memory_seconds"]):
            part.fault = f"{name}: after {_END_SECONDS:g} s something is left"
    return part


def _measured(bench: Bench, name: str, way: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    size = _CPU_BYTES if bench.dry else min(_GPU_BYTES, driver.total() // 2)
    train = stand_in("hog").replace("BYTES = 64 << 20", f"BYTES = {size}")
    before = _used(bench, [])
    folder, process = bench.start(name, train, recording=False, budget_seconds=600.0, confine=not bench.dry)
    try:
        _await(lambda: stage(folder) == "training" or process.poll() is not None, min(_START_SECONDS, bench.left))
        if stage(folder) != "training" or process.poll() is not None:
            raise RuntimeError(f"the run never came to training: {ended(folder, 0).reason}")
        alive = processes(folder)
        held = _used(bench, alive) - before
        begun = time.monotonic()
        extra = way(folder, process)
        dead = _await(lambda: not any(map(_lives, alive)), _END_SECONDS)
        back = _await(lambda: _used(bench, alive) <= before + _NEAR, _END_SECONDS)
    finally:
        end(process, folder)
    since = {"dead_seconds": dead, "memory_seconds": back}
    told = {key: None if at is None else round(at - begun, 3) for key, at in since.items()}
    return {"processes": len(alive), "held_mb": held >> 20} | told | extra


def _cancelled(folder: Path, process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    begun = time.monotonic()
    (folder / "cancel").write_text("the check", encoding="utf-8")
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_SECONDS)
    taken = round(time.monotonic() - begun, 3)
    run = ended(folder, 0)
    return {"supervisor_seconds": taken, "outcome": run.outcome, "gpu_held": run.figures.get("gpu_held")}


def _killed(folder: Path, process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    try:
        from server.runs.cleanup import end_run_processes
    except ImportError as error:
        return {"server": f"not importable here: {error}"}
    begun = time.monotonic()
    left = end_run_processes(str(folder), gpu=True)
    return {"server_seconds": round(time.monotonic() - begun, 3), "server": left.model_dump(exclude_none=True)}


def _used(bench: Bench, alive: list[psutil.Process]) -> int:
    """Bytes taken on the GPU; of a dry check, in the memory of the run's processes."""
    if not bench.dry and (taken := driver.used()) is not None:
        return taken
    total = 0
    for process in alive:
        with suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1
    except psutil.Error:
        return False


def _await(condition: Callable[[], bool], seconds: float) -> float | None:
    """The moment in which it holds, on the monotonic clock; None if it does not within so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return time.monotonic()
        time.sleep(_LOOK_SECONDS)
    return None
