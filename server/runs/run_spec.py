"""What a run may spend beside its budget, how it is guarded, and its seed: nothing here depends on what it is for."""

import secrets

from pydantic import Field

from server.records import Value
from server.serve_options import ServeOptions
from server.task.program import Task

_SEEDS = 1 << 31  # what torch, numpy and PYTHONHASHSEED all take
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
    split: str = "val"  # which text the score is measured on
    ceiling: list[tuple[float, float]] = Field(
        default_factory=list[tuple[float, float]]
    )  # (seconds, loss) above which the run is hopeless; none: it never is

    @classmethod
    def of(cls, task: Task, choices: ServeOptions, rehearse: bool, audit_factor: int = 1) -> "RunLimits":
        """Those of a run; what ran once need not be rehearsed."""
        return cls(
            setup_seconds=task.setup_seconds,
            evaluation_seconds=task.evaluation_seconds,
            grace_seconds=_GRACE_SECONDS,
            preflight=task.preflight and rehearse,
            confine=choices.confine,
            require_sealed=choices.require_sealed,
            audit_factor=audit_factor,
        )


def draw_seed() -> int:
    """The seed of a run, drawn in secret: train.py can tell neither the number of its run from it nor what it is for.

    The row holds it, so that a run can be repeated.
    """
    return secrets.randbelow(_SEEDS)
