"""Fields of the front matter that are more than one value, and what is wrong with a field."""

import re

from pydantic import Field, field_validator, model_validator

from server.records import Value
from server.task.policy import Guardrail
from trainer.contract import MetricSource

_PRINTED = "metric"  # what a command's number is called, as others have it
_NAME = re.compile(r"[\w.\-µ]{1,60}")
_NO_NAME = "is not a name: use at most 60 letters, digits and _ . - µ"
_NO_NAMES = ("__proto__", "constructor", "prototype")  # others who read such lines refuse them as well


class FieldError(ValueError):
    """What is wrong with one field; `path` leads to it, from the top."""

    def __init__(self, problem: str, *path: str | int) -> None:
        super().__init__(problem)
        self.path = path


def require_name(told: str, *path: str | int) -> None:
    """Raises FieldError: it cannot be the name of a metric or figure."""
    if not _NAME.fullmatch(told) or told in _NO_NAMES:
        raise FieldError(f"{told!r} {_NO_NAME}", *path)


class Range(Value):
    """What a search may set a constant of train.py to: a stretch of numbers, or one of some choices."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    integer: bool = False
    choices: list[float | int | str] = Field(default_factory=list[float | int | str])

    @model_validator(mode="after")
    def _is_one(self) -> "Range":
        if not self.choices and not self.low < self.high:
            raise ValueError("give low < high, or choices")
        if self.log and self.low <= 0:
            raise ValueError("a logarithmic range must begin above 0")
        if any(str(choice).lower() in ("true", "false") for choice in self.choices):
            raise ValueError("a choice must be a number or a string, not a boolean")
        return self


class MetricField(Value):
    """The metric, where its name alone does not say everything."""

    name: str = _PRINTED
    unit: str = Field(default="", max_length=40)
    source: MetricSource | None = None  # None: printed, of a command; score, of a judge

    @field_validator("name")
    @classmethod
    def _is_name(cls, told: str) -> str:
        require_name(told, "metric", "name")
        return told

    @field_validator("unit")
    @classmethod
    def _is_one_line(cls, told: str) -> str:
        if not told.isprintable():
            raise FieldError(f"{told!r} has a control character", "metric", "unit")
        return told


class WatchedFigure(Guardrail):
    """A further number of a run: a guardrail where it has bounds; with a weight it is shown, and bounds nothing."""

    weight: float | None = Field(default=None, ge=0)  # the heavier, the further to the front

    @model_validator(mode="after")
    def _bounds_something(self) -> "WatchedFigure":
        if (self.min, self.max, self.share, self.weight) == (None, None, None, None):
            raise ValueError("give min, max or share, or a weight to show it")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is above max: nothing could be kept")
        return self
