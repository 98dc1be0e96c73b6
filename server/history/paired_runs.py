"""Runs that measured candidate and incumbent in turns, as the ledger has them: what the paired rule is given."""

from collections import defaultdict
from collections.abc import Sequence

from server.history.ledger import Ledger
from server.history.segments import comparable
from server.metric import Metric
from server.records import Experiment, Purpose, Verdict
from server.scoring import paired_rule
from server.scoring.decision_rule import Assessment
from server.scoring.noise import Noise
from server.scoring.paired_rule import Beside, Pairs, pairs_of
from server.task.definition import Task


def is_paired(run: Experiment, metric: Metric) -> bool:
    """Whether a run has measured the incumbent beside its candidate."""
    return run.score is not None and pairs_of(run.score, metric) is not None


def pairs(runs: Sequence[Experiment], metric: Metric) -> list[Pairs]:
    """What the runs have measured in pairs, without those that have not."""
    return [found for run in runs if run.score and (found := pairs_of(run.score, metric))]


def spread(ledger: Ledger, like: Experiment, metric: Metric) -> Noise:
    """How much a gain moves from run to run, beyond the errors within the runs, from the study's repeated runs."""
    selves, groups = list[Experiment](), defaultdict[tuple[int, str], list[Experiment]](list)
    baseline = ledger.baseline()
    if baseline is not None:
        selves.append(baseline)
    for run in ledger.recent_repeats():
        of = ledger.get(run.attempt.of or 0)
        if of is not None and of.commit == run.attempt.parent:
            selves.append(run)
        elif of is not None:
            groups[of.number, run.attempt.parent].append(run)

    def told(runs: Sequence[Experiment]) -> list[Pairs]:
        return pairs(comparable(ledger, runs, like), metric)

    firsts = ((ledger.get(number), parent, group) for (number, parent), group in groups.items())
    codes = [told([of, *group]) for of, parent, group in firsts if of and of.attempt.parent == parent]
    prior = metric.scatter * paired_rule.PRIOR_SHARE * metric.level(_beside(like) or 1.0)
    return paired_rule.between_runs(told(selves), map(told, groups.values()), prior, codes)


def run_noise(ledger: Ledger, like: Experiment, metric: Metric) -> Noise:
    """The standard error of one run's gain, with what is between runs."""
    found, known = spread(ledger, like, metric), pairs([like], metric)
    error = known[0].error if known else 0.0
    return found.model_copy(update={"sigma": (found.sigma**2 + error**2) ** 0.5})


def assess(ledger: Ledger, incumbent: Experiment, runs: Sequence[Experiment], rule: Task, simpler: bool) -> Assessment:
    """What a candidate's runs amount to against the incumbent, which each of them has measured beside it.

    Args:
        runs: those that may be compared, at least one.
    """
    metric, number = rule.measure, incumbent.number
    like = runs[-1]
    own = [run for run in runs if run.attempt.parent == incumbent.commit]
    if not own or own[-1] is not like:
        why = f"It was not measured together with experiment {number}, the incumbent: it runs again."
        return _again(like, why)
    told = pairs(comparable(ledger, own, like), metric)
    beside = Beside(
        metric=metric,
        experiment=number,
        value=incumbent_value(incumbent, own),
        spread=spread(ledger, like, metric),
        least=rule.least_effect,
    )
    if rule.keep_rule == "any":
        return paired_rule.any_better_pairs(told[0], beside)
    if len(told) < rule.seeds:
        return paired_rule.unfinished_pairs(told, beside, rule.seeds)
    found = paired_rule.decide_pairs(told[: rule.seeds], told[rule.seeds :], beside, simpler)
    unknown = found.next is None and not beside.spread.repeats and len(told) == rule.seeds
    if unknown and told[0].gain > 0 and told[0].gain >= metric.least_gain(beside.least, beside.value):
        why = f"{found.why} The noise of that is not known yet: it runs again."
        return found.model_copy(update={"verdict": Verdict.PROMISING, "next": Purpose.CONFIRM, "why": why})
    return found


def incumbent_value(incumbent: Experiment, runs: Sequence[Experiment]) -> float:
    """The incumbent's score as it counts; by the runs beside it where it was kept under another task."""
    like = runs[-1]
    if incumbent.attempt.task == like.attempt.task and incumbent.value is not None:
        return incumbent.value
    return next((value for run in runs if (value := _beside(run)) is not None), like.score.value if like.score else 0.0)


def standing(ledger: Ledger, incumbent: Experiment, like: Experiment) -> tuple[float | None, int]:
    """The incumbent's score as it counts, and how many runs tell it.

    Its further runs are not beside another code and move with the machine: they tell the spread alone.
    """
    again = ledger.repeats(incumbent.number, Purpose.REFERENCE)
    if not incumbent.attempt.baseline:
        again += ledger.repeats(incumbent.number, Purpose.CONFIRM)
    runs = comparable(ledger, [incumbent, *again] if incumbent.attempt.baseline else again, like)
    same = incumbent.attempt.task == like.attempt.task
    return incumbent.value if same else like.score.value if like.score else None, len(runs)


def describe(run: Experiment, metric: Metric) -> str:
    """How a run's code was beside the incumbent in it; empty where that was not measured."""
    found, value = pairs([run], metric), _beside(run)
    if not found or value is None:
        return ""
    change = metric.shown_change(metric.better_by(found[0].gain, value), value)
    return f"{change} beside the incumbent (±{metric.shown_error(found[0].error)}, {found[0].pairs} pairs)"


def _beside(run: Experiment) -> float | None:
    """The incumbent's own score in a run."""
    return run.score.details.get("incumbent") if run.score else None


def _again(run: Experiment, why: str) -> Assessment:
    score = run.score.value if run.score else 0.0
    return Assessment(verdict=Verdict.PROMISING, why=why, delta=0.0, value=score, next=Purpose.CONFIRM)
