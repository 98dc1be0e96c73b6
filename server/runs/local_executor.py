"""Runs on this machine: one detached supervisor each, and one run at a time on a device."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from server.records import Experiment, Outcome, Progress, Result
from server.runs import cleanup, device_lock
from server.runs.executor import (
    FIRST_SLOT,
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
from server.runs.run_folder import RunFolder, RunFolders
from server.runs.spawn import reap_supervisor, remove_scratch, spawn_supervisor
from trainer.contract import GPU_PROFILES, utc_now


class LocalExecutor:
    """All runs of one study. Implements Executor."""

    signs = True

    def __init__(self, site: RunSite) -> None:
        self.runs, self._site = RunFolders(site.runs), site
        self._handles: dict[int, LocalRun] = {}  # of runs that were looked at and live, or did so a moment ago

    @property
    def slots(self) -> Sequence[Slot]:
        return (Slot(),)

    def require_free(self, profile: str, lasts: Mapping[str, Experiment]) -> Slot:
        """Refuse to start a run beside another that lives, or that has not given the GPU back.

        Raises:
            RunnerUnavailable: names who is there.
        """
        cleanup.require_gpu_released(lasts.get(FIRST_SLOT))
        with startable(), device_lock.device_leases(self._site.home, profile) as leases:
            for run in {one.run for one in leases if one.run}:
                if not RunFolder(Path(run)).alive():  # else by another run that was given the number again
                    cleanup.require_run_cleared(run, profile in GPU_PROFILES)
        return self.slots[0]

    def submit(self, request: RunRequest) -> "LocalRun":
        """Write the run folder and start its supervisor. Raises RunnerUnavailable: nothing was started."""
        number = request.attempt.number
        folder = self.runs.path(number)
        spec = make_spec(self._site, request, folder)
        with startable(), device_lock.device_leases(self._site.home, spec.profile) as leases:
            write_run_folder(folder, spec, request)
            for one in leases:
                one.sign(folder)
            spawn_supervisor(folder, leases, make_order(spec, request))
        self._handles = {other: run for other, run in self._handles.items() if run.alive()} | {number: LocalRun(folder)}
        return self._handles[number]

    def handle(self, number: int) -> "LocalRun":
        """The run of this number, whoever started it."""
        return self._handles.setdefault(number, LocalRun(self.runs.path(number)))


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
        left = cleanup.end_run_processes(str(self.folder.path), gpu=self._on_gpu())
        reap_supervisor(self.folder.path)
        remove_scratch(self.folder.path)
        return Result(outcome=Outcome.LOST, reason=why, figures=left, finished_at=utc_now())

    def _on_gpu(self) -> bool:
        profile = self.folder.spec().get("profile")
        return not isinstance(profile, str) or profile in GPU_PROFILES  # unknown: then the driver is asked
