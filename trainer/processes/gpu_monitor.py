"""The GPU watched from outside: was it slowed down, was somebody else on it, and is it free again after a run?

A driver in trouble can hang for ever: everything that asks it happens in a thread that nobody waits for.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (nvidia-ml-py has no types)

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

import psutil
import pynvml

from trainer.contract import join_pids
from trainer.text import plain

_LOOK_SECONDS = 1.0
_FIRST_LOOK_SECONDS = 3.0
_RELEASE_SECONDS = 5.0  # after its processes are dead, a driver may take a moment to free their memory
_RELEASE_LOOK_SECONDS = 0.1
_SLOWED = (  # by heat or by a lack of power; a GPU at its power limit is at work as it should be
    pynvml.nvmlClocksThrottleReasonHwSlowdown
    | pynvml.nvmlClocksThrottleReasonHwThermalSlowdown
    | pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown
    | pynvml.nvmlClocksThrottleReasonSwThermalSlowdown
)


@dataclass(frozen=True)
class Sample:
    """One look; None is what this driver does not tell, or not this time (a part of a GPU has no thermometer)."""

    reasons: int | None  # NVML's bits: why the clocks are not higher
    clock_mhz: int | None  # of the multiprocessors
    celsius: int | None
    pids: frozenset[int] | None  # that compute on it
    memory: Mapping[int, int] = field(default_factory=dict[int, int])  # bytes on it by pid, where that is told


class GpuMonitor:
    """One run's."""

    def __init__(self) -> None:
        """Note who is on the GPU before us; returns after three seconds, whatever the driver does."""
        self._driver = ""
        self._before = self._ours = self._left = frozenset[int]()
        self._samples: list[Sample] = []
        self._figures: dict[str, float | int | str | None] = {}
        self._first, self._begun, self._over, self._dead, self._free = (Event() for _ in range(5))
        Thread(target=self._watch, daemon=True).start()
        self._first.wait(_FIRST_LOOK_SECONDS)

    @property
    def strangers(self) -> str | None:
        """Who was on the GPU before us."""
        return _named(self._before)

    def begin(self) -> None:
        """The training begins."""
        self._begun.set()

    def end(self) -> dict[str, float | int | str | None]:
        """The training has ended, or the run without one; its processes still live.

        Returns:
            What was seen; nothing of it where there is no driver. Asked again, it tells the same.
        """
        if not self._over.is_set():
            self._over.set()
            self._ours |= _descendants()
            self._begun.set()
            seen = summary(tuple(self._samples), self._before, self._ours) or {"gpu_strangers": self.strangers}
            self._figures = seen | {"driver": self._driver} if self._driver else {}
        return self._figures

    def held(self, unkillable: bool, patience: float = _RELEASE_SECONDS) -> str | None:
        """After `end`, and after the run's processes were ended: pids of those that do not give the GPU back.

        Args:
            unkillable: some of them would not end. Where NVML has other numbers for our processes (a container), it
                decides whether those who came while we trained are ours.
            patience: seconds that the driver may take to free their memory.
        """
        if not self._driver:
            return None
        self._dead.set()
        self._free.wait(patience)
        left = self._left if unkillable else self._left & self._ours
        return join_pids(left)

    def _newcomers(self, pids: frozenset[int]) -> frozenset[int]:
        """Those of our run, where NVML tells them by our numbers; elsewhere all who came meanwhile."""
        if any(sample.pids and sample.pids & self._ours for sample in self._samples):
            return pids & self._ours
        return pids - self._before

    def _watch(self) -> None:
        try:
            pynvml.nvmlInit()
            handle = _device()
            self._before = _computing(handle) or frozenset()
            self._driver = _version()
            self._first.set()
            self._begun.wait()
            while not self._over.wait(_LOOK_SECONDS):
                self._ours |= _descendants()  # with every look: a helper may be gone before the last one
                self._samples.append(_look(handle))
            self._dead.wait()
            while (pids := _computing(handle)) is None or self._newcomers(pids):
                self._left = self._left if pids is None else self._newcomers(pids)
                time.sleep(_RELEASE_LOOK_SECONDS)
            self._left = frozenset()
        except Exception:
            pass  # no driver, or one that does not tell
        finally:
            self._first.set()
            self._free.set()


def summary(
    samples: Sequence[Sample], before: frozenset[int], ours: frozenset[int]
) -> dict[str, float | int | str | None]:
    """Figures of a run. A container may see pids of the host: then who was there before is a stranger, and no other.

    Args:
        before: pids on the GPU before the run. ours: pids of the run.
    """
    if not samples:
        return {}
    pids = frozenset[int]().union(*(sample.pids or () for sample in samples))
    strangers = pids - ours if pids & ours else pids & before
    slowed = [bool(sample.reasons & _SLOWED) for sample in samples if sample.reasons is not None]
    clocks = [sample.clock_mhz for sample in samples if sample.clock_mhz is not None]
    return {
        "slowed_share": round(sum(slowed) / len(slowed), 3) if slowed else None,
        "gpu_clock_mhz": round(sum(clocks) / len(clocks)) if clocks else None,
        "gpu_celsius": max((sample.celsius for sample in samples if sample.celsius is not None), default=None),
        "gpu_strangers": _named(strangers),
        **_peak_memory(samples, before, ours),
    }


def _peak_memory(samples: Sequence[Sample], before: frozenset[int], ours: frozenset[int]) -> dict[str, float]:
    """MiB that the run's processes had at the most; where NVML has other numbers for them, all who came meanwhile."""
    known = any(sample.memory.keys() & ours for sample in samples)
    taken = [
        sum(size for pid, size in sample.memory.items() if (pid in ours if known else pid not in before))
        for sample in samples
    ]
    return {"peak_memory_mb": round(max(taken) / 2**20, 1)} if any(taken) else {}


def _descendants() -> frozenset[int]:
    return frozenset(process.pid for process in psutil.Process().children(recursive=True))


def _named(pids: frozenset[int]) -> str | None:
    return ", ".join(map(_name, sorted(pids))) or None


def _name(pid: int) -> str:
    try:
        return f"{plain(psutil.Process(pid).name())} ({pid})"
    except psutil.Error:
        return str(pid)


def _device() -> Any:
    """torch's first: by number in the order of the bus, or by UUID, or its first part (MIG). Raises NVMLError."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0].strip()
    if first.startswith("MIG-"):
        return pynvml.nvmlDeviceGetHandleByUUID(first)
    if first.startswith("GPU-"):
        whole = next((one for one in _answering() if str(pynvml.nvmlDeviceGetUUID(one)).startswith(first)), None)
    else:
        whole = pynvml.nvmlDeviceGetHandleByIndex(int(first)) if first.isdecimal() else None
    if whole is None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
    return next(_slices(whole), whole)


def _answering() -> Iterator[Any]:
    """The GPUs of the machine, less those that are lost: ours may be another."""
    for number in range(pynvml.nvmlDeviceGetCount()):
        with suppress(pynvml.NVMLError):
            yield pynvml.nvmlDeviceGetHandleByIndex(number)


def _slices(whole: Any) -> Iterator[Any]:
    """The parts of a GPU that is divided: it does no work as a whole."""
    try:
        if pynvml.nvmlDeviceGetMigMode(whole)[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
            return
        places = pynvml.nvmlDeviceGetMaxMigDeviceCount(whole)
    except pynvml.NVMLError:
        return  # a GPU that cannot be divided, or a driver that does not know how
    for number in range(places):
        with suppress(pynvml.NVMLError):  # no part at this place
            yield pynvml.nvmlDeviceGetMigDeviceHandleByIndex(whole, number)


def _look(handle: Any) -> Sample:
    computing = _processes(handle)
    return Sample(
        reasons=_told(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle),
        clock_mhz=_told(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM),
        celsius=_told(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        pids=None if computing is None else frozenset(computing),
        memory=computing or {},
    )


def _told(query: Callable[..., Any], *words: Any) -> int | None:
    """One answer by itself: what one query cannot tell does not end the watch."""
    try:
        return int(query(*words))
    except Exception:  # NVMLError, or what the binding cannot read
        return None


def _version() -> str:
    try:
        return str(pynvml.nvmlSystemGetDriverVersion())
    except Exception:
        return "unknown"


def _computing(handle: Any) -> frozenset[int] | None:
    """Who computes on it; None if the driver does not answer this time, nobody where it never does."""
    found = _processes(handle)
    return None if found is None else frozenset(found)


def _processes(handle: Any) -> dict[int, int] | None:
    """Bytes of memory of each process that computes on it, 0 where the driver does not tell; None as above."""
    try:
        told = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except Exception as error:
        return {} if getattr(error, "value", None) == pynvml.NVML_ERROR_NOT_SUPPORTED else None
    return {int(process.pid): int(process.usedGpuMemory or 0) for process in told}
