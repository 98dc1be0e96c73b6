"""What train.py hands in, and the clock until it does: the referee's own, from the first training batch on."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from trainer.contract import Spec
from trainer.evaluators.workbench import Workbench
from trainer.run.clock import RunEnded
from trainer.upstream.hooks import HANDED, WEIGHTS, OtherOrder

_MOST_BYTES = 16 << 30  # of weights
_MOST_TOLD = 1 << 16
_MOST_TOLD_MB = 1e9
_BLOCK = 1 << 24


class TrainingClock:
    """Set-up until the first batch is asked for, training until the process has ended.

    The mark of the first batch is made by train.py's process, which may make it late. So set-up that is longer than
    what it may take (`setup_allowed`) counts as training.
    """

    def __init__(self, bench: Workbench, mark: Path, spec: Spec) -> None:
        self._bench, self._mark, self._spec = bench, mark, spec
        self._begun, self._started, self._used = time.monotonic(), 0.0, 0.0
        bench.enter("setup", spec.setup_seconds)

    @property
    def most_seconds(self) -> float:
        """After which the process is ended, whatever it marks."""
        return self._spec.setup_seconds + self._allowed

    @property
    def _allowed(self) -> float:
        return self._spec.budget_seconds + self._spec.grace_seconds

    @property
    def training(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._started + self._used if self._started else 0.0

    def watch(self) -> None:
        """Called again and again. Raises RunEnded: it takes too long, or somebody cancelled the run."""
        self._bench.watch()
        if not self._started and os.path.lexists(self._mark):
            self._started = time.monotonic()
            setup = self._started - self._begun
            free = self._spec.setup_allowed
            self._used = max(0.0, setup - free) if free is not None else 0.0
            self._bench.enter("training", self._allowed)
        if self.training > self._allowed or (not self._started and self._waited > self._spec.setup_seconds):
            raise self.late()

    def late(self) -> RunEnded:
        """How a run ends that takes too long."""
        if not self._started:
            told = f"train.py asked for no training batch within {self._spec.setup_seconds:g} s (`setup_seconds`)."
            return RunEnded("timeout", told, cause="setup")
        long = f", {self._used:.0f} s of them set-up beyond what that may take" if self._used else ""
        told = f"From the first training batch to evaluate_bpb train.py took more than {self._allowed:g} s{long}"
        budget = f"TIME_BUDGET is {self._spec.budget_seconds:g} s, and compiling and warming up had the rest"
        return RunEnded("timeout", f"{told}: {budget}.", cause="budget")

    def figures(self) -> dict[str, float | int | str | None]:
        """Seconds of set-up and training, once the process has ended."""
        if not self._started:
            return {"setup_seconds": round(self._waited, 3)}
        training = round(self.training, 3)
        setup = round(self._started - self._begun, 3)
        return {"setup_seconds": setup, "training_seconds": training, "training_wall_seconds": training}

    @property
    def _waited(self) -> float:
        return time.monotonic() - self._begun


@dataclass(frozen=True)
class Handed:
    """What is known of a submission."""

    figures: dict[str, float | int | str | None]


def take(out: Path, shelf: Path) -> Handed:
    """Copy what train.py's process has handed in to where nobody can change it.

    Raises:
        OtherOrder: it did not call evaluate_bpb as upstream's does. RunEnded: what is there is no submission.
    """
    try:
        told = json.loads(_read(out / HANDED, _MOST_TOLD))
        problem, early = str(told["problem"]), bool(told["early"])
        peak = min(max(0.0, float(told["peak_vram_mb"])), _MOST_TOLD_MB)
        kept = {"name": str(told["name"]), "autocast": str(told.get("autocast", ""))}
    except FileNotFoundError:
        raise OtherOrder("train.py ended without a call of prepare.py's evaluate_bpb") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunEnded("invalid", f"What train.py handed in cannot be read: {error}.") from error
    if problem:
        raise OtherOrder(problem)
    if early:
        raise OtherOrder("train.py calls evaluate_bpb before it asks for a training batch")
    (shelf / HANDED).write_text(json.dumps(kept), encoding="utf-8")
    try:
        size = _copy(out / WEIGHTS, shelf / WEIGHTS)
    except (OSError, ValueError) as error:
        raise RunEnded("invalid", f"The weights that train.py handed in cannot be read: {error}.") from error
    return Handed({"weights_mb": round(size / (1 << 20), 3), "peak_vram_mb": peak})


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)


def _read(path: Path, most: int) -> bytes:
    with open(_open(path), "rb") as file:
        return file.read(most)


def _copy(source: Path, target: Path) -> int:
    """Copy a file that its owner may still hold open. Returns its size. Raises OSError, ValueError."""
    size = 0
    with open(_open(source), "rb") as given, target.open("wb") as kept:
        while block := given.read(_BLOCK):
            size += len(block)
            if size > _MOST_BYTES:
                raise ValueError(f"they are more than {_MOST_BYTES >> 30} GiB")
            kept.write(block)
    return size
