"""What program.md says about keeping a change, and about stopping a study. Pure."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from server.metric import Metric, Scale
from server.records import MEASURED, Figures, Value

# How much one run's score moves by itself, as a share, before anything was measured here. On a shared machine CPU
# seconds moved by 2 to 7 %, wall seconds by 4 to 40 %.
_SCATTER = {"cpu": 0.03, "wall": 0.10, "memory": 0.01, "score": 0.005}  # by the metric's source
_PRINTED = 0.01
_PRINTED_TIME = 0.05
_TIMES = {"s", "sec", "seconds", "ms", "us", "µs", "ns", "min", "minutes", "milliseconds", "microseconds"}


def usual_scatter(source: str, scale: Scale, unit: str) -> float:
    """What to assume of a metric's noise, as a share of the score, while no run was repeated."""
    printed = _PRINTED_TIME if scale == "log" or unit.lower() in _TIMES else _PRINTED
    return _SCATTER.get(source, printed)


class Guardrail(Value):
    """Bounds of one figure of a run; a candidate beyond one of them is not kept, however good its score."""

    min: float | None = None
    max: float | None = None
    share: float | None = Field(default=None, gt=0)  # of the incumbent's figure: at most if above 1, else at least

    @model_validator(mode="after")
    def _bounds_something(self) -> "Guardrail":
        if (self.min, self.max, self.share) == (None, None, None):
            raise ValueError("give min, max or share")
        return self

    def complaint(self, name: str, value: float, incumbent: float | None) -> str:
        """Why `value` is out of bounds; empty if it is not."""
        if self.min is not None and value < self.min:
            return f"{name} is {value:g}, below the floor of {self.min:g}"
        if self.max is not None and value > self.max:
            return f"{name} is {value:g}, above the ceiling of {self.max:g}"
        if self.share is None or incumbent is None:
            return ""
        bound = self.share * incumbent
        if incumbent < 0:  # as far to the same side of it as for a figure above 0
            bound = incumbent + (self.share - 1) * -incumbent
        if value > bound if self.share > 1 else value < bound:
            times = f"{value / incumbent:.2f} times " if incumbent > 0 else ""
            against = "" if incumbent > 0 else "against "
            return f"{name} is {value:g}, {times}{against}the incumbent's {incumbent:g}; the limit is {self.share:g}"
        return ""


class KeepRule(Value):
    """How a candidate earns its keep."""

    keep_rule: Literal["confirmed", "any"] = "confirmed"
    seeds: int = Field(default=1, ge=1, le=10)  # runs of a candidate before its first verdict
    early_stop: bool = False  # end a new candidate whose loss is above that of every run that was any good
    guardrails: dict[str, Guardrail] = Field(default_factory=dict[str, Guardrail])

    @model_validator(mode="after")
    def _known_figures(self) -> "KeepRule":
        for name in self.guardrails:
            if Figures.model_fields.get(name) is None:
                raise ValueError(f"{name} is not a figure of a run; the figures are {', '.join(MEASURED)}")
            if name not in MEASURED:
                raise ValueError(
                    f"the referee does not measure {name}, and train.py could report a false value; a guardrail can "
                    f"bound {', '.join(MEASURED)}"
                )
        return self

    @property
    def bounds(self) -> dict[str, Guardrail]:
        """The guardrails, by figure."""
        return self.guardrails

    def complaint(self, candidate: Figures, incumbent: Figures) -> str:
        """The first guardrail that the candidate breaks; empty if it keeps to all. An absent figure breaks none."""
        for name, guardrail in self.bounds.items():
            value, known = candidate.number(name), None if incumbent.of_other_kind(name) else incumbent.number(name)
            if value is not None and (found := guardrail.complaint(name, value, known)):
                return found
        return ""


def figures_complaint(
    bounds: Mapping[str, Guardrail], candidate: Figures, incumbent: Figures, printed: bool = False
) -> str:
    """The first bound of a task's figures that the candidate breaks; empty if it keeps to all.

    An absent figure breaks its bound: whatever leaves out a number would pass else.

    Args:
        printed: whether the code under test has told the figures that the referee does not measure.
    """
    for name, bound in bounds.items():
        value, known = candidate.number(name), incumbent.number(name)
        by = " (printed by the code under test)" if printed and name not in MEASURED else ""
        if (bound.min, bound.max, bound.share) == (None, None, None):
            continue
        if value is None:
            return f"{name} has a bound in program.md, but the run gave no number of this name"
        if bound.share is not None and known is None:
            return f"program.md bounds {name} by the incumbent's, but no run of the incumbent gave that number"
        if found := bound.complaint(name, value, known):
            return found + by
    return ""


class StudyFacts(Value):
    """How far a night has come."""

    hours: float  # since its first run, as its servers counted them
    experiments: int
    value: float | None  # the incumbent's score, as it counts
    since_keep: int  # experiments
    free_gb: float  # of disk space where the night is stored


class StopLimits(Value):
    """Whatever is reached first ends the night; nothing is by default but the floor under the disk."""

    hours: float | None = Field(default=None, gt=0)
    experiments: int | None = Field(default=None, ge=1)
    target: float | None = None  # score of the incumbent
    plateau: int | None = Field(default=None, ge=1)  # experiments without a keep
    disk_gb: float = Field(default=1.0, ge=0)

    def progress(self, facts: StudyFacts, metric: Metric) -> str:
        """How far the night is on its way to each limit that was set."""
        kept = "nothing" if facts.value is None else metric.word(facts.value)
        ways = [
            (self.hours, f"{facts.hours:.1f} of {self.hours} hours"),
            (self.experiments, f"{facts.experiments} of {self.experiments} experiments"),
            (self.target, f"{kept} on the way to {self.target}"),
            (self.plateau, f"{facts.since_keep} of {self.plateau} experiments without a keep"),
        ]
        told = [way for limit, way in ways if limit is not None]
        return "; ".join([*told, f"{facts.free_gb:.0f} GB of the disk free, at least {self.disk_gb:g}"])

    def full(self, facts: StudyFacts) -> str:
        """Why not even a confirmation can be run; empty if one can."""
        if facts.free_gb >= self.disk_gb:
            return ""
        return f"only {facts.free_gb:.1f} GB of the disk are free, and program.md reserves {self.disk_gb:g} GB"

    def reached(self, facts: StudyFacts, metric: Metric) -> str:
        """Which limit the night has come to; empty while none."""
        if self.hours is not None and facts.hours >= self.hours:
            return f"the {self.hours:g}-hour limit was reached"
        if self.experiments is not None and facts.experiments >= self.experiments:
            return f"the limit of {self.experiments} experiment{'s' * (self.experiments != 1)} was reached"
        if self.target is not None and facts.value is not None and metric.reached(facts.value, self.target):
            return f"{metric.word(facts.value)} has reached the target of {self.target:g}"
        if self.plateau is not None and facts.since_keep >= self.plateau:
            return f"nothing was kept in the last {facts.since_keep} experiments"
        return ""
