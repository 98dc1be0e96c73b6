"""Where a run is, how long it may stay there, and who may end it."""

import math
import time
from collections.abc import Callable
from typing import Any

from trainer.contract import AUDIT_FAILED, RunResult, Score
from trainer.run.failure_cause import of_error
from trainer.run.run_folder import RunFolder

_REPORT_SECONDS = 0.5
_PACE_SECONDS = 2.0  # of a stage: earlier, its pace tells nothing
_PROGRESS = ("steps", "loss", "tokens")  # of what train.py tells, for the progress message
_CURVE_POINTS = 300  # at most, over the whole budget


Clock = Callable[[], float]  # seconds since it was made


class RunEnded(Exception):
    """The run is over, and has no score."""

    def __init__(self, outcome: str, reason: str, traceback: str = "", cause: str = "") -> None:
        super().__init__(reason)
        self.outcome, self.reason, self.traceback, self.cause = outcome, reason, traceback, cause


def evasion(ended: RunEnded, refutes: bool) -> RunEnded:
    """How a run ends whose process fails while it sees what it is asked.

    Args:
        refutes: what the process does of its own accord counts as claims that are false.
    """
    own = refutes and ended.outcome in ("crashed", "invalid", "oom") and ended.cause != "killed_from_outside"
    cause = AUDIT_FAILED if own else ""
    if ended.outcome == "invalid":
        return RunEnded("invalid", f"The audit failed: {ended.reason}", cause=cause) if own else ended
    if ended.outcome not in ("crashed", "timeout", "oom"):
        return ended
    why = "This counts as a failed audit: a run must not choose its score by failing."
    return RunEnded("invalid", f"{ended.reason} {why}", cause=cause)


def ending_of(work: Callable[[], Score]) -> RunResult:
    """How a run ended whose score is what `work` returns. Raises nothing: every end is an outcome."""
    try:
        score = work()
    except RunEnded as ended:
        return RunResult(ended.outcome, ended.reason, traceback=ended.traceback, cause=ended.cause)
    except Exception as error:  # ours, not the candidate's: no experiment has failed, the machinery has
        told = f"The run could not be carried out: {type(error).__name__}: {error}"
        return RunResult("env_fail", told, cause=of_error(error))
    return RunResult("finished", str(score), score)


class StageClock:
    """The referee's monotonic clock: one stage at a time, each with its limit in seconds."""

    def __init__(self, run_folder: RunFolder) -> None:
        self._run_folder = run_folder
        self._name, self._what, self._limit, self._cap = "starting", "the start", float("inf"), float("inf")
        self._rested = 0.0
        self._entered, self._clock = self.now(), self._wall(self.now())
        self._reported = self._plotted = 0.0
        self._plotted_step: int | None = None
        self._told: dict[str, Any] = {}
        self._whole = False
        self._spare = 0.0
        self.strangers: str | None = None  # who else is on the GPU, for the progress message
        self.look: Callable[[], object] = float  # called with every watch: a meter must see what lives for a moment
        self.rest: Callable[[], float] = float  # called with every watch; seconds for which train.py was stopped

    def enclose(self, name: str, limit: float, what: str) -> None:
        """One stage for all that follows: later calls of `enter` change nothing."""
        self.enter(name, limit, what)
        self._whole = True

    def enter(self, name: str, limit: float, what: str, clock: Clock | None = None, cap: float = math.inf) -> None:
        """Start the clock of stage `name`; `what` begins the sentence that says it took too long.

        Args:
            limit: seconds of `clock`, which counts from here on; without one they are seconds of wall time.
            cap: seconds of wall time after which the stage ends all the same.
        """
        if self._whole:
            return
        self._name, self._what, self._limit, self._cap = name, what, limit, cap
        self._spare = 0.0
        self._entered = self.now()
        self._clock = clock or self._wall(self._entered)
        self._report()

    def extend(self, seconds: float) -> None:
        """Give the stage some seconds more than the limit that it tells."""
        if not self._whole:
            self._spare = seconds

    def now(self) -> float:
        """Seconds on a monotonic clock, without those in which train.py was stopped for other runs."""
        return time.monotonic() - self._rested

    def rested(self, seconds: float) -> None:
        """train.py was stopped for so long: no stage counts that."""
        self._rested += seconds

    @property
    def elapsed(self) -> float:
        """Seconds of the stage's clock."""
        return self._clock()

    @property
    def wall(self) -> float:
        """Seconds of wall time."""
        return self.now() - self._entered

    def wait(self) -> None:
        """Called again and again while train.py is stopped. Raises RunEnded: somebody cancelled the run."""
        if (reason := self._run_folder.cancelled()) is not None:
            raise RunEnded("cancelled", f"Cancelled: {reason}")
        if time.monotonic() - self._reported >= _REPORT_SECONDS:
            self._report()

    def watch(self) -> None:
        """Called at least every 0.1 s. Raises RunEnded when the stage is over time or somebody cancelled the run."""
        self.wait()
        self.rested(self.rest())
        self.look()
        self.check(self.elapsed)
        if self.wall > self._cap:
            used = f"used {self.elapsed:.0f} CPU seconds in {self.wall:.0f} s"
            raise RunEnded(
                "timeout", f"{self._what.capitalize()} {used}: the machine was too busy, or train.py waited."
            )

    def check(self, seconds: float) -> None:
        """Raises RunEnded when so many seconds of the stage's clock are too many."""
        if seconds > self._limit + self._spare:
            raise RunEnded("timeout", f"{self._what.capitalize()} took longer than its {self._limit:g} s.")

    def step(self, told: dict[str, Any], last: bool = False) -> None:
        """Take note of what train.py told about a step; the `last` one is on the curve, however short the run."""
        self._told = {name: told[name] for name in _PROGRESS if name in told}
        step, loss = told.get("steps"), told.get("loss")
        if loss is None or step is None or step == self._plotted_step:
            return
        if last or self.elapsed - self._plotted >= self._limit / _CURVE_POINTS:
            self._plotted, self._plotted_step = self.elapsed, step
            beside = {name: told.get(name) for name in ("lr", "grad_norm")}
            self._run_folder.plot({"seconds": round(self.elapsed, 3), "step": step, "loss": loss, **beside})

    def _wall(self, since: float) -> Clock:
        return lambda: self.now() - since

    def _report(self) -> None:
        self._reported = time.monotonic()
        now = {"stage": self._name, "elapsed_seconds": round(self.elapsed, 2), "limit_seconds": self._limit}
        if self.wall >= _PACE_SECONDS:
            now["pace"] = round(self.elapsed / self.wall, 2)
        self._run_folder.report({**now, "gpu_strangers": self.strangers, **self._told})
