"""Summaries of experiments that several views show: a row of the history, the incumbent. Pure."""

from typing import Annotated

from server import lm_names
from server.records import Experiment, Figures, Value, decision_name
from server.text import shorten


class IncumbentSummary(Value):
    """The incumbent: what a candidate has to beat."""

    experiment: int
    value: Annotated[float, lm_names.SCORE]  # the mean of the runs that did not select it
    runs: int  # how many those are; 0: none yet, the value is provisional and too good
    commit: str
    description: str


class TableRow(Value):
    """One experiment in the compact table."""

    experiment: int
    commit: str
    verdict: str
    decision: str
    value: Annotated[float | None, lm_names.SCORE]
    delta: float | None
    trust: str  # sealed, audited or unconfined; empty without a score
    seconds: float | None
    description: str


def incumbent_summary(experiment: Experiment | None, value: float | None, runs: int) -> IncumbentSummary | None:
    """The incumbent as an agent sees it."""
    if experiment is None or value is None:
        return None
    return IncumbentSummary(
        experiment=experiment.number,
        value=value,
        runs=runs,
        commit=experiment.commit[:12],
        description=shorten(experiment.attempt.description),
    )


def table_row(experiment: Experiment) -> TableRow:
    """An experiment as a line of the compact table."""
    figures = experiment.result.figures if experiment.result else Figures()
    return TableRow(
        experiment=experiment.number,
        commit=experiment.commit[:12],
        verdict=experiment.verdict,
        decision=decision_name(experiment),
        value=experiment.value,
        delta=experiment.judgement.delta if experiment.judgement and not experiment.revocation else None,
        trust=experiment.trust,
        seconds=figures.total_seconds,
        description=experiment.attempt.description,
    )
