"""What program.md's front matter defines: what is measured, how, on which files, and what earns a keep."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from typing import Annotated, Any, cast

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from server.metric import Direction, Metric, Scale
from server.records import MEASURED, Figures, lm_names
from server.task import globs, upstream_fields
from server.task.fields import FieldError, MetricField, Range, WatchedFigure, require_name
from server.task.policy import Guardrail, KeepRule, StopLimits, figures_complaint, usual_scatter
from trainer.contract import MetricSource, Referee, TaskSpec
from trainer.text import glob_matches

_Seconds = Annotated[float, Field(gt=0, le=86400)]
_Command = Annotated[str, Field(max_length=4000)]
_Path = Annotated[str, Field(max_length=500)]
Links = tuple[tuple[str, str], ...]  # paths, and where they lead
_SOURCES = {Referee.COMMAND: ("printed", "cpu", "wall", "memory"), Referee.JUDGED: ("score", "cpu", "wall", "memory")}
_USUAL_PAIRS = 20  # runs of a paired command that says nothing else; of a judge the evaluator knows better
# By the referee, the fields that only it reads.
_OWN = {
    Referee.SEALED: ("preflight", "early_stop", "guardrails", "setup_seconds", "evaluation_seconds"),
    Referee.COMMAND: ("command", "checks", "checks_seconds"),
    Referee.JUDGED: ("worker", "judge", "hidden", "hidden_final"),
    Referee.KARPATHY: ("python", "audit"),
}
_ALSO = {Referee.KARPATHY: ("setup_seconds", "evaluation_seconds")}  # what another one reads of those
_OF_TASKS = (
    *("build", "build_seconds", "off_limits", "link", "scale", "paired", "repeats", "least_effect"),
    *("metrics", "network", "home"),
)
_INSTEAD = {  # what to write in place of a field that another referee reads
    "guardrails": "`metrics` bounds the figures of this task",
    "command": "give either `command`, or `judge` and `worker`",
    "judge": "give either `command`, or `judge` and `worker`",
    "worker": "give either `command`, or `judge` and `worker`",
    "checks": "a judge checks the answers itself, in `score`",
    "metrics": "`guardrails` bounds the figures of a language model's run",
}


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
    judge: _Path = ""
    hidden_final: _Path = ""  # the judge of baseline and best after the night
    python: _Path = ""
    audit: bool = True
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
    _looked: str = PrivateAttr("")  # why it is this referee, where the files of the repository have said so

    @field_validator("referee", mode="before")
    @classmethod
    def _is_known(cls, told: Any) -> Any:
        if told is not None and told not in tuple(Referee):
            raise FieldError(f"{told} is not a referee; the referees are {', '.join(Referee)}", "referee")
        return told

    @field_validator("metric", mode="before")
    @classmethod
    def _named(cls, told: Any) -> Any:
        if isinstance(told, str):
            return {"name": told}
        if not isinstance(told, dict | MetricField):
            raise FieldError(f"{told!r} is neither a name nor a mapping such as {{name: ms, source: cpu}}", "metric")
        return cast("Any", told)

    @field_validator("editable", "off_limits", "hidden", "link", mode="before")
    @classmethod
    def _listed(cls, told: Any) -> Any:
        return [told] if isinstance(told, str) else told

    @field_validator("editable", "off_limits", "hidden", "link")
    @classmethod
    def _inside(cls, told: list[str], info: ValidationInfo) -> list[str]:
        field = str(info.field_name)
        for at, path in enumerate(told):
            if why := globs.problem(path, wild=field != "link"):
                raise FieldError(f"{path!r} {why}", field, at)
            if path in told[:at]:
                raise FieldError(f"{path!r} is given twice", field, at)
        return told

    @field_validator("judge", "hidden_final")
    @classmethod
    def _is_file(cls, told: str, info: ValidationInfo) -> str:
        why = globs.problem(told, wild=False) or ("" if told.endswith(".py") else "is not a Python file")
        if why:
            problem = f"{told!r} {why}; a judge is a file of the repository, such as judge/judge.py"
            raise FieldError(problem, str(info.field_name))
        return told

    @field_validator("build", "command", "checks", "worker")
    @classmethod
    def _says_something(cls, told: str, info: ValidationInfo) -> str:
        if not told.strip() or "\0" in told:
            raise FieldError(
                f"{told!r} is not a command: give a command for `sh -c`, or leave it out", str(info.field_name)
            )
        return told

    @field_validator("metrics")
    @classmethod
    def _can_be_told(cls, told: dict[str, WatchedFigure]) -> dict[str, WatchedFigure]:
        for name in told:
            require_name(name, "metrics", name)
            if name in Figures.model_fields and name not in MEASURED:
                raise FieldError("the server itself uses this name: give the figure another name", "metrics", name)
        return told

    @property
    def kind(self) -> Referee:
        """The referee, by what is there where none is named."""
        return self.referee or self._found()[0]

    @property
    def kind_reason(self) -> str:
        """Why it is this one."""
        return self._looked or ("program.md names it" if self.referee else self._found()[1])

    def as_found(self, why: str, **read: Any) -> "Task":
        """The same with what was read in the files of the repository; `why` it has this referee, empty: it says so."""
        made = self.model_copy(update=read)
        made._looked = why
        return made

    def _found(self) -> tuple[Referee, str]:
        if self.judge or self.worker:
            return Referee.JUDGED, f"program.md names a {'judge' if self.judge else 'worker'}"
        if self.command:
            return Referee.COMMAND, "program.md names a command"
        return Referee.SEALED, "program.md names neither a command nor a judge"

    @property
    def measure(self) -> Metric:
        """What is measured, and which scores are better."""
        if self.kind in (Referee.SEALED, Referee.KARPATHY):
            return Metric(lm_names.NAME, self.direction, lm_names.UNIT)
        scatter = usual_scatter(self.source, self.scale, self.metric.unit)
        return Metric(self.metric.name, self.direction, self.metric.unit, self.scale, scatter, places=None)

    def complaint(self, candidate: Figures, incumbent: Figures) -> str:
        """The first bound of a figure that the candidate breaks; empty if it keeps to all."""
        if self.kind is Referee.SEALED:
            return super().complaint(candidate, incumbent)
        return figures_complaint(self.metrics, candidate, incumbent, printed=self.kind is not Referee.JUDGED)

    @property
    def brought(self) -> Mapping[str, str]:
        """Files that git does not have and a run is given, and the sha256 of each."""
        return {}

    @property
    def scripts(self) -> Collection[str]:
        """Files that its commands run and that a commit of the study or `brought` has to have, where that is known."""
        return ()

    @property
    def source(self) -> MetricSource:
        """Where the number comes from."""
        measured = self.kind is Referee.JUDGED or (self.kind is Referee.KARPATHY and self.audit)
        usual = MetricSource.SCORE if measured else MetricSource.PRINTED
        return self.metric.source or usual

    def final_terms(self, terms: TaskSpec) -> TaskSpec:
        """The same for a run after the night: by the other judge, once through its cases, beside nobody."""
        return replace(terms, judge=self.hidden_final, paired=False, repeats=1)

    def terms(self, links: Links = (), home_links: Links = (), python: str = "", audit: str = "try") -> TaskSpec | None:
        """What a run is told of the task; None: it is a language model's.

        Args:
            links: of each path in `link` that is there, where it leads. home_links: of paths below its home.
            python: what runs train.py, where that has no Session. audit: how far it is, where program.md wants it.
        """
        if self.kind is Referee.SEALED:
            return None
        return TaskSpec(
            metric=self.measure.name,
            unit=self.measure.unit,
            direction=self.direction,
            scale=self.scale,
            source=self.source,
            build=self.build,
            checks=self.checks,
            command=self.command,
            worker=self.worker,
            judge=self.judge,
            editable=tuple(self.editable),
            off_limits=tuple(self.off_limits),
            hidden=(*self.hidden, *filter(None, [self.hidden_final])),
            links=links,
            home_links=home_links,
            python=python or self.python,
            audit=audit if self.kind is Referee.KARPATHY and self.audit else "",
            paired=self.paired,
            repeats=_USUAL_PAIRS if self.paired and self.command and self.repeats == 1 else self.repeats,
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
        # Without what is a default: a later version's new terms must not part a study that does not use them.
        terms = replace(terms, hidden=tuple(self.hidden))  # what comes after the night changes no score of it
        usual = {field.name: field.default for field in fields(terms)}
        told = {name: str(value) for name, value in vars(terms).items() if value != usual[name]}
        told = {name: value for name, value in told.items() if name not in _NO_MEASURE}
        return hashlib.sha256(json.dumps({**told, "kind": self.kind}, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def bounds(self) -> dict[str, Guardrail]:
        """The guardrails, of a language model or of another task, by figure."""
        return {**self.guardrails, **self.metrics}

    @model_validator(mode="before")
    @classmethod
    def _has_its_own_guardrails(cls, told: Any) -> Any:
        """Before the names in `guardrails` are looked at: in another task any of them would be right elsewhere."""
        given = cast("dict[str, Any]", told if isinstance(told, dict) else {})
        if given.get("guardrails") and any(given.get(name) for name in ("command", "judge", "worker")):
            raise FieldError(f"this task does not train a language model: {_INSTEAD['guardrails']}", "guardrails")
        return cast("Any", told)

    @model_validator(mode="after")
    def _agrees(self) -> "Task":
        for referee, names in _OWN.items():
            for name in names:
                if referee is not self.kind and self._wants(name) and name not in _ALSO.get(self.kind, ()):
                    instead = f"; {_INSTEAD[name]}" if name in _INSTEAD else ""
                    problem = f"only the referee `{referee}` reads it, and this task has `{self.kind}`"
                    raise FieldError(f"{problem} ({self.kind_reason}){instead}", name)
        if self.kind is Referee.SEALED:
            self._require_language_model()
        elif self.kind is Referee.KARPATHY:
            self._require_upstream()
        else:
            self._require_task()
            self._require_out_of_reach()
        return self

    def _require_language_model(self) -> None:
        told = "for another metric, give a `command`, or a `judge` and a `worker`"
        if "metric" in self.model_fields_set and self.metric.name != lm_names.NAME:
            raise FieldError(f"the referee `sealed` measures only {lm_names.NAME}; {told}", "metric")
        if self.metric.unit not in ("", lm_names.UNIT) or self.metric.source:
            raise FieldError(f"unit and source of {lm_names.NAME} are fixed; {told}", "metric")
        if self.direction != "lower":
            raise FieldError(f"lower is better for {lm_names.NAME}; {told}", "direction")
        if len(self.editable) != 1 or not _MODULE.fullmatch(self.editable[0]):
            raise FieldError("the referee `sealed` runs one Python file at the top of the repository", "editable")
        if self.stop.target is not None and self.stop.target <= 0:
            raise FieldError(
                f"it must be above 0, got {self.stop.target:g}: {lm_names.NAME} cannot be lower", "stop", "target"
            )
        for name in _OF_TASKS:
            if self._wants(name):
                instead = _INSTEAD.get(name, "it needs a `command`, or a `judge` and a `worker`")
                raise FieldError(f"the referee `sealed` does not read it; {instead}", name)

    def _require_upstream(self) -> None:
        given = {name: told for name, told in self.model_dump(exclude_unset=True).items() if self._wants(name)}
        if name := upstream_fields.contradicted(given):
            raise FieldError(upstream_fields.WHY, name)

    def _require_task(self) -> None:
        wanted = {Referee.COMMAND: ("command",), Referee.JUDGED: ("worker", "judge")}[self.kind]
        for name in wanted:
            if not getattr(self, name):
                raise FieldError(f"the referee `{self.kind}` needs it, but it is missing ({self.kind_reason})", name)
        if self.source not in _SOURCES[self.kind]:
            known = ", ".join(_SOURCES[self.kind])
            raise FieldError(
                f"the referee `{self.kind}` has no source `{self.source}`; it has {known}", "metric", "source"
            )
        if self.metric.name in self.metrics:
            raise FieldError("this is the metric itself: name other figures here", "metrics", self.metric.name)
        if "editable" not in self.model_fields_set:
            raise FieldError("it is missing: name the files that the agent may change, such as [src/**]", "editable")
        if self.scale == "log" and self.stop.target is not None and self.stop.target <= 0:
            raise FieldError("on a log scale it must be above 0", "stop", "target")
        if self.hidden_final and self.hidden_final == self.judge:
            raise FieldError("this is the judge of the study: name another judge, with other cases", "hidden_final")

    def _require_out_of_reach(self) -> None:
        """What says how good a candidate is must not be part of it."""
        beside = f"{self.judge.rpartition('/')[0]}/any.py" if "/" in self.judge else ""
        places = {"program.md": "program.md", self.judge: self.judge, beside: "the folder of the judge"}
        places[self.hidden_final] = self.hidden_final
        for path, what in places.items():
            at = next((at for at, glob in enumerate(self.editable) if path and glob_matches([glob], path)), None)
            if at is not None and self.may_edit(path):
                told = f"{self.editable[at]!r} lets the agent change {what}, and so change what is measured"
                raise FieldError(f"{told}: add it to off_limits", "editable", at)

    def _wants(self, name: str) -> bool:
        """Whether program.md gives the field, and not to say that it is not wanted."""
        return name in self.model_fields_set and getattr(self, name) not in (False, "linear", [], {})

    def may_edit(self, path: str) -> bool:
        """Whether the agent may change, add or delete the file."""
        return glob_matches(self.editable, path) and not glob_matches(self.off_limits, path)


_MODULE = re.compile(r"[^/*?\[\]]+\.py")
_NO_MEASURE = (
    "figures",
    "least_effect",
    "build_seconds",
    "checks_seconds",
    "links",
    "home_links",
    "editable",
    "off_limits",
)  # they change no score
