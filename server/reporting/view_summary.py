"""The summary of a study, from its ledger and from what its surroundings are. It reads the ledger and nothing else."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from server.history import comparisons, segments
from server.history.ledger import Ledger
from server.history.lessons import lessons
from server.history.paired_runs import is_paired, standing
from server.metric import Metric
from server.records import MAIN, Experiment, Point, Progress, Purpose
from server.reporting.view_model import (
    Bill,
    Counts,
    Headline,
    Health,
    Hidden,
    Kind,
    Knob,
    KnobPoint,
    Lane,
    LaneState,
    LessonsView,
    Limit,
    Measured,
    NearMiss,
    NoiseView,
    NoteView,
    Now,
    Spent,
    Standing,
    StudyHead,
    Summary,
)
from server.reporting.view_rows import Folded, Line, Scale, agents_of, category_gains, columns, fold, kind_of, lines
from server.reporting.view_words import machine_facts, trust_facts
from server.starting.order import in_order

_FOUND = 2.0  # sigmas that the rule finds three times in four (benchmarks/keep_rules.py)
_KNOB_POINTS = 400  # last values of knobs that are shown
_SMOOTH = 8  # points of a loss curve whose mean is compared
_CURVE = 60  # points that are shown
_LIKE = 20  # last runs that tell how long one takes
_UNFINISHED = 200  # last rows, among which are those that run or wait
_END_SECONDS = 2.0  # from the end of an evaluation to the verdict


@dataclass(frozen=True)
class Surroundings:
    """What a summary tells that is in no ledger."""

    head: StudyHead
    health: Health
    now: Now | None = None
    lanes: list[Lane] = field(default_factory=list[Lane])
    notes: list[NoteView] = field(default_factory=list[NoteView])
    limits: list[Limit] = field(default_factory=list[Limit])
    hidden: Hidden | None = None
    agent: str = ""
    bill: Bill | None = None


def scale_of(ledger: Ledger, metric: Metric) -> Scale:
    """What the study's differences are measured by. `metric`: of the last run's measurement."""
    task, incumbent = segments.current_task(ledger), ledger.incumbent()
    like = segments.latest(ledger, incumbent, task) if incumbent else None
    if like is None or like.score is None or metric.problem(like.score.value):
        return Scale(metric, task, None)
    sigma = comparisons.measured_noise(ledger, like, metric).sigma
    return Scale(metric, task, sigma, is_paired(like, metric))


def empty_summary(around: Surroundings) -> Summary:
    """The summary of a study in which nothing was measured yet."""
    return Summary(study=around.head, notes=around.notes, health=around.health, agent=around.agent, bill=around.bill)


def summarize(ledger: Ledger, experiments: Sequence[Experiment], metric: Metric, around: Surroundings) -> Summary:
    """The summary of a study.

    Args:
        experiments: every row of the ledger, the oldest first. metric: of the last run's measurement.

    Raises:
        LedgerUnavailable.
    """
    scale, folded, categories = scale_of(ledger, metric), fold(experiments), ledger.category_of()
    told = lines(folded, scale)
    rows, verdicts, ideas = columns(told, scale, categories)
    noise, headline = noise_of(ledger, scale), headline_of(ledger, folded, scale)
    facts = trust_facts(scale, noise, headline, told, around.hidden)
    facts += machine_facts(around.health, scale.task is None) if told else []
    return Summary(
        study=around.head,
        headline=headline,
        noise=noise,
        counts=_counts(ledger, experiments, told),
        now=around.now,
        lanes=around.lanes,
        slots=slots_of(experiments),
        agents=agents_of(experiments, told, scale),
        verdicts=verdicts,
        categories=ideas,
        rows=rows,
        lessons=_lessons(ledger, told, scale, categories),
        notes=around.notes,
        limits=around.limits,
        health=around.health.model_copy(update={"facts": facts}),
        hidden=around.hidden,
        agent=around.agent,
        spent=_spent(experiments),
        bill=around.bill,
    )


def noise_of(ledger: Ledger, scale: Scale) -> NoiseView | None:
    """How much one run's score moves by itself; None where nothing was kept. Raises LedgerUnavailable."""
    incumbent = ledger.incumbent()
    like = segments.latest(ledger, incumbent, scale.task) if incumbent else None
    if like is None or scale.sigma is None:
        return None
    found = comparisons.measured_noise(ledger, like, scale.metric)
    return NoiseView(sigma=found.sigma, repeats=found.repeats, smallest=_FOUND * found.sigma)


def headline_of(ledger: Ledger, folded: Folded, scale: Scale) -> Headline | None:
    """Baseline and best of the last measurement; None before there is a best. Raises LedgerUnavailable."""
    incumbent = ledger.incumbent()
    kept = [row for row in folded.roots if kind_of(row) is Kind.KEPT]
    own = [row for row in kept if scale.comparable(row)]
    if incumbent is None or (best := _measured(ledger, folded, incumbent, scale)) is None:
        return None
    first = own[0] if own else incumbent
    baseline = _measured(ledger, folded, first, scale) or best
    singles = [(row.score.value, row) for row in own if row.score]
    single = max(singles, key=lambda one: scale.metric.sign * one[0], default=None)
    change = scale.between(best.value, baseline.value) or 0.0
    error = _total_error(folded, own, scale) if scale.paired else _hypot(best.error, baseline.error)
    if first.number == incumbent.number:
        change, error = 0.0, best.error
    return Headline(
        baseline=baseline,
        best=best,
        single=_single(single, best),
        change=change,
        error=error,
        percent=100 * (best.value - baseline.value) / abs(baseline.value) if baseline.value else None,
        provisional=best.runs == 0,
        better=error is not None and scale.gain(change) > 2 * error,
    )


def _single(found: tuple[float, Experiment] | None, best: Measured) -> Measured:
    if found is None:
        return best
    value, row = found
    return Measured(number=row.number, value=value, error=None, runs=1, description=row.attempt.description)


def _measured(ledger: Ledger, folded: Folded, row: Experiment, scale: Scale) -> Measured | None:
    """A kept experiment by the runs that did not select it, as `status` tells the incumbent."""
    like = segments.latest(ledger, row, scale.task)
    if like is None or like.score is None:
        return None
    if scale.paired:
        value, runs = standing(ledger, row, like)
    else:
        known = comparisons.reference(ledger, row, like, scale.metric)
        value, runs = known.value, len(known.scores)
    if value is None:
        return None
    confirmed = len(folded.again(row.number, Purpose.CONFIRM))
    return Measured(
        number=row.number,
        value=value,
        error=scale.error(runs or confirmed),
        runs=runs,
        confirmations=confirmed,
        description=row.attempt.description,
        commit=row.commit,
    )


def _total_error(folded: Folded, kept: Sequence[Experiment], scale: Scale) -> float | None:
    """Of a chain of changes that were each measured beside the one before."""
    errors = [one.error for one in lines(Folded(list(kept), folded.repeats), scale) if one.error is not None]
    return sum(error**2 for error in errors) ** 0.5 if errors else None


def _hypot(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else (one**2 + other**2) ** 0.5


def _counts(ledger: Ledger, experiments: Sequence[Experiment], told: Sequence[Line]) -> Counts:
    kinds, standings = Counter(one.kind for one in told), Counter(one.standing for one in told)
    return Counts(
        experiments=len(told) - kinds[Kind.REFUSED] - kinds[Kind.RUNNING],
        runs=len(experiments),
        kept=kinds[Kind.KEPT] - standings[Standing.BASELINE],
        sure=standings[Standing.SURE],
        noise=standings[Standing.NOISE],
        provisional=standings[Standing.PROVISIONAL],
        discarded=kinds[Kind.DISCARDED],
        failed=kinds[Kind.FAILED],
        open=kinds[Kind.OPEN],
        refused=kinds[Kind.REFUSED],
        revoked=kinds[Kind.REVOKED],
        since_keep=comparisons.experiments_since_keep(ledger, ledger.incumbent()),
    )


def _spent(experiments: Sequence[Experiment]) -> Spent:
    spent: dict[str, float] = defaultdict(float)
    for row in experiments:
        seconds = (row.result.figures.total_seconds if row.result else None) or 0.0
        name = "repeats" if row.attempt.of is not None else "failed" if row.value is None else "discarded"
        spent["kept" if name == "discarded" and row.kept else name] += seconds
    parts = {name: round(spent[name], 1) for name in ("kept", "discarded", "repeats", "failed")}
    return Spent(seconds=round(sum(spent.values()), 1), **parts)


def _lessons(ledger: Ledger, told: Sequence[Line], scale: Scale, categories: Mapping[int, str]) -> LessonsView:
    if not told:
        return LessonsView()
    by_number, found = {one.row.number: one for one in told}, lessons(ledger, scale.metric)
    near = [_near(by_number[miss.experiment], scale) for miss in found.near_misses if miss.experiment in by_number]
    return LessonsView(
        gains=category_gains(told, scale, categories),
        near=near,
        pairs=found.combinations,
        knobs=_knobs(ledger, by_number, scale),
    )


def _near(one: Line, scale: Scale) -> NearMiss:
    sigmas = abs(one.change) / scale.sigma if one.change is not None and scale.sigma else None
    return NearMiss(number=one.row.number, description=one.row.attempt.description, change=one.change, sigmas=sigmas)


def _knobs(ledger: Ledger, by_number: Mapping[int, Line], scale: Scale) -> list[Knob]:
    """Knobs that were turned more than once, the most often turned first."""
    points: dict[str, list[KnobPoint]] = defaultdict(list)
    for number, knob, value in ledger.values(_KNOB_POINTS):
        if (one := by_number.get(number)) and scale.comparable(one.row):
            before, _, after = value.partition(" → ")
            kind = list(Kind).index(one.kind)
            point = KnobPoint(number=number, before=before, after=after, change=one.change, kind=kind)
            points[knob].insert(0, point)
    names = sorted(points, key=lambda name: -len(points[name]))
    return [Knob(name=name, points=points[name]) for name in names if len(points[name]) > 1]


def now_view(
    row: Experiment, progress: Progress, past: Sequence[Experiment], curves: tuple[Sequence[Point], Sequence[Point]]
) -> Now:
    """The run under way.

    Args:
        past: the last runs of the study, which tell how long one takes. curves: of this run and of the incumbent's.
    """
    attempt, (own, other) = row.attempt, curves
    eta, share = _remaining(row, progress, past)
    gap = gap_curve(own, other)
    return Now(
        number=row.number,
        of=attempt.of,
        purpose=attempt.purpose.value,
        description=attempt.description,
        hypothesis=attempt.hypothesis,
        stage=progress.stage,
        node=progress.node_name or "",
        elapsed=progress.elapsed_seconds,
        limit=progress.limit_seconds,
        budget=attempt.budget_seconds,
        share=share,
        eta=eta,
        steps=progress.steps,
        loss=progress.loss,
        curve=thinned(own),
        against=thinned(other),
        gap=gap[-1][1] if gap else None,
    )


def slots_of(rows: Sequence[Experiment]) -> int:
    """How many runs could be under way at once when the last one was started."""
    return next((row.attempt.concurrency or 1 for row in reversed(rows) if not row.queued), 1)


def lanes_of(rows: Sequence[Experiment], at_work: Sequence[Now], opened: Collection[str]) -> list[Lane]:
    """The lanes of a study, main first; none where there is one lane and one slot.

    Args:
        rows: every row, the oldest first. at_work: the runs under way. opened: lanes beside main that have a worktree.
    """
    nows, found = {now.number: now for now in at_work}, list[Lane]()
    recent = rows[-_UNFINISHED:]
    queue = in_order([row for row in recent if row.queued], [row for row in recent if not row.queued])
    for row in recent:
        if row.number in nows or row.queued:
            found.append(_lane(row, nows.get(row.number), queue))
    names = {MAIN, *opened} - {lane.name for lane in found}
    if len(found) + len(names) < 2 and slots_of(rows) == 1:
        return []
    for row in reversed(rows):
        if not names:
            break
        if (name := row.attempt.lane or MAIN) in names and row.attempt.of is None:
            names.remove(name)
            found.append(_lane(row, None, queue))
    found += [Lane(name=name, state=LaneState.IDLE, now=None) for name in names]
    return sorted(found, key=lambda lane: (lane.name != MAIN, lane.name, lane.number or 0))


def _lane(row: Experiment, now: Now | None, queue: Sequence[Experiment]) -> Lane:
    waits = row.value is not None and not row.decision and not row.revocation
    state = LaneState.OPEN if waits else LaneState.IDLE
    return Lane(
        name=row.attempt.lane or MAIN,
        agent=row.attempt.agent or "",
        state=LaneState.QUEUED if row.queued else LaneState.RUNNING if now else state,
        number=row.number,
        place=queue.index(row) + 1 if row.queued else None,
        slot=row.attempt.slot or "",
        description=row.attempt.description,
        now=now,
    )


def _remaining(row: Experiment, progress: Progress, past: Sequence[Experiment]) -> tuple[float | None, float | None]:
    """Seconds until the verdict, and the share that is done; None where nothing tells it."""
    like = [run.result.figures for run in past if run.result and run.score and run.attempt.task == row.attempt.task]
    like, budget, passed = like[-_LIKE:], row.attempt.budget_seconds, progress.elapsed_seconds
    if row.attempt.task is not None:  # stages have limits, not lengths: earlier runs tell
        whole = [figures.total_seconds for figures in like if figures.total_seconds]
        if not whole:
            return None, None
        usual = statistics.median(whole)
        return round(max(usual - passed, 0.0), 1), min(passed / usual, 1.0)
    scoring = [figures.evaluation_seconds for figures in like if figures.evaluation_seconds]
    after = (statistics.median(scoring) if scoring else 0.0) + _END_SECONDS
    if progress.stage == "training":
        return round(max(budget - passed, 0.0) / (progress.pace or 1.0) + after, 1), min(passed / budget, 1.0)
    if progress.stage == "evaluation":
        return round(max(after - passed, 0.0), 1), 1.0
    return round(budget + after, 1), 0.0


def thinned(curve: Sequence[Point], points: int = _CURVE) -> list[tuple[float, float]]:
    """(seconds, loss), evenly thinned; the last point stays."""
    step = -(-len(curve) // points) or 1
    kept = list(curve[::step])
    if curve and kept[-1] is not curve[-1]:
        kept.append(curve[-1])
    return [(round(point.seconds, 2), point.loss) for point in kept]


def gap_curve(own: Sequence[Point], other: Sequence[Point]) -> list[tuple[float, float]]:
    """(seconds, loss minus the other curve's at the same time), both as means of the last eight points."""
    if not own or not other:
        return []
    one, two, place = _smoothed(own), _smoothed(other), 0
    found: list[tuple[float, float]] = []
    for seconds, loss in one:
        while place + 1 < len(two) and two[place + 1][0] <= seconds:
            place += 1
        if two[0][0] <= seconds <= two[-1][0] * 1.05:
            found.append((round(seconds, 2), round(loss - two[place][1], 6)))
    step = -(-len(found) // _CURVE) or 1
    return found[::step] + ([found[-1]] if found and (len(found) - 1) % step else [])


def _smoothed(curve: Sequence[Point]) -> list[tuple[float, float]]:
    """Means over what came before alone: the end of a curve that still grows is not pulled by anything later."""
    losses = [point.loss for point in curve]
    parts = [losses[max(0, at - _SMOOTH + 1) : at + 1] for at in range(len(losses))]
    return [(point.seconds, sum(part) / len(part)) for point, part in zip(curve, parts, strict=True)]
