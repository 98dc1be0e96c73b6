"""How much a number moves by itself, how often it should be measured, and what a night can see then. Pure.

From the scores y of n runs of the same commit, one after the other, on the metric's scale:

    σ   the scatter of one run: the pooled estimate of server.scoring.noise, without a prior
    s   its part from one run to the next: s² = mean((y[i+1] - y[i])²) / 2  (von Neumann 1941), at most σ
    d   what is left, which moves slowly: d² = σ² - s²

A run that repeats the command r times gives their median, whose error is √(d² + f s² / r), f = π/2 - (π/2 - 1) / r: the
variance of a median against that of a mean, 1 of one value and π/2 of many. Where runs measure candidate and incumbent
in turns, d is gone, and what is left between runs is measured by such runs of the commit against itself: an error e of
p pairs becomes √(τ² + e² p / q) with q pairs, τ as server.scoring.paired_rule learns it.

A study does not know these errors. It learns them, from a prior that takes BEGINNING degrees of freedom to outweigh: so
early in a night its verdicts go by another error E than the e by which its scores move.

A change is seen if it is kept with a probability of 0.8 when it is tried once: if it is better than BAR E, which the
rules for keeping ask for, by LUCK e. Both constants are from a simulation: benchmarks/seen_effects.py goes the whole
way, from these runs to a night.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from server.metric import Metric
from server.records import Value
from server.scoring.noise import PRIOR_WEIGHT, all_alike, clipped, estimate_noise
from server.scoring.paired_rule import PRIOR_SHARE, Pairs, between_runs

BAR = 1.0
LUCK = 1.2
RUNS_AN_IDEA = 1.6  # runs that a change takes on the average, with what confirms it
THINKING_SECONDS = 60.0  # of an agent, for each change
BEGINNING = 2.0  # degrees of freedom: of the three runs of a baseline
IDEAS = 60  # that a night should have room for, before it is measured more often
_LADDER = (1, 2, 3, 5, 8, 12, 20)  # times that a command is run
_PAIRS = (4, 8, 12, 20)
_MOST_SECONDS = 120.0  # of one measurement
_ENOUGH = 1.15  # times the least error: more repeats hardly help
_DRIFTS = 0.5  # times the step: with less drift no runs in turns are tried


class Scatter(Value):
    """How the scores of runs of one commit moved."""

    sigma: float  # on the metric's scale, of one run
    step: float  # the part of it from one run to the next
    runs: int
    level: float  # what a relative change is a share of, on the scale
    exact: bool  # all were alike

    @property
    def drift(self) -> float:
        return math.sqrt(max(self.sigma**2 - self.step**2, 0.0))


class Plan(Value):
    """How a run should measure."""

    repeats: int = 1
    paired: bool = False
    error: float | None = None  # that a study goes by early in a night, on the scale; None: not measured
    moves: float = 0.0  # what one run's score or gain moves by
    seconds: float = 0.0  # of one measurement
    level: float = 1.0


class Night(Value):
    """What a night of some hours can do."""

    hours: float
    ideas: int
    effect: float | None  # the smallest change that is seen, on the scale; None: not known


def scatter_of(scores: Sequence[float], metric: Metric) -> Scatter:
    """That of runs of the same commit, in the order in which they were made; at least two."""
    places = [metric.place(score) for score in scores]
    level = metric.level(scores[0])
    if all_alike([scores]):
        return Scatter(sigma=0.0, step=0.0, runs=len(scores), level=level, exact=True)
    sigma = estimate_noise([places], level, 0.0).sigma
    steps = clipped([abs(after - before) / math.sqrt(2) for before, after in pairwise(places)])
    step = math.sqrt(math.fsum(one**2 for one in steps) / len(steps))
    return Scatter(sigma=sigma, step=min(step, sigma), runs=len(scores), level=level, exact=False)


def error_alone(scatter: Scatter, repeats: int) -> float:
    """The error of a run that repeats the command so many times, on the scale."""
    factor = math.pi / 2 - (math.pi / 2 - 1) / repeats
    return math.sqrt(scatter.drift**2 + factor * scatter.step**2 / repeats)


def error_paired(selves: Sequence[Pairs], pairs: int, metric: Metric) -> tuple[float, float]:
    """The error of a gain from so many pairs, on the scale, by runs of the commit against itself.

    Returns:
        What a study goes by, and what such gains move by.
    """
    within = math.fsum(run.error**2 * run.pairs for run in selves) / len(selves) / pairs
    learned = between_runs(selves, [], metric.scatter * PRIOR_SHARE).sigma
    beyond = math.fsum(run.gain**2 - run.error**2 for run in selves) / len(selves)
    return math.sqrt(learned**2 + within), math.sqrt(max(beyond, 0.0) + within)


def judged_error(error: float, level: float, metric: Metric) -> float:
    """The error by which a study's first verdicts go, where runs measure alone: its prior counts as well."""
    prior = PRIOR_WEIGHT * (metric.scatter * level) ** 2
    return math.sqrt((prior + BEGINNING * error**2) / (PRIOR_WEIGHT + BEGINNING))


def alone(scatter: Scatter, metric: Metric, seconds: float, hours: float) -> Plan:
    """How often the command should be repeated, if a run takes candidates alone.

    Args:
        seconds: of one run of the command. hours: of the night.
    """
    possible = [count for count in _LADDER if count == 1 or count * seconds <= room(hours)]
    if scatter.exact:
        return Plan(error=0.0, seconds=seconds, level=scatter.level)
    moves = {n: error_alone(scatter, n) for n in possible}
    errors = {n: judged_error(moves[n], scatter.level, metric) for n in possible}
    seen = {n: _seen(errors[n], moves[n]) for n in possible}
    repeats = next(n for n in possible if seen[n] <= _ENOUGH * seen[possible[-1]])
    return Plan(
        repeats=repeats, error=errors[repeats], moves=moves[repeats], seconds=repeats * seconds, level=scatter.level
    )


def pairs_to_try(scatter: Scatter, plan: Plan, seconds: float, hours: float) -> int:
    """With how many pairs runs in turns are worth a try; 0: what moves the scores is not slow, or takes too long."""
    possible = [count for count in _PAIRS if 2 * count * seconds <= room(hours)]
    if plan.error is None or scatter.exact or not possible:
        return 0
    return possible[-1] if scatter.drift > _DRIFTS * scatter.step else 0


def in_turns(selves: Sequence[Pairs], other: Plan, metric: Metric, seconds: float, hours: float) -> Plan:
    """The plan in pairs, if that is better than `other`, which is returned else.

    Some runs in a minute show a part of what drifts in a night: so no more is asked of the pairs.
    """
    possible = [count for count in _PAIRS if 2 * count * seconds <= room(hours)]
    errors = {count: error_paired(selves, count, metric) for count in possible}
    count = next(n for n in possible if _seen(*errors[n]) <= _ENOUGH * _seen(*errors[possible[-1]]))
    error, moves = errors[count]
    if other.error is None or _seen(error, moves) >= _seen(other.error, other.moves):
        return other
    return Plan(repeats=count, paired=True, error=error, moves=moves, seconds=2 * count * seconds, level=other.level)


def room(hours: float) -> float:
    """Seconds that one measurement may take, so that the night has room for IDEAS."""
    return min(_MOST_SECONDS, max((hours * 3600 / IDEAS - THINKING_SECONDS) / RUNS_AN_IDEA, 1.0))


def night(plan: Plan, hours: float, other_seconds: float = 0.0) -> Night:
    """What a night can do with this plan. `other_seconds`: of build and checks, in each run."""
    each = RUNS_AN_IDEA * (plan.seconds + other_seconds) + THINKING_SECONDS
    effect = None if plan.error is None else _seen(plan.error, plan.moves)
    return Night(hours=hours, ideas=int(hours * 3600 / each), effect=effect)


def _seen(error: float, moves: float) -> float:
    """The smallest change that is seen."""
    return BAR * error + LUCK * moves


def effect_in_words(effect: float, metric: Metric, level: float) -> str:
    """A change as people read it: in per cent, and on a linear scale in the metric's unit as well."""
    if metric.scale == "log":
        return f"{_percent(1 - math.exp(-effect))} %"
    unit = f" {metric.unit}" if metric.unit else ""
    share = f" ({_percent(effect / level)} %)" if level else ""
    return f"{effect:.2g}{unit}{share}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g}"
