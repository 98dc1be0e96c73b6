"""What program.md says about keeping. Pure."""

from typing import Literal

from pydantic import Field, model_validator

from server.experiment import Figures, Value


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
        if value > bound if self.share > 1 else value < bound:
            told = f"{value / incumbent:.2f} times the incumbent's {incumbent:g}"
            return f"{name} is {value:g}, {told}; allowed is {self.share:g}"
        return ""


class Rule(Value):
    """How a candidate earns its keep."""

    keep_rule: Literal["confirmed", "any"] = "confirmed"
    seeds: int = Field(default=1, ge=1, le=10)  # runs of a candidate before its first verdict
    early_stop: bool = False  # end a new candidate whose loss is above that of every run that was any good
    guardrails: dict[str, Guardrail] = Field(default_factory=dict[str, Guardrail])

    @model_validator(mode="after")
    def _known_figures(self) -> "Rule":
        for name in self.guardrails:
            if Figures.model_fields.get(name) is None:
                raise ValueError(f"{name} is no figure of a run; known are {', '.join(Figures.model_fields)}")
        return self

    def complaint(self, candidate: Figures, incumbent: Figures) -> str:
        """The first guardrail that the candidate breaks; empty if it keeps to all. An absent figure breaks none."""
        for name, guardrail in self.guardrails.items():
            value, before = getattr(candidate, name), getattr(incumbent, name)
            if isinstance(value, int | float):
                known = before if isinstance(before, int | float) else None
                if found := guardrail.complaint(name, value, known):
                    return found
        return ""
