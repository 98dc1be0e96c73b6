"""The machine as the server sees it, without torch."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
# (nvidia-ml-py has no types)

import math
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import psutil
import pynvml

from server.records import Value
from trainer.contract import ProfileName

_Told = TypeVar("_Told")
_LARGE_GPU_GB = 36.0  # below it (8 to 32 GB cards) the micro-batches of the gpu profile may not fit


class Hardware(Value):
    """What runs are run on."""

    gpu: str | None
    gpu_memory_gb: float | None
    driver: str | None
    cpu: str
    cores: int
    memory_gb: float
    platform: str


def probe(timeout: float = 3.0) -> Hardware:
    """Look at the machine.

    Args:
        timeout: seconds NVML may take; a driver in trouble can hang for ever, and then there is no GPU for us.
    """
    gpu = _ask(_describe, timeout) or {}
    return Hardware(
        gpu=gpu.get("gpu"),
        gpu_memory_gb=gpu.get("gpu_memory_gb"),
        driver=gpu.get("driver"),
        cpu=platform.processor() or platform.machine(),
        cores=os.cpu_count() or 1,
        memory_gb=round(psutil.virtual_memory().total / 2**30, 1),
        platform=platform.platform(terse=True),
    )


def default_profile(hardware: Hardware) -> str:
    """The trainer's profile for this machine."""
    if hardware.gpu is not None:
        small = (hardware.gpu_memory_gb or math.inf) < _LARGE_GPU_GB
        return (ProfileName.GPU_SMALL if small else ProfileName.GPU).value
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return ProfileName.MPS.value
    return ProfileName.CPU.value


def file_system(path: Path) -> str:
    """The kind of the one that holds `path`, as the system names it: ext4, apfs, nfs4; empty if it does not tell."""
    mounts = {mount.mountpoint: mount.fstype for mount in psutil.disk_partitions(all=True)}
    return next((mounts[str(folder)] for folder in (path, *path.parents) if str(folder) in mounts), "")


def gpu_pids(timeout: float = 3.0) -> set[int] | None:
    """Who computes on the GPU, as the driver numbers them: nobody where there is no driver, None where it hangs."""
    return _ask(_pids, timeout, silent=set())


def gpu_name(timeout: float = 3.0) -> str | None:
    """The GPU's name among all GPUs of the world; None where the driver does not tell."""
    return _ask(_uuid, timeout)


def _ask(question: Callable[[Any], _Told], timeout: float, silent: _Told | None = None) -> _Told | None:
    """What the driver says of our GPU; `silent` if it says nothing, None if it hangs: it may do so for ever."""
    found: list[_Told | None] = []

    def ask() -> None:
        try:
            pynvml.nvmlInit()
            found.append(question(_device()))
        except pynvml.NVMLError:
            found.append(silent)

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    return found[0] if found else None


def _device() -> Any:
    """The first that torch will see, whether CUDA_VISIBLE_DEVICES names it by number or by UUID."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0]
    if first.startswith(("GPU-", "MIG-")):
        return pynvml.nvmlDeviceGetHandleByUUID(first)
    return pynvml.nvmlDeviceGetHandleByIndex(int(first) if first.isdecimal() else 0)


def _describe(device: Any) -> dict[str, Any]:
    return {
        "driver": str(pynvml.nvmlSystemGetDriverVersion()),
        "gpu_memory_gb": round(int(pynvml.nvmlDeviceGetMemoryInfo(device).total) / 2**30, 1),
        "gpu": str(pynvml.nvmlDeviceGetName(device)),
    }


def _pids(device: Any) -> set[int]:
    return {int(process.pid) for process in pynvml.nvmlDeviceGetComputeRunningProcesses(device)}


def _uuid(device: Any) -> str:
    return str(pynvml.nvmlDeviceGetUUID(device))
