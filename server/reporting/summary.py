"""Summaries of experiments that several views show: a row of the history, the incumbent. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Annotated, Any

from pydantic import model_serializer, model_validator

from server.records import Experiment, Figures, Value, decision_name, lm_names
from server.reporting.view_model import Kind
from server.reporting.view_rows import Line, kind_of
from server.text import shorten


class Scored(Value):
    """An answer with a score: under the name that language models have for it, or for another task as `value`.

    In Python it is `value` in both cases. A field of a task that says nothing is left out of the answer.
    """

    @model_validator(mode="before")
    @classmethod
    def _under_one_name(cls, told: Any) -> Any:
        return lm_names.with_values(told)

    @model_serializer(mode="wrap")
    def _as_answered(self, dump: Callable[[Any], dict[str, Any]]):  # without a type: the schema is that of the fields
        return lm_names.without_values(dump(self))


class IncumbentSummary(Scored):
    """The incumbent: what a candidate has to beat."""

    experiment: int
    bits: Annotated[float | None, lm_names.SCORE]
    value: float | None = None  # the mean of the runs that did not select it
    runs: int  # how many those are; 0: none yet, the value is provisional and too good
    commit: str
    description: str


class TableRow(Scored):
    """One experiment in the compact table."""

    experiment: int
    commit: str
    verdict: str
    decision: str
    bits: Annotated[float | None, lm_names.SCORE]
    value: float | None = None
    first_score: float | None = None  # where `value` is the mean of its confirmations: that of the run before them
    delta: float | None
    standing: str = ""  # of what was kept: baseline, sure, noise or provisional
    error: float | None = None  # of the delta of what was kept, a standard error
    trust: str  # sealed, judged, audited, printed or unconfined; empty without a score
    seconds: float | None
    description: str
    lane: str = ""  # left out for main


def bits(experiment: Experiment, value: float | None) -> float | None:
    """A value of an experiment under the name that language models have for it; None for another task's."""
    return value if experiment.attempt.task is None else None


def incumbent_summary(experiment: Experiment | None, value: float | None, runs: int) -> IncumbentSummary | None:
    """The incumbent as an agent sees it."""
    if experiment is None or value is None:
        return None
    return IncumbentSummary(
        experiment=experiment.number,
        bits=bits(experiment, value),
        value=value,
        runs=runs,
        commit=experiment.commit[:12],
        description=shorten(experiment.attempt.description),
    )


def table_row(experiment: Experiment, kept: Line | None = None) -> TableRow:
    """An experiment as a line of the compact table. `kept`: how it stands, where it was kept."""
    figures, own = experiment.result.figures if experiment.result else Figures(), experiment.score
    again = own is not None and experiment.value not in (None, own.value)
    return TableRow(
        experiment=experiment.number,
        commit=experiment.commit[:12],
        verdict=experiment.verdict,
        decision=decision_name(experiment),
        bits=bits(experiment, experiment.value),
        value=experiment.value,
        first_score=own.value if own and again else None,
        delta=experiment.judgement.delta if experiment.judgement and not experiment.revocation else None,
        standing=kept.standing.value if kept else "",
        error=kept.error if kept else None,
        trust=experiment.trust,
        seconds=figures.total_seconds,
        description=experiment.attempt.description,
        lane=experiment.attempt.lane or "",
    )


def who_found_what(experiments: Iterable[Experiment]) -> dict[str, str]:
    """How many experiments each client has asked for, and how many of them were kept, by the name in its token."""
    tried, kept = Counter[str](), Counter[str]()
    for row in experiments:
        judged = row.attempt.of is not None or row.attempt.baseline
        if row.attempt.agent and not judged and kind_of(row) not in (Kind.REFUSED, Kind.RUNNING):
            tried[row.attempt.agent] += 1
            kept[row.attempt.agent] += kind_of(row) is Kind.KEPT
    return {name: f"{count} experiment{'s' * (count > 1)}, {kept[name]} kept" for name, count in sorted(tried.items())}
