"""The rows of a study as they are shown: repeats folded into what they repeat, changes with their errors. Pure."""

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from server.metric import Metric
from server.records import Experiment, Purpose, Verdict
from server.reporting.view_model import AgentView, CategoryGain, Kind, Rows, Standing

SURE = 2.0  # errors of a gain that other runs than the one that selected it have found
SURE_ONCE = 4.0  # of one that the selecting run alone has found: luck, which it was selected for, makes two or three
_DESCRIPTION = 160  # characters in the table
_KINDS = list(Kind)
_STANDINGS = list(Standing)


@dataclass(frozen=True)
class Scale:
    """What differences are measured by: the metric of the study's segment, and one run's noise on its scale."""

    metric: Metric
    task: str | None  # hash of the definition that the last run measured
    sigma: float | None  # None: not known
    paired: bool = False  # runs measure the incumbent beside the candidate: sigma is the error of one such difference

    def comparable(self, row: Experiment) -> bool:
        """Whether a row was measured as the last run was."""
        return row.attempt.task == self.task

    def between(self, after: float | None, before: float | None) -> float | None:
        """The change from one value to another; None where one is missing or has no place on the scale."""
        if after is None or before is None or self.metric.problem(after) or self.metric.problem(before):
            return None
        return self.metric.place(after) - self.metric.place(before)

    def error(self, runs: int, other: int = 0) -> float | None:
        """The standard error of a mean of so many runs, or of the difference of two means."""
        if self.sigma is None:
            return None
        return self.sigma * math.sqrt(1 / max(runs, 1) + (1 / other if other and not self.paired else 0))

    def gain(self, change: float | None) -> float:
        """How much better a change is; 0 where there is none."""
        return 0.0 if change is None else self.metric.sign * change


@dataclass(frozen=True)
class Folded:
    """Experiments, the oldest first, and the later runs of each one's code."""

    roots: list[Experiment]
    repeats: dict[int, list[Experiment]] = field(default_factory=dict[int, list[Experiment]])
    numbers: Sequence[int] = ()  # of all experiments, ascending, where `roots` are only some of them

    def again(self, number: int, purpose: Purpose) -> list[Experiment]:
        """The scored repeats of an experiment for one purpose."""
        return [run for run in self.repeats.get(number, []) if run.attempt.purpose is purpose and run.score]

    def end(self, number: int) -> float:
        """The number of the next new experiment: what was run before it could count for this one."""
        if self.numbers:
            later = bisect_right(self.numbers, number)
            return self.numbers[later] if later < len(self.numbers) else math.inf
        place = self._place(number + 1)
        return self.roots[place].number if place < len(self.roots) else math.inf

    def root(self, number: int) -> Experiment | None:
        """The experiment of this number."""
        place = self._place(number)
        found = self.roots[place] if place < len(self.roots) else None
        return found if found and found.number == number else None

    def _place(self, number: int) -> int:
        return bisect_left(self.roots, number, key=lambda row: row.number)


def fold(experiments: Sequence[Experiment]) -> Folded:
    """Experiments without the runs that judge another, and those by what they repeat."""
    repeats: dict[int, list[Experiment]] = defaultdict(list)
    for row in experiments:
        if row.attempt.of is not None:
            repeats[row.attempt.of].append(row)
    return Folded([row for row in experiments if row.attempt.of is None], dict(repeats))


def kind_of(row: Experiment) -> Kind:
    """What became of an experiment."""
    if row.running:
        return Kind.RUNNING
    if row.verdict == Verdict.REFUSED:
        return Kind.REFUSED
    if row.revocation:
        return Kind.REVOKED
    if row.value is None:
        return Kind.FAILED
    if row.kept:
        return Kind.KEPT
    return Kind.DISCARDED if row.decision else Kind.OPEN


@dataclass(frozen=True)
class Line:
    """One experiment, with everything that is told of it."""

    row: Experiment
    kind: Kind
    standing: Standing
    change: float | None
    error: float | None
    value_error: float | None
    runs: int
    confirmations: int
    again: float | None


def lines(folded: Folded, scale: Scale) -> list[Line]:
    """Every experiment."""
    return [line_of(folded, row, scale) for row in folded.roots]


def line_of(folded: Folded, row: Experiment, scale: Scale) -> Line:
    """One experiment."""
    confirmed = len(folded.again(row.number, Purpose.CONFIRM))
    scored = [run for run in folded.repeats.get(row.number, []) if run.score]
    change, error = _change(row, scale), _error(folded, row, scale, confirmed)
    kind, like = kind_of(row), scale.comparable(row)
    again, measured = _again(folded, row, scale) if kind is Kind.KEPT else (None, 0)
    return Line(
        row=row,
        kind=kind,
        standing=_standing(row, kind, scale.gain(change), error, confirmed),
        change=change,
        error=error if change is not None else None,
        value_error=scale.error(measured or confirmed) if like and row.value is not None else None,
        runs=len(scored) + (row.score is not None),
        confirmations=confirmed,
        again=again,
    )


def _change(row: Experiment, scale: Scale) -> float | None:
    judged, value = row.judgement, row.value
    if judged is None or judged.delta is None or judged.incumbent is None or value is None:
        return None
    if not scale.comparable(row):
        return judged.delta if scale.metric.scale == "linear" else None
    return scale.between(value, value - judged.delta)


def _error(folded: Folded, row: Experiment, scale: Scale, confirmed: int) -> float | None:
    """The error of a row's change, by the runs of it and of its incumbent that were there when it was decided."""
    if not scale.comparable(row) or row.judgement is None or (against := row.judgement.incumbent) is None:
        return None
    end, base = folded.end(row.number), folded.root(against)
    known = sum(run.number < end for run in folded.again(against, Purpose.REFERENCE))
    known += base is not None and base.attempt.baseline
    return scale.error(confirmed, known or len(folded.again(against, Purpose.CONFIRM)) or 1)


def _standing(row: Experiment, kind: Kind, gain: float, error: float | None, confirmed: int) -> Standing:
    if kind is not Kind.KEPT:
        return Standing.NONE
    if row.attempt.baseline:
        return Standing.BASELINE
    if error is None:  # no noise is known of this measurement any more: its rule's word counts
        return Standing.SURE if confirmed and row.verdict == Verdict.IMPROVED else Standing.PROVISIONAL
    if gain <= 0 or gain < SURE * error:
        return Standing.NOISE
    return Standing.SURE if confirmed or gain >= SURE_ONCE * error else Standing.PROVISIONAL


def _again(folded: Folded, row: Experiment, scale: Scale) -> tuple[float | None, int]:
    """The mean of the runs of a kept code beside its candidates, and their number; of the baseline with its first."""
    runs = [run for run in folded.again(row.number, Purpose.REFERENCE) if scale.comparable(run)]
    if row.attempt.baseline and scale.comparable(row):
        runs.insert(0, row)
    scores = [run.score.value for run in runs if run.score and not scale.metric.problem(run.score.value)]
    return (scale.metric.mean(scores), len(scores)) if scores and not scale.paired else (None, 0)


def columns(told: Sequence[Line], scale: Scale, categories: Mapping[int, str]) -> tuple[Rows, list[str], list[str]]:
    """The rows as columns, and the names of verdicts and of kinds of ideas that they count in."""
    verdicts, ideas = _Names(), _Names()
    start = told[0].row.attempt.started_at if told else ""
    return (
        Rows(
            number=[one.row.number for one in told],
            kind=[_KINDS.index(one.kind) for one in told],
            standing=[_STANDINGS.index(one.standing) for one in told],
            verdict=[verdicts.place(one.row.label) for one in told],
            value=[one.row.value for one in told],
            first=[one.row.score.value if one.row.score else None for one in told],
            change=[one.change for one in told],
            error=[one.error for one in told],
            value_error=[one.value_error for one in told],
            runs=[one.runs for one in told],
            confirmations=[one.confirmations for one in told],
            against=[one.row.judgement.incumbent if one.row.judgement else None for one in told],
            started=[round(seconds_between(start, one.row.attempt.started_at)) for one in told],
            seconds=[one.row.result.figures.total_seconds if one.row.result else None for one in told],
            category=[ideas.place(categories.get(one.row.number, "")) for one in told],
            description=[one.row.described[:_DESCRIPTION] for one in told],
            comparable=[int(scale.comparable(one.row)) for one in told],
            again=[one.again for one in told],
        ),
        list(verdicts),
        list(ideas),
    )


class _Names(dict[str, int]):
    """Names, each with its place in the order in which they came."""

    def place(self, name: str) -> int:
        return self.setdefault(name, len(self))


def seconds_between(start: str, end: str) -> float:
    """Seconds from one ISO time to another; 0 where the clock was set back, or one cannot be read."""
    from_, to = _seconds(start), _seconds(end)
    return 0.0 if from_ is None or to is None else max(to - from_, 0.0)


def _seconds(told: str) -> float | None:
    try:
        return datetime.fromisoformat(told).timestamp()
    except (ValueError, OverflowError):
        return None


def agents_of(experiments: Sequence[Experiment], told: Sequence[Line], scale: Scale) -> list[AgentView]:
    """Who has found what, whoever found most first; nothing where one agent alone has worked."""
    groups: dict[str, list[Line]] = defaultdict(list)
    for one in told:
        if not one.row.attempt.baseline and one.kind not in (Kind.REFUSED, Kind.RUNNING):
            groups[one.row.attempt.agent or ""].append(one)
    if len(groups) < 2:
        return []
    seconds: dict[str, float] = defaultdict(float)
    for row in experiments:
        seconds[row.attempt.agent or ""] += (row.result.figures.total_seconds if row.result else None) or 0.0
    found = [_agent_of(name, group, scale, seconds[name]) for name, group in groups.items()]
    return sorted(found, key=lambda one: (-one.kept, one.name))


def _agent_of(name: str, tried: Sequence[Line], scale: Scale, seconds: float) -> AgentView:
    kept = [one for one in tried if one.kind is Kind.KEPT]
    like = (one for one in kept if one.change is not None and scale.comparable(one.row))
    best = max(like, key=lambda one: scale.gain(one.change), default=None)
    return AgentView(
        name=name,
        experiments=len(tried),
        kept=len(kept),
        sure=sum(one.standing is Standing.SURE for one in kept),
        best=best.row.number if best else None,
        change=best.change if best else None,
        error=best.error if best else None,
        seconds=round(seconds, 1),
    )


def category_gains(told: Sequence[Line], scale: Scale, categories: Mapping[int, str]) -> list[CategoryGain]:
    """What each kind of idea has brought, the most tried first; of the measurement of today."""
    groups: dict[str, list[Line]] = defaultdict(list)
    for one in told:
        idea = categories.get(one.row.number)
        if idea and scale.comparable(one.row) and one.kind not in (Kind.REFUSED, Kind.RUNNING):
            groups[idea].append(one)
    return [_gain_of(name, groups[name]) for name in sorted(groups, key=lambda name: (-len(groups[name]), name))]


def _gain_of(name: str, tried: Sequence[Line]) -> CategoryGain:
    kept = [one for one in tried if one.kind is Kind.KEPT]
    errors = [one.error for one in kept if one.error is not None]
    return CategoryGain(
        category=name,
        tried=len(tried),
        kept=len(kept),
        sure=sum(one.standing is Standing.SURE for one in kept),
        change=math.fsum(one.change for one in kept if one.change is not None),
        error=math.sqrt(math.fsum(error**2 for error in errors)) if errors else None,
    )
