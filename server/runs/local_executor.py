"""Runs on this machine: one detached supervisor each, and one run at a time in a slot."""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from server.errors import DeviceBusy, RunnerUnavailable
from server.records import Experiment, Outcome, Progress, Result
from server.runs import cleanup, device_lock
from server.runs.executor import (
    RunRequest,
    RunSite,
    Slot,
    make_order,
    make_spec,
    request_cancel,
    startable,
    write_run_folder,
)
from server.runs.hang_detector import HangDetector
from server.runs.hardware import gpu_nodes
from server.runs.run_folder import RunFolder, RunFolders
from server.runs.slots import SlotTable
from server.runs.spawn import reap_supervisor, remove_scratch, spawn_supervisor
from trainer.contract import GPU_PROFILES, utc_now


class LocalExecutor:
    """All runs of one study. Implements Executor."""

    signs = True

    def __init__(self, site: RunSite) -> None:
        """Raises RunnerUnavailable: the operator asks for more slots than there are."""
        self.runs, self._site, self._slots = RunFolders(site.runs), site, SlotTable(site.asked)
        self._handles: dict[int, LocalRun] = {}  # of runs that were looked at and live, or did so a moment ago

    @property
    def slots(self) -> Sequence[Slot]:
        return self._slots.all()

    @property
    def left_out(self) -> Mapping[str, str]:
        """Why slots are left out, by their ids, as far as somebody has looked."""
        return self._slots.left_out

    def require_free(self, profile: str, lasts: Mapping[str, Experiment]) -> Slot:
        """The first slot in which no run lives, and whose GPU answers and was given back.

        For one that somebody lets go of in this moment it is waited, unless another is free.

        Raises:
            RunnerUnavailable: names what is in the way of each.
        """
        found: list[RunnerUnavailable] = []
        for slot in sorted(self.slots, key=lambda one: device_lock.slot_taken(self._site.home, one.id)):
            try:
                self._require(slot, profile, lasts.get(slot.id))
                return slot
            except RunnerUnavailable as error:
                found.append(error)
        raise _none_free(found)

    def submit(self, request: RunRequest) -> "LocalRun":
        """Write the run folder and start its supervisor. Raises RunnerUnavailable: nothing was started."""
        number, gpu = request.attempt.number, request.slot.device
        folder = self.runs.path(number)
        spec = replace(make_spec(self._site, request, folder), gpu=gpu, gpu_nodes=gpu_nodes(gpu) if gpu else ())
        with startable(), self._leases(request.slot, spec.profile) as leases:
            write_run_folder(folder, spec, request)
            for one in leases:
                one.sign(folder)
            spawn_supervisor(folder, leases, make_order(spec, request), gpu)
        self._handles = {other: run for other, run in self._handles.items() if run.alive()} | {number: LocalRun(folder)}
        return self._handles[number]

    def handle(self, number: int) -> "LocalRun":
        """The run of this number, whoever started it."""
        return self._handles.setdefault(number, LocalRun(self.runs.path(number)))

    def _leases(self, slot: Slot, profile: str) -> AbstractContextManager[Sequence[device_lock.Lease]]:
        several = len(self.slots) > 1
        return device_lock.device_leases(self._site.home, profile, slot.id if several else "", slot.device)

    def _require(self, slot: Slot, profile: str, last: Experiment | None) -> None:
        """Refuse to start a run in a slot. Raises RunnerUnavailable."""
        if len(self.slots) > 1 and last and last.running and self.runs.of(last.number).alive():
            raise DeviceBusy(
                f"Slot {slot.id} is busy: experiment {last.number} is running.", "Wait until it ends, or cancel it."
            )
        self._slots.require(slot, profile, last)
        cleanup.require_gpu_released(last, slot.device)
        with startable(), self._leases(slot, profile) as leases:
            for run in device_lock.last_runs(self._site.home, leases):
                folder = RunFolder(Path(run))
                # One that is alive is another run, which was given the number again.
                if not folder.alive() and not cleanup.left_nothing(folder.result()):
                    cleanup.require_run_cleared(run, profile in GPU_PROFILES, folder.gpu)


class LocalRun:
    """One run on this machine. Implements RunHandle."""

    def __init__(self, folder: Path) -> None:
        self.folder = RunFolder(folder)
        self._silence = HangDetector(self.folder)

    def progress(self) -> Progress:
        return self.folder.progress()

    def result(self) -> Result | None:
        """How the run ended; None while its supervisor lives. A run without either is `lost`."""
        if (result := self.folder.result()) is not None:
            reap_supervisor(self.folder.path)
            return result
        if self.folder.elsewhere:  # an engine's, which the server had before it was started without: it goes on
            return self.folder.gone()
        why = "The supervisor of this run died without a result; the idea was not judged."
        if self.alive() and not (why := self._silence.broken(time.monotonic())):
            return None
        # The supervisor may have written its result between the two looks.
        return self.folder.result() or self._lost(why)

    def cancel(self, reason: str) -> None:
        request_cancel(self.folder, reason)

    def alive(self) -> bool:
        return self.folder.alive()

    def _lost(self, why: str) -> Result:
        left = cleanup.end_run_processes(str(self.folder.path), self._on_gpu(), self.folder.gpu)
        reap_supervisor(self.folder.path)
        remove_scratch(self.folder.path)
        return Result(outcome=Outcome.LOST, reason=why, figures=left, finished_at=utc_now())

    def _on_gpu(self) -> bool:
        profile = self.folder.spec().get("profile")
        return not isinstance(profile, str) or profile in GPU_PROFILES  # unknown: then the driver is asked


def _none_free(found: Sequence[RunnerUnavailable]) -> RunnerUnavailable:
    """Why no slot can be used: what is in the way of each, in the order of the slots."""
    if len(found) == 1:
        return found[0]
    waiting = next((error for error in found if isinstance(error, DeviceBusy)), found[0])
    told = " ".join(dict.fromkeys(error.problem for error in found))
    return type(waiting)(f"None of the {len(found)} slots is free. {told}", waiting.next_step)
