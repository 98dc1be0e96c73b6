"""The machine as the server sees it, without torch."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (nvidia-ml-py has no types)

import math
import os
import platform
import sys
from threading import Thread

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


def _ask_nvml(found: dict[str, str | float]) -> None:
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        found["driver"] = str(pynvml.nvmlSystemGetDriverVersion())
        found["memory"] = round(int(pynvml.nvmlDeviceGetMemoryInfo(handle).total) / 2**30, 1)
        found["gpu"] = str(pynvml.nvmlDeviceGetName(handle))
    except pynvml.NVMLError:
        found.clear()  # no driver, no GPU
