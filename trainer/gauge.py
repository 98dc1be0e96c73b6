"""The GPU watched from outside while train.py trains: was it slowed down, and was somebody else on it?

A driver in trouble can hang for ever: everything that asks it happens in a thread that nobody waits for.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (nvidia-ml-py has no types)

import os
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

import psutil
import pynvml

_LOOK_SECONDS = 1.0
_FIRST_LOOK_SECONDS = 3.0
_SLOWED = (  # by heat or by a lack of power; a GPU at its power limit is at work as it should be
    pynvml.nvmlClocksThrottleReasonHwSlowdown
    | pynvml.nvmlClocksThrottleReasonHwThermalSlowdown
    | pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown
    | pynvml.nvmlClocksThrottleReasonSwThermalSlowdown
)


@dataclass(frozen=True)
class Sample:
    """One look."""

    reasons: int  # NVML's bits: why the clocks are not higher
    clock_mhz: int  # of the multiprocessors
    celsius: int
    pids: frozenset[int]  # that compute on it


class Gauge:
    """One run's."""

    def __init__(self) -> None:
        """Note who is on the GPU before us; returns after three seconds, whatever the driver does."""
        self._driver = ""
        self._before: frozenset[int] = frozenset()
        self._samples: list[Sample] = []
        self._first, self._begun, self._over = Event(), Event(), Event()
        Thread(target=self._watch, daemon=True).start()
        self._first.wait(_FIRST_LOOK_SECONDS)

    def begin(self) -> None:
        """The training begins."""
        self._begun.set()

    def end(self) -> dict[str, float | int | str | None]:
        """The training has ended. Returns what was seen; nothing of it where there is no driver."""
        self._over.set()
        ours = {process.pid for process in psutil.Process().children(recursive=True)}
        seen = summary(tuple(self._samples), self._before, frozenset(ours))
        return seen | {"driver": self._driver} if self._driver else seen

    def _watch(self) -> None:
        try:
            pynvml.nvmlInit()
            handle = _device()
            self._driver = str(pynvml.nvmlSystemGetDriverVersion())
            self._before = _look(handle).pids
            self._first.set()
            self._begun.wait()
            while not self._over.wait(_LOOK_SECONDS):
                self._samples.append(_look(handle))
        except pynvml.NVMLError:
            self._first.set()  # no driver, or one that does not tell


def summary(
    samples: Sequence[Sample], before: frozenset[int], ours: frozenset[int]
) -> dict[str, float | int | str | None]:
    """Figures of a run. A container may see pids of the host: then who was there before is a stranger, and no other.

    Args:
        before: pids on the GPU before the run. ours: pids of the run.
    """
    if not samples:
        return {}
    pids = frozenset[int]().union(*(sample.pids for sample in samples))
    strangers = pids - ours if pids & ours else pids & before
    return {
        "slowed_share": round(sum(bool(sample.reasons & _SLOWED) for sample in samples) / len(samples), 3),
        "gpu_clock_mhz": round(sum(sample.clock_mhz for sample in samples) / len(samples)),
        "gpu_celsius": max(sample.celsius for sample in samples),
        "gpu_strangers": ", ".join(map(_named, sorted(strangers))) or None,
    }


def _named(pid: int) -> str:
    try:
        return f"{psutil.Process(pid).name()} ({pid})"
    except psutil.Error:
        return str(pid)


def _device() -> Any:
    """torch's first device, whether CUDA_VISIBLE_DEVICES names it by number or by UUID."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0]
    if first.startswith(("GPU-", "MIG-")):
        return pynvml.nvmlDeviceGetHandleByUUID(first)
    return pynvml.nvmlDeviceGetHandleByIndex(int(first) if first.isdecimal() else 0)


def _look(handle: Any) -> Sample:
    return Sample(
        reasons=int(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)),
        clock_mhz=int(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)),
        celsius=int(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)),
        pids=frozenset(int(process.pid) for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)),
    )
