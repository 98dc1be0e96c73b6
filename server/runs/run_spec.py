"""What a run may spend beside its budget, how it is guarded, and its seed: nothing here depends on what it is for."""

import secrets

from pydantic import Field

from server.records import Attempt, Experiment, Figures, Value
from server.serve_options import ServeOptions
from server.task.definition import Task
from trainer.contract import CPU_PROFILES

_SEEDS = 1 << 31  # what torch, numpy and PYTHONHASHSEED all take
_SETUP_SHARE = 2.0  # of the baseline's: a candidate may compile more
# And at least: seconds, and a share of the budget. A GPU's kernels take a minute to compile; on a CPU set-up could as
# well be training, on text that lies about.
_LEAST_SETUP = {"cpu": (5.0, 0.1), "wall": (60.0, 0.1)}
# Of upstream's train.py: times what the baseline took beside its budget, and on top seconds, or a share of the budget.
_OVERHEAD_SHARE = 1.5
_LEAST_SLACK = 5.0
_SLACK_SHARE = 0.05
_USUAL_FACTOR = 16  # times the audited positions that `evaluation_seconds` of program.md is enough for
_GRACE_SECONDS = 5.0  # that the transfer of the weights may take, at most, on top of the budget


class RunLimits(Value):
    """Of one run; all times in seconds."""

    setup_seconds: float
    evaluation_seconds: float
    grace_seconds: float
    preflight: bool = True
    confine: bool = True
    require_sealed: bool = False
    audit_factor: int = Field(default=1, ge=1)  # times the profile's audited positions
    first_look: bool = False  # at fewer positions than those: what it finds is not kept before a denser audit
    setup_allowed: float | None = None  # that set-up may take before it counts on the clock; None: all of it is free
    split: str = "val"  # which text the score is measured on
    proven: bool = False  # whether the task's judge has scored what was kept: what it cannot is the candidate's doing
    ceiling: list[tuple[float, float]] = Field(
        default_factory=list[tuple[float, float]]
    )  # (seconds, loss) above which the run is hopeless; none: it never is

    @classmethod
    def of(cls, task: Task, choices: ServeOptions, rehearse: bool, audit_factor: int = 1) -> "RunLimits":
        """Those of a run; what ran once need not be rehearsed."""
        return cls(
            setup_seconds=task.setup_seconds,
            evaluation_seconds=task.evaluation_seconds * max(1.0, audit_factor / _USUAL_FACTOR),
            grace_seconds=_GRACE_SECONDS,
            preflight=task.preflight and rehearse,
            confine=choices.confine,
            require_sealed=choices.require_sealed,
            audit_factor=audit_factor,
        )

    def beside(self, baseline: Experiment | None, attempt: Attempt) -> "RunLimits":
        """The same for a run that is compared with the baseline: training before the clock starts must not pay."""
        figures = baseline.result.figures if baseline and baseline.result else Figures()
        clock = "cpu" if attempt.profile in CPU_PROFILES else "wall"
        usual = figures.setup_seconds if clock == "wall" else figures.setup_cpu_seconds
        if baseline is None or usual is None or not _alike(baseline.attempt, attempt, clock):
            return self
        least, share = _LEAST_SETUP[clock]
        allowed = max(_SETUP_SHARE * usual, least + share * attempt.budget_seconds)
        return self.model_copy(update={"setup_allowed": allowed})

    def beside_upstream(self, baseline: Experiment | None, attempt: Attempt) -> "RunLimits":
        """The same for upstream's train.py, whose seconds of training the referee reads on its own clock.

        What compiling and warming up took the baseline, between its first batch and its last, any run may take.
        """
        figures = baseline.result.figures if baseline and baseline.result else Figures()
        setup, training = figures.setup_seconds, figures.training_wall_seconds
        if baseline is None or setup is None or training is None or not _alike(baseline.attempt, attempt):
            return self.model_copy(update={"setup_allowed": None, "grace_seconds": self.setup_seconds})
        slack = max(_LEAST_SLACK, _SLACK_SHARE * attempt.budget_seconds)
        grace = _OVERHEAD_SHARE * max(0.0, training - attempt.budget_seconds) + slack
        return self.model_copy(update={"setup_allowed": _OVERHEAD_SHARE * setup + slack, "grace_seconds": grace})


def _alike(one: Attempt, other: Attempt, clock: str = "wall") -> bool:
    """Whether what beside training takes time may be compared: runs beside others wait for disk and compiler.

    CPU seconds count no waiting.
    """
    return one.profile == other.profile and (clock == "cpu" or one.beside_others == other.beside_others)


def draw_seed() -> int:
    """The seed of a run, drawn in secret: train.py can tell neither the number of its run from it nor what it is for.

    The row holds it, so that a run can be repeated.
    """
    return secrets.randbelow(_SEEDS)
