"""Comparisons between runs: which scores may be compared, how much they scatter, and how figures differ."""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence

from server.errors import AlreadyMeasured
from server.history import audit_failures, paired_runs, revocations, segments
from server.history.ledger import Ledger
from server.history.segments import comparable, comparable_scores, segment, undisturbed
from server.metric import Metric, percent
from server.records import MAIN, Attempt, Experiment, Figures, Purpose, Value, Verdict
from server.scoring import decision_rule
from server.scoring.decision_rule import Assessment, Reference
from server.scoring.noise import Noise, all_alike, estimate_noise, since_drift
from server.scoring.trust import describe_trust
from server.task.definition import Task
from trainer.contract import MetricSource, Referee

_LOOK_BACK = 40  # runs whose curves tell what a good one looks like
_NO_EXPERIMENTS = {Verdict.REFUSED, Verdict.CONFIRMATION, Verdict.REFERENCE, "kept"}
_NO_TRIALS = _NO_EXPERIMENTS | {Verdict.ENV_FAIL, Verdict.LOST, Verdict.CANCELLED, "running", "queued"}  # untried
_MAY_BE_KEPT = {Verdict.IMPROVED, Verdict.SIMPLER}
_WINNING = {Verdict.PROMISING, *_MAY_BE_KEPT}
_UNLIKELY = 4.0  # standard errors; a keep by luck, which was selected for it, makes two or three
_UNLIKE = "The incumbent's runs since it was kept are worse than luck explains"
_ANY = Metric("score", "lower")  # its means are those of any linear metric
_SAME = "But for comments, layout, prints and seeds this is experiment"
_CHANGE_IT = "Change it further with apply_patch(patch), or call discard(reason)."
STALE_RUNS = 30  # after so many runs a machine may have changed


def built_on(ledger: Ledger, attempt: Attempt) -> Experiment | None:
    """The incumbent that a candidate was built on, which alone it is compared with; None before there is one.

    Another lane may have moved the incumbent since.
    """
    incumbent = ledger.incumbent()
    if incumbent is None or incumbent.commit == attempt.parent:
        return incumbent
    return next((row for row in ledger.kept() if row.commit == attempt.parent), incumbent)


def reference(ledger: Ledger, incumbent: Experiment, like: Experiment, metric: Metric) -> Reference:
    """The incumbent, by the runs that did not select it."""
    scores, provisional = _incumbent_scores(ledger, incumbent, like, metric)
    closed = incumbent.attempt.task is None and audit_failures.failure(ledger, incumbent) is not None
    known = Reference(metric=metric, experiment=incumbent.number, scores=scores, provisional=provisional, closed=closed)
    if incumbent.attempt.task != like.attempt.task:
        return known.model_copy(update={"elsewhere": "by another definition of the task"})
    if incumbent.attempt.beside_others != like.attempt.beside_others:
        other = "beside other runs" if incumbent.attempt.beside_others else "with no run beside it"
        return known.model_copy(update={"elsewhere": other})
    return known


def _incumbent_scores(
    ledger: Ledger, incumbent: Experiment, like: Experiment, metric: Metric
) -> tuple[list[float], float | None]:
    """The scores of the runs that did not select it, and that of those that did, if it may be compared."""
    fresh = [incumbent] if incumbent.attempt.baseline else []
    fresh += ledger.repeats(incumbent.number, Purpose.REFERENCE)
    provisional = incumbent.value if segment(incumbent) == segment(like) else None
    if provisional is not None and metric.problem(provisional):
        provisional = None
    return since_drift(comparable_scores(ledger, fresh, like, metric)), provisional


def good_runs(ledger: Ledger, attempt: Attempt) -> list[int]:
    """Numbers of the last runs like this one that were any good: not worse than their incumbent."""
    rows = [row for row in ledger.page(_LOOK_BACK, 0) if row.value is not None and row.verdict != Verdict.WORSE]
    return [row.number for row in rows if segments.circumstances(row.attempt) == segments.circumstances(attempt)]


def measured_noise(ledger: Ledger, like: Experiment, metric: Metric, without: int | None = None) -> Noise:
    """The spread of one run's score on the metric's scale, from the night's repeated runs.

    Args:
        without: an experiment whose own runs must not tell it.
    """
    if paired_runs.is_paired(like, metric):
        return paired_runs.run_noise(ledger, like, metric)
    groups: dict[tuple[int | None, Purpose], list[Experiment]] = defaultdict(list)
    false = {row.number for row in ledger.revoked()} | {without}  # a lie may scatter as it likes
    for run in reversed(ledger.recent_repeats()):
        if run.attempt.of not in false:
            groups[run.attempt.of, run.attempt.purpose].append(run)
    for (number, purpose), group in groups.items():
        # A candidate was selected by its first score, which may be too good: then σ comes out larger, not smaller.
        if purpose is Purpose.CONFIRM and number and (first := ledger.get(number)):
            group.insert(0, first)
    baseline = ledger.baseline()
    if baseline is not None:
        groups[baseline.number, Purpose.REFERENCE].insert(0, baseline)
    found = [comparable_scores(ledger, group, like, metric) for group in groups.values()]
    if like.attempt.task is not None and all_alike(every := _scores_of_codes(ledger, like, metric)):
        return Noise(sigma=0.0, repeats=sum(max(len(group) - 1, 0) for group in every))
    level = metric.level(like.score.value if like.score else 1.0)
    spread = ([metric.place(score) for score in since_drift(group)] for group in found)
    return estimate_noise(spread, level, _prior_share(like, metric))


def _scores_of_codes(ledger: Ledger, like: Experiment, metric: Metric) -> list[list[float]]:
    """All scores of each code that was run again. A first one is selected, but tells whether there is a spread."""
    groups: dict[int, list[Experiment]] = defaultdict(list)
    for run in ledger.recent_repeats():
        groups[run.attempt.of or 0].append(run)
    firsts = ((ledger.get(number), group) for number, group in groups.items())
    return [comparable_scores(ledger, [first, *group], like, metric) for first, group in firsts if first]


def _prior_share(run: Experiment, metric: Metric) -> float:
    """What to assume of the noise, as a share: by the spread within the run where it tells one."""
    score, told = run.score, run.score.details if run.score else {}
    within = told.get("spread", 0)
    if run.attempt.task is None or score is None or not score.value or within <= 0:
        return metric.scatter
    return math.hypot(within / abs(score.value), metric.scatter / 3)  # what moves between runs, it does not see


def count_experiments(ledger: Ledger) -> int:
    """How many ideas were measured, or tried to be; neither refused ones nor runs that help to judge another."""
    return sum(count for verdict, count in ledger.counts().items() if verdict not in _NO_EXPERIMENTS)


def experiments_since_keep(ledger: Ledger, incumbent: Experiment | None) -> int:
    """How many ideas had their trial since one was kept."""
    # A revocation is no time without a keep: the incumbent is an older one again.
    counts = ledger.counts(after=max(incumbent.number, revocations.last(ledger))) if incumbent else {}
    return sum(count for verdict, count in counts.items() if verdict not in _NO_TRIALS)


def assess_candidate(ledger: Ledger, candidate: Experiment, rule: Task, simpler: bool) -> Assessment:
    """What the candidate's scores amount to against the incumbent's. Both have one.

    Args:
        rule: program.md's. simpler: whether the candidate has less code than the incumbent.
    """
    found = _weigh(ledger, candidate, rule, simpler)
    told = [audit_failures.alarm(ledger), _new_referee(ledger, candidate)]
    if rule.kind is not Referee.SEALED:
        told.append(segments.begun(ledger, candidate, rule.paired))
    if rule.kind is not Referee.SEALED and found.verdict in _MAY_BE_KEPT:
        results = (run.result for run in _runs(ledger, candidate) if run.result and run.score)
        told.append(describe_trust(results, read=rule.source is not MetricSource.PRINTED))
    more = " ".join(filter(None, told))
    return found.model_copy(update={"why": f"{found.why} {more}"}) if more else found


def _runs(ledger: Ledger, candidate: Experiment) -> list[Experiment]:
    return [candidate, *ledger.repeats(candidate.number, Purpose.CONFIRM)]


def _new_referee(ledger: Ledger, candidate: Experiment) -> str:
    """Whether other code scores runs than at the incumbent's last run, in a sentence; empty if not."""
    incumbent = built_on(ledger, candidate.attempt)
    last = ledger.get(_freshest(ledger, incumbent)) if incumbent else None
    before, now = last.attempt.referee if last else "", candidate.attempt.referee
    if not last or not before or not now or before == now:
        return ""
    return f"The referee is new: the code of the trainer has changed since experiment {last.number} ({before} → {now})."


def _weigh(ledger: Ledger, candidate: Experiment, rule: Task, simpler: bool) -> Assessment:
    incumbent = built_on(ledger, candidate.attempt)
    assert incumbent and incumbent.score and candidate.score
    of_models = {rule.sha256, candidate.attempt.task, incumbent.attempt.task} == {None}
    if rule.keep_rule == "any" and of_models:
        return decision_rule.any_better(rule.measure, candidate.score.value, incumbent.score.value, incumbent.number)
    every = _runs(ledger, candidate)
    judged = [run for run in every if run.score is not None and undisturbed(ledger, run)]
    if not judged:
        return decision_rule.disturbed((every[-1].score or candidate.score).value, every[-1].disturbance)
    if judged[-1].attempt.task != rule.sha256:
        return decision_rule.outdated((judged[-1].score or candidate.score).value)
    if paired_runs.is_paired(judged[-1], rule.measure):
        beside = ledger.incumbent() or incumbent  # each run has measured the one of its time
        return paired_runs.assess(ledger, beside, judged, rule, simpler)
    return _unpaired(ledger, judged, rule, simpler)


def _unpaired(ledger: Ledger, judged: list[Experiment], rule: Task, simpler: bool) -> Assessment:
    """What the candidate's runs amount to against runs of the incumbent's own."""
    candidate, like, metric = judged[0], judged[-1], rule.measure
    incumbent = built_on(ledger, candidate.attempt)
    assert incumbent
    known = reference(ledger, incumbent, like, metric)
    known = known.model_copy(update={"least": rule.least_effect})
    spread = measured_noise(ledger, like, metric)
    runs = comparable_scores(ledger, judged, like, metric)
    if rule.keep_rule == "any" and known.value is not None:
        return decision_rule.any_better(metric, runs[0], known.value, incumbent.number)
    if len(runs) < rule.seeds:
        return decision_rule.unfinished(runs, known, rule.seeds)
    if len(runs) == rule.seeds:  # what is screened is their mean
        spread = Noise(sigma=spread.sigma / math.sqrt(len(runs)), repeats=spread.repeats)
    first, later = metric.mean(runs[: rule.seeds]), runs[rule.seeds :]
    found = _decided(ledger, like, known, lambda bar: decision_rule.decide(first, later, bar, spread, simpler))
    if rule.kind is not Referee.SEALED and not spread.repeats and _may_be_a_gain(found, known):
        why = f"{found.why} The noise is not known yet: the incumbent runs again first."
        again = {"verdict": Verdict.PROMISING, "next": Purpose.REFERENCE, "why": why}
        return found.model_copy(update=again)
    stale = not known.closed and candidate.number - _freshest(ledger, incumbent) > STALE_RUNS
    if found.next is Purpose.CONFIRM and stale:
        why = (
            f"{found.why} The incumbent was not measured in the last {STALE_RUNS} runs: it runs again next to this one."
        )
        return found.model_copy(update={"next": Purpose.REFERENCE, "why": why})
    return found


def _may_be_a_gain(found: Assessment, known: Reference) -> bool:
    """Whether noise alone, which was assumed, hides a gain."""
    if found.next is not None or found.verdict is not Verdict.WITHIN_NOISE or known.value is None or known.closed:
        return False
    gain = known.metric.gain(found.value, known.value)
    return gain > 0 and gain >= known.metric.least_gain(known.least, known.value)


def _decided(
    ledger: Ledger, like: Experiment, known: Reference, decide: Callable[[Reference], Assessment]
) -> Assessment:
    """What the rule says, unless a win would be owed to runs at which the incumbent did its worst.

    A text may do so beside a candidate that shall win: the time tells it what its run is for, if nothing else does. The
    baseline is the operator's and has no reason to, so that its runs tell whether the machine has changed.
    """
    found, incumbent, baseline = decide(known), ledger.get(known.experiment), ledger.baseline()
    assert incumbent and baseline
    if found.verdict not in _WINNING or not (gap := _gap(ledger, incumbent, known, like)):
        return found
    drifted = _drifted(ledger, baseline, gap, like)
    if drifted is None:
        told = f"{found.why} {_UNLIKE}: the baseline runs again, to see whether the machine has changed."
        again = {"verdict": Verdict.PROMISING, "next": Purpose.REFERENCE, "of": baseline.number, "why": told}
        return found.model_copy(update=again)
    if drifted:
        return found
    found = decide(known.model_copy(update={"scores": [], "closed": True}))
    return found.model_copy(
        update={"why": f"{found.why} {_UNLIKE}, but the baseline's are not: those runs do not count."}
    )


class _Gap(Value):
    """How much worse an incumbent's runs are since it was kept."""

    metric: Metric
    size: float  # on its scale
    since: int  # number of the first of them


def _gap(ledger: Ledger, incumbent: Experiment, known: Reference, like: Experiment) -> _Gap | None:
    """The gap between the runs that kept the incumbent and those since; None if luck explains it."""
    if incumbent.attempt.baseline or known.provisional is None or not known.scores:
        return None
    metric, confirmed = known.metric, ledger.repeats(incumbent.number, Purpose.CONFIRM)
    counts = max(len(comparable_scores(ledger, confirmed, like, metric)), 1), len(known.scores)
    size = metric.gain(known.provisional, metric.mean(known.scores))
    error = measured_noise(ledger, like, metric, incumbent.number).sigma * math.sqrt(sum(1 / count for count in counts))
    if size <= 0 or size < _UNLIKELY * error:
        return None
    since = comparable(ledger, ledger.repeats(incumbent.number, Purpose.REFERENCE), like)[-len(known.scores)].number
    return _Gap(metric=metric, size=size, since=since)


def _drifted(ledger: Ledger, baseline: Experiment, gap: _Gap, like: Experiment) -> bool | None:
    """Whether the baseline has become worse as well: then the machine has. None: it must be run to tell."""
    runs = comparable(ledger, [baseline, *ledger.repeats(baseline.number, Purpose.REFERENCE)], like)
    before = [run.score.value for run in runs if run.score and run.number < gap.since]
    after = [run.score.value for run in runs if run.score and run.number > gap.since]
    if not before or (not after and audit_failures.failure(ledger, baseline)):
        return False  # nothing can tell; the bar that is harder to pass is right in any case
    mean = gap.metric.mean
    return gap.metric.gain(mean(before), mean(after)) > gap.size / 2 if after else None


def _freshest(ledger: Ledger, incumbent: Experiment) -> int:
    """Number of the last run of the incumbent's train.py."""
    again = ledger.repeats(incumbent.number, Purpose.REFERENCE)
    return again[-1].number if again else incumbent.number


def figures_of(ledger: Ledger, incumbent: Experiment, rule: Task) -> Figures:
    """The incumbent's figures; where it lacks one that others are held against, those of a later run that has all."""
    own, held = incumbent.result.figures if incumbent.result else Figures(), _held_against(rule)
    runs = [own, *(run.result.figures for run in ledger.repeats(incumbent.number, Purpose.REFERENCE) if run.result)]
    return next((found for found in runs if all(found.number(name) is not None for name in held)), own)


def _held_against(rule: Task) -> list[str]:
    if rule.kind is Referee.SEALED:
        return []
    return [name for name, bound in rule.metrics.items() if bound.share is not None]


def describe_run(run: Experiment, rule: Task) -> str:
    """The score of one run, and how it was beside the incumbent where that was measured with it."""
    assert run.score
    metric = rule.measure
    if run.attempt.task != rule.sha256:
        return f"{run.score.name} {metric.shown(run.score.value)}"
    beside = "" if run.attempt.baseline else paired_runs.describe(run, metric)
    return f"{metric.word(run.score.value)}{f', {beside}' if beside else ''}"


def incumbent_value(ledger: Ledger, incumbent: Experiment, rule: Task | None = None) -> tuple[float | None, int]:
    """The incumbent's score as it counts, and how many runs it is the mean of; 0 when it is provisional.

    None where it was never measured by this task.

    Args:
        rule: program.md's; without it the task is that of the last run.
    """
    metric = rule.measure if rule else _ANY
    like = segments.latest(ledger, incumbent, rule.sha256 if rule else segments.current_task(ledger))
    if like is None or like.score is None:
        return None, 0
    if "pairs" in like.score.details:
        return paired_runs.standing(ledger, incumbent, like)
    scores, provisional = _incumbent_scores(ledger, incumbent, like, metric)
    return (metric.mean(scores) if scores else provisional), len(scores)


def require_alone(ledger: Ledger, fingerprint: str, lane: str) -> None:
    """Refuse code that another lane measures now. Raises AlreadyMeasured."""
    for row in ledger.unfinished():
        if row.attempt.of is None and row.attempt.fingerprint == fingerprint and (row.attempt.lane or MAIN) != lane:
            raise AlreadyMeasured(f"{_SAME} {row.number}, which is {row.verdict}.", _CHANGE_IT)


def require_new(ledger: Ledger, fingerprint: str, *asked: object) -> None:
    """Refuse code that was measured before, unless what it was built on was revoked since. Raises AlreadyMeasured.

    Args:
        asked: profile, dataset and budget of the attempt; for a task that is no language model's its hash, else None;
            whether others may run beside it. What is left out is None, and False.
    """
    same, asked = ledger.same_code(fingerprint), (*asked, *(None, False)[len(asked) - 3 :])
    if same and same.score and same.value is not None and segments.circumstances(same.attempt) == asked:
        shown = Metric(same.score.name, "lower", same.score.unit, places=6 if same.attempt.task is None else None)
        told = f"{_SAME} {same.number}, which was {same.verdict}: {shown.word(same.value)}."
        raise AlreadyMeasured(told, _CHANGE_IT)


_COMPARED = (
    "steps",
    "tokens",
    "tokens_per_second",
    "ms_per_step",
    "mfu",
    "loss",
    "parameters",
    "peak_memory_mb",
    "setup_seconds",
    "evaluation_seconds",
)
_ODD_SPEED = 0.2  # share by which the tokens a second of one train.py may differ from run to run
_BUSY = 1.5  # wall seconds a CPU second


class FigureComparison(Value):
    """How a run differs from the incumbent's own."""

    changes: dict[str, str]  # "+12.3 %"
    warnings: list[str]


def compare_figures(figures: Figures, incumbent: Figures | None, alike: Sequence[Figures]) -> FigureComparison:
    """Compare.

    Args:
        incumbent: None for the incumbent itself. alike: of earlier runs of the same train.py.
    """
    changes: dict[str, str] = {}
    for name in (*_COMPARED, *(figures.model_extra or {})):  # an evaluator's own figures, too
        now, before = getattr(figures, name), getattr(incumbent, name, None)
        if now is not None and before:
            changes[name] = percent(before, now, 1)
    return FigureComparison(changes=changes, warnings=_warnings(figures, alike))


def _warnings(figures: Figures, alike: Sequence[Figures]) -> list[str]:
    found: list[str] = []
    if (epochs := figures.epochs or 0.0) > 1:
        found.append(f"The training text was seen {epochs:.1f} times: tokens repeat.")
    if figures.disturbance:
        found.append(f"In this run {figures.disturbance}.")
    speeds = [other.tokens_per_second for other in alike if other.tokens_per_second]
    if figures.tokens_per_second and speeds:
        usual = statistics.median(speeds)
        if abs(figures.tokens_per_second / usual - 1) > _ODD_SPEED:
            told = f"{figures.tokens_per_second:,.0f} tokens/s, {usual:,.0f} in other runs of this train.py"
            found.append(f"{told}: the speed of the machine was different.")
    busy = (figures.training_wall_seconds or 0.0) / (figures.training_seconds or 1.0)
    if figures.device == "cpu" and busy > _BUSY:
        found.append(f"{busy:.1f} s passed for each CPU second: the machine was busy, or train.py waited.")
    return found
