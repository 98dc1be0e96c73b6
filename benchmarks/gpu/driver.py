"""The GPU as its driver tells, from a process that does not compute on it."""

import os
from typing import Any

import psutil
import pynvml


def _device() -> Any:
    pynvml.nvmlInit()
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0]
    if first.startswith(("GPU-", "MIG-")):
        return pynvml.nvmlDeviceGetHandleByUUID(first)
    return pynvml.nvmlDeviceGetHandleByIndex(int(first) if first.isdecimal() else 0)


def used() -> int | None:
    """Bytes of the GPU's memory that are taken; None without a driver."""
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(_device()).used)
    except pynvml.NVMLError:
        return None


def total() -> int:
    """Bytes of the GPU's memory. Raises pynvml.NVMLError without a driver."""
    return int(pynvml.nvmlDeviceGetMemoryInfo(_device()).total)


def state() -> dict[str, Any]:
    """Driver, clocks, memory, and who computes there; what it does not tell is its error."""
    try:
        device = _device()
    except pynvml.NVMLError as error:
        return {"driver": f"none: {error}"}
    asked: dict[str, Any] = {
        "driver": pynvml.nvmlSystemGetDriverVersion,
        "name": lambda: pynvml.nvmlDeviceGetName(device),
        "sm_mhz": lambda: pynvml.nvmlDeviceGetClockInfo(device, pynvml.NVML_CLOCK_SM),
        "most_sm_mhz": lambda: pynvml.nvmlDeviceGetMaxClockInfo(device, pynvml.NVML_CLOCK_SM),
        "throttle_bits": lambda: hex(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(device)),
        "celsius": lambda: pynvml.nvmlDeviceGetTemperature(device, pynvml.NVML_TEMPERATURE_GPU),
        "watts": lambda: round(pynvml.nvmlDeviceGetPowerUsage(device) / 1000),
        "watts_limit": lambda: round(pynvml.nvmlDeviceGetEnforcedPowerLimit(device) / 1000),
        "used_gb": lambda: round(pynvml.nvmlDeviceGetMemoryInfo(device).used / 2**30, 2),
        "mig": lambda: pynvml.nvmlDeviceGetMigMode(device)[0],
        "compute_mode": lambda: pynvml.nvmlDeviceGetComputeMode(device),
        "others": lambda: [_named(one.pid) for one in pynvml.nvmlDeviceGetComputeRunningProcesses(device)],
    }
    return {name: _told(query) for name, query in asked.items()}


def _told(query: Any) -> Any:
    try:
        return query()
    except pynvml.NVMLError as error:
        return str(error)


def _named(pid: int) -> str:
    try:
        return f"{psutil.Process(pid).name()} ({pid})"
    except psutil.Error:
        return str(pid)
