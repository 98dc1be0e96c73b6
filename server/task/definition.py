"""What program.md's front matter defines: what is measured, how, on which files, and what earns a keep."""

import hashlib
import json
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from server import lm_names
from server.metric import Direction, Metric, Scale
from server.records import Figures, Value
from server.task.policy import Guardrail, KeepRule, StopLimits, figures_complaint, usual_scatter
from trainer.contract import MetricSource, Referee, TaskSpec

_Seconds = Annotated[float, Field(gt=0, le=86400)]
_Command = Annotated[str, Field(max_length=4000)]
_Path = Annotated[str, Field(min_length=1, max_length=500)]
_SOURCES = {Referee.COMMAND: ("printed", "cpu", "wall", "memory"), Referee.JUDGED: ("score", "cpu", "wall", "memory")}
_PRINTED = "metric"  # what a command's number is called, as others have it
# By the referee, the fields that only it reads.
_OWN = {
    Referee.SEALED: ("preflight", "early_stop", "guardrails"),
    Referee.COMMAND: ("command", "checks"),
    Referee.JUDGED: ("worker", "judge", "hidden"),
}
_OF_TASKS = ("build", "off_limits", "link", "paired", "metrics", "repeats", "least_effect", "network", "home")


class FieldError(ValueError):
    """What is wrong with one field, found when all were read."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(problem)
        self.field = field


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
            raise ValueError("a logarithmic stretch begins above 0")
        if any(str(choice).lower() in ("true", "false") for choice in self.choices):
            raise ValueError("a choice is a number or a string, and no boolean")
        return self


class MetricField(Value):
    """The metric, where its name alone does not say everything."""

    name: str = Field(default=_PRINTED, pattern=r"^[\w.\-µ]{1,60}$")
    unit: str = Field(default="", max_length=40)
    source: MetricSource | None = None  # None: printed, of a command; score, of a judge


class WatchedFigure(Guardrail):
    """A further number of a run: a guardrail where it has bounds; with a weight it is shown, and bounds nothing."""

    weight: float | None = Field(default=None, ge=0)  # the heavier, the further to the front

    @model_validator(mode="after")
    def _bounds_something(self) -> "WatchedFigure":
        if (self.min, self.max, self.share, self.weight) == (None, None, None, None):
            raise ValueError("give min, max or share, or a weight to have it shown")
        return self


class Task(KeepRule):
    """The front matter. Times in seconds; paths and globs from the top of the repository, with / between parts."""

    name: str = Field(default="pretraining", min_length=1, max_length=100)
    referee: Referee | None = None  # None: by what else is there
    metric: MetricField = MetricField()
    direction: Direction = "lower"
    scale: Scale = "linear"
    editable: list[_Path] = Field(default_factory=lambda: ["train.py"], min_length=1)
    off_limits: list[_Path] = Field(default_factory=list[str])
    hidden: list[_Path] = Field(default_factory=list[str])
    link: list[_Path] = Field(default_factory=list[str])
    build: _Command = ""
    command: _Command = ""
    checks: _Command = ""
    worker: _Command = ""
    judge: str = Field(default="", max_length=500)
    paired: bool = False
    repeats: int = Field(default=1, ge=1, le=1000)
    least_effect: float = Field(default=0.0, ge=0, lt=1)
    metrics: dict[str, WatchedFigure] = Field(default_factory=dict[str, WatchedFigure])
    network: bool = False
    home: bool = False
    budget_seconds: _Seconds = 300
    setup_seconds: _Seconds = 300
    evaluation_seconds: _Seconds = 300
    build_seconds: _Seconds = 600
    checks_seconds: _Seconds = 300
    preflight: bool = True
    baseline_runs: int = Field(default=3, ge=1, le=10)
    stop: StopLimits = StopLimits()
    knobs: dict[str, Range] = Field(default_factory=dict[str, Range])  # for `autoresearch drive sweep`

    @field_validator("metric", mode="before")
    @classmethod
    def _named(cls, told: Any) -> Any:
        return {"name": told} if isinstance(told, str) else told

    @field_validator("editable", "off_limits", "hidden", "link", mode="before")
    @classmethod
    def _listed(cls, told: Any) -> Any:
        return [told] if isinstance(told, str) else told

    @field_validator("editable", "off_limits", "hidden", "link")
    @classmethod
    def _inside(cls, told: list[str]) -> list[str]:
        for path in told:
            parts = PurePosixPath(path).parts
            if path.startswith(("/", "~")) or ".." in parts or "\\" in path or ".git" in parts:
                raise ValueError(f"{path} is no path below the top of the repository, with / between its parts")
        return told

    @property
    def kind(self) -> Referee:
        """The referee, by what is there where none is named."""
        found = Referee.JUDGED if self.judge or self.worker else Referee.COMMAND if self.command else Referee.SEALED
        return self.referee or found

    @property
    def measure(self) -> Metric:
        """What is measured, and which scores are better."""
        if self.kind is Referee.SEALED:
            return Metric(lm_names.NAME, "lower", lm_names.UNIT)
        scatter = usual_scatter(self.source, self.scale, self.metric.unit)
        return Metric(self.metric.name, self.direction, self.metric.unit, self.scale, scatter, places=None)

    def complaint(self, candidate: Figures, incumbent: Figures) -> str:
        """The first bound of a figure that the candidate breaks; empty if it keeps to all."""
        if self.kind is Referee.SEALED:
            return super().complaint(candidate, incumbent)
        return figures_complaint(self.metrics, candidate, incumbent, printed=self.kind is Referee.COMMAND)

    @property
    def source(self) -> MetricSource:
        """Where the number comes from."""
        usual = MetricSource.SCORE if self.kind is Referee.JUDGED else MetricSource.PRINTED
        return self.metric.source or usual

    def terms(self, links: tuple[tuple[str, str], ...] = ()) -> TaskSpec | None:
        """What a run is told of the task; None: it is a language model's.

        Args:
            links: of each path in `link` that is there, where it leads.
        """
        if self.kind is Referee.SEALED:
            return None
        return TaskSpec(
            metric=self.metric.name,
            unit=self.metric.unit,
            direction=self.direction,
            scale=self.scale,
            source=self.source,
            build=self.build,
            checks=self.checks,
            command=self.command,
            worker=self.worker,
            judge=self.judge,
            editable=tuple(self.editable),
            hidden=tuple(self.hidden),
            links=links,
            paired=self.paired,
            repeats=self.repeats,
            least_effect=self.least_effect,
            figures=tuple(self.metrics),
            network=self.network,
            home=self.home,
            build_seconds=self.build_seconds,
            checks_seconds=self.checks_seconds,
        )

    @property
    def sha256(self) -> str | None:
        """A hash, 16 characters, of what is measured and how: where it changes, scores are no longer compared.

        None for a language model: its profile, data set and budget say it all.
        """
        if (terms := self.terms()) is None:
            return None
        told = {name: str(value) for name, value in vars(terms).items() if name not in _NO_MEASURE}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    @model_validator(mode="after")
    def _agrees(self) -> "Task":
        for referee, names in _OWN.items():
            for name in names:
                if referee is not self.kind and name in self.model_fields_set and getattr(self, name):
                    raise FieldError(name, f"it is read by the referee `{referee}`, and this task has `{self.kind}`")
        if self.kind is Referee.SEALED:
            self._require_language_model()
        else:
            self._require_task()
        self._require_target()
        return self

    def _require_target(self) -> None:
        if self.stop.target is not None and self.stop.target <= 0:
            if self.kind is Referee.SEALED:
                raise FieldError("stop", f"the target is a {lm_names.NAME}, which is above 0")
            if self.scale == "log":
                raise FieldError("stop", "the target has no place on a log scale, where scores are above 0")

    def _require_language_model(self) -> None:
        if self.metric.name not in (_PRINTED, lm_names.NAME):
            told = "give `command` or `judge` and `worker` for another metric"
            raise FieldError("metric", f"the referee `sealed` measures {lm_names.NAME} alone; {told}")
        if self.direction != "lower":
            raise FieldError("direction", f"of {lm_names.NAME} the lower is the better one")
        if len(self.editable) != 1 or not self.editable[0].endswith(".py") or set("*?[/") & set(self.editable[0]):
            raise FieldError("editable", "the referee `sealed` runs one Python file at the top of the repository")
        for name in _OF_TASKS:
            if name in self.model_fields_set and getattr(self, name):
                raise FieldError(name, "it needs a `command`, or a `judge` and a `worker`")

    def _require_task(self) -> None:
        wanted = {Referee.COMMAND: ("command",), Referee.JUDGED: ("worker", "judge")}[self.kind]
        for name in wanted:
            if not getattr(self, name).strip():
                raise FieldError(name, f"the referee `{self.kind}` needs it")
        if self.source not in _SOURCES[self.kind]:
            known = ", ".join(_SOURCES[self.kind])
            raise FieldError("metric", f"`{self.source}` is no source of the referee `{self.kind}`; it has {known}")
        if self.kind is Referee.JUDGED and (not self.judge.endswith(".py") or ".." in PurePosixPath(self.judge).parts):
            raise FieldError("judge", "it is a Python file in the repository, such as judge/judge.py")
        if "editable" not in self.model_fields_set:
            raise FieldError("editable", "name the files that the agent may change, such as [src/**]")


_NO_MEASURE = ("figures", "build_seconds", "checks_seconds", "links", "editable")  # they change no score
