"""The slots of this machine: as many as the operator asks for, one for each GPU, and which of them answer.

An id is never given to another GPU. A GPU that does not answer keeps its slot, which is left out until it does.
"""

import time
from collections.abc import Callable
from threading import Thread

from server.errors import RunnerUnavailable
from server.records import Experiment, Outcome
from server.runs.executor import Slot, SlotRequest
from server.runs.hardware import cores, gpu_silence, visible_gpus
from server.runs.spawn import torch_view
from trainer.contract import CPU_PROFILES, GPU_PROFILES

_LIST_SECONDS = 30.0  # between two looks for GPUs that were added
_ASK_SECONDS = 10.0  # before a GPU that did not answer is asked again
_TRY_SECONDS = 60.0  # before torch is tried again on one that it could not use
_NO_DEVICE = "no_device"  # the cause of a run that failed because torch could not use its GPU


class SlotTable:
    """Those of one executor."""

    def __init__(self, request: SlotRequest) -> None:
        """Raises RunnerUnavailable: there are not as many as the operator asks for."""
        self._request = request
        found = self._visible()
        self._gpus, self._hangs = found or [], found is None
        self._listed = time.monotonic()
        self._silent: dict[str, tuple[float, str]] = {}  # by UUID: when it was asked last, and why it does not answer
        self._trials: dict[str, _Trial] = {}  # by the slot's id
        self.left_out: dict[str, str] = {}  # by the slot's id: why it was left out when it was looked at last
        if problem := self._problem():
            raise RunnerUnavailable(problem, "Start with fewer `--slots`, or with `--slots auto`.")

    def all(self) -> tuple[Slot, ...]:
        """Every slot, also of a GPU that does not answer. A GPU that was added has the last."""
        if self._request.slots == "auto" and time.monotonic() - self._listed > _LIST_SECONDS:
            self._listed = time.monotonic()
            self._gpus += [uuid for uuid in self._visible() or [] if uuid not in self._gpus]
        wanted = self._request.slots
        if self._gpus:
            return tuple(Slot(str(place), uuid) for place, uuid in enumerate(self._gpus[: _count(wanted)]))
        return tuple(Slot(str(place)) for place in range(_count(wanted) or 1))

    def require(self, slot: Slot, profile: str, last: Experiment | None) -> None:
        """Refuse a slot whose GPU cannot be used. Raises RunnerUnavailable.

        Args:
            last: the last experiment in it.
        """
        self.left_out.pop(slot.id, None)
        if slot.device and (why := self._silence(slot.device) or self._unusable(slot, profile, last)):
            self.left_out[slot.id] = why
            step = "It is used again as soon as its GPU answers. The operator should look at `nvidia-smi`."
            raise RunnerUnavailable(f"Slot {slot.id} ({slot.device}) is not used: {why}.", step)

    def _visible(self) -> list[str] | None:
        """UUIDs of the GPUs that may have a slot; None: their driver hangs."""
        asked, profile = self._request
        return visible_gpus() if asked is not None and profile in GPU_PROFILES else []

    def _problem(self) -> str:
        asked, profile = self._request
        if not isinstance(asked, int) or asked <= (most := len(self._gpus) or 1):
            return ""
        told = f"{asked} slots are asked for, and "
        if profile in GPU_PROFILES:
            few = "torch may see 1 GPU" if most == 1 else f"torch may see {most} GPUs of one kind"
            none = "the driver of the GPUs hangs" if self._hangs else "no driver names GPUs: only NVIDIA's does"
            return f"{told}{few if self._gpus else none}."
        if profile not in CPU_PROFILES:
            return f"{told}this machine has only one GPU, and one run at a time can use it."
        most = cores()
        return f"{told}{most} core{'s' * (most > 1)} can be used: a run needs one." if asked > most else ""

    def _silence(self, uuid: str) -> str:
        """Why a GPU does not answer; one that did not is not asked with every call."""
        asked, why = self._silent.get(uuid, (0.0, ""))
        if not why or time.monotonic() - asked > _ASK_SECONDS:
            self._silent[uuid] = time.monotonic(), (why := gpu_silence(uuid))
        return why

    def _unusable(self, slot: Slot, profile: str, last: Experiment | None) -> str:
        """Why torch cannot use the GPU, where a run has just failed for that: else every queued run would fail there.

        It is tried in the background, where there are other slots to go on with.
        """
        failed = last and last.result and last.result.outcome is Outcome.ENV_FAIL and last.result.cause == _NO_DEVICE
        if not (last and failed) or len(self.all()) == 1:
            return ""
        trial = self._trials.get(slot.id)
        if trial is None or not trial.stands(last.number):
            trial = self._trials[slot.id] = _Trial(last.number, lambda: torch_view(profile, slot.device).problem)
        return trial.why


class _Trial:
    """Whether torch can use a GPU now; `why` not, empty if it can."""

    def __init__(self, after: int, ask: Callable[[], str]) -> None:
        """Begin it, after experiment `after`."""
        self.why = f"experiment {after} could not use its GPU, which is now being tested"
        self._after, self._ended = after, 0.0
        Thread(target=self._run, args=[ask], daemon=True).start()

    def stands(self, after: int) -> bool:
        """Whether its answer, or its being under way, is the newest that can be had."""
        fresh = not self.why or not self._ended or time.monotonic() - self._ended < _TRY_SECONDS
        return fresh and after == self._after

    def _run(self, ask: Callable[[], str]) -> None:
        try:
            self.why = ask()
        except RunnerUnavailable as error:
            self.why = error.problem.rstrip(".")
        self._ended = time.monotonic()


def _count(asked: int | str | None) -> int | None:
    """How many slots at the most; None: one for each GPU."""
    return asked if isinstance(asked, int) else None if asked == "auto" else 1
