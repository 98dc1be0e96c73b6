"""The machine as the server sees it, without torch."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
# (nvidia-ml-py has no types)

import math
import os
import platform
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pynvml

from server.experiment import Value

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
    found: dict[str, str | float] = {}
    thread = Thread(target=_ask_nvml, args=(found,), daemon=True)
    thread.start()
    thread.join(timeout)
    known = dict(found)
    return Hardware(
        gpu=str(known["gpu"]) if "gpu" in known else None,
        gpu_memory_gb=float(known["memory"]) if "memory" in known else None,
        driver=str(known["driver"]) if "driver" in known else None,
        cpu=platform.processor() or platform.machine(),
        cores=os.cpu_count() or 1,
        memory_gb=round(psutil.virtual_memory().total / 2**30, 1),
        platform=platform.platform(terse=True),
    )


def default_profile(hardware: Hardware) -> str:
    """The trainer's profile for this machine."""
    if hardware.gpu is not None:
        return "gpu-small" if (hardware.gpu_memory_gb or math.inf) < _LARGE_GPU_GB else "gpu"
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return "mps"
    return "cpu"


def file_system(path: Path) -> str:
    """The kind of the one that holds `path`, as the system names it: ext4, apfs, nfs4; empty if it does not tell."""
    mounts = {mount.mountpoint: mount.fstype for mount in psutil.disk_partitions(all=True)}
    return next((mounts[str(folder)] for folder in (path, *path.parents) if str(folder) in mounts), "")


def gpu_pids(timeout: float = 3.0) -> set[int]:
    """Who computes on the GPU, as the driver numbers them; nobody, if it does not answer within `timeout` seconds."""
    found: set[int] = set()
    thread = Thread(target=_ask_processes, args=(found,), daemon=True)
    thread.start()
    thread.join(timeout)
    return set(found)


def _ask_processes(found: set[int]) -> None:
    try:
        pynvml.nvmlInit()
        found.update(int(process.pid) for process in pynvml.nvmlDeviceGetComputeRunningProcesses(_device()))
    except pynvml.NVMLError:
        found.clear()


def _device() -> Any:
    """The first that torch will see, whether CUDA_VISIBLE_DEVICES names it by number or by UUID."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0]
    if first.startswith(("GPU-", "MIG-")):
        return pynvml.nvmlDeviceGetHandleByUUID(first)
    return pynvml.nvmlDeviceGetHandleByIndex(int(first) if first.isdecimal() else 0)


def _ask_nvml(found: dict[str, str | float]) -> None:
    try:
        pynvml.nvmlInit()
        handle = _device()
        found["driver"] = str(pynvml.nvmlSystemGetDriverVersion())
        found["memory"] = round(int(pynvml.nvmlDeviceGetMemoryInfo(handle).total) / 2**30, 1)
        found["gpu"] = str(pynvml.nvmlDeviceGetName(handle))
    except pynvml.NVMLError:
        found.clear()  # no driver, no GPU
