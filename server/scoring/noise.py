"""How much a score moves by itself, from runs of the same train.py with other seeds. Pure."""

import math
import statistics
from collections.abc import Iterable, Sequence
from itertools import pairwise

from server.records import Value

# Published for five-minute runs: 0.0001 to 0.004 at one bit per byte (RLTL;DR retrospective, parameter-golf's
# three-seed spreads). The prior keeps sigma finite while nothing was repeated; two repeats outweigh it.
PRIOR_SHARE = 0.001  # of the level of the scores
PRIOR_WEIGHT = 0.25  # degrees of freedom
_CLIP = 3.0  # robust standard deviations a single deviation counts for at most
_ENOUGH = 6  # deviations before any is clipped
_STEPS = 3  # between runs, before a drift can be told
_STEP_OF_SIGMA = 0.954  # median of |x - y| for two draws of a normal distribution with sigma one
_DRIFT = 5.0  # standard errors between two stretches of runs


class Noise(Value):
    """The standard deviation of one run's score, on the metric's scale."""

    sigma: float  # 0 of a metric that every repeated run has given exactly alike
    repeats: int  # degrees of freedom behind it; 0: assumed, not measured


def estimate_noise(groups: Iterable[Sequence[float]], level: float, share: float = PRIOR_SHARE) -> Noise:
    """Pool the spread within groups of repeated runs.

    Each group is one train.py. Deviations from the group's mean are clipped at three robust standard deviations (1.4826
    times their median), so that one throttled run does not make a night blind, and shrunk towards a prior.

    Args:
        groups: scores, where they lie on the metric's scale. level: what a share of them is one of, for the prior.
        share: the prior, as a share of the level.
    """
    deviations: list[float] = []
    freedom = 0
    for group in groups:
        if len(group) > 1:
            mean, correction = math.fsum(group) / len(group), math.sqrt(len(group) / (len(group) - 1))
            deviations += [abs(score - mean) * correction for score in group]
            freedom += len(group) - 1
    deviations = clipped(deviations)
    mean_square = math.fsum(deviation**2 for deviation in sorted(deviations)) / max(len(deviations), 1)
    prior = PRIOR_WEIGHT * (share * level) ** 2
    return Noise(sigma=math.sqrt((prior + freedom * mean_square) / (PRIOR_WEIGHT + freedom)), repeats=freedom)


def clipped(deviations: list[float]) -> list[float]:
    """Deviations, none above three robust standard deviations; as they are where there are few."""
    if len(deviations) >= _ENOUGH and (middle := statistics.median(deviations)) > 0:
        return [min(deviation, _CLIP * 1.4826 * middle) for deviation in deviations]
    return deviations


def all_alike(groups: Iterable[Sequence[float]]) -> bool:
    """Whether every repeated run gave exactly what the others of its group did, and there is one at least."""
    repeated = [group for group in groups if len(group) > 1]
    return bool(repeated) and all(score == group[0] for group in repeated for score in group)


def since_drift(scores: Sequence[float]) -> list[float]:
    """Scores of one train.py, oldest first, from where the machine last drifted: cut where the means differ most.

    A machine that throttles or shares its caches is another machine: what it measured before would make every later
    candidate worse, or better, than it is. The scale is the median step from one run to the next, which a drift does
    not widen; of four scores without drift one list in 25 is cut, of more one in 50 or fewer (simulated).
    """
    steps = [abs(after - before) for before, after in pairwise(scores)]
    if len(steps) < _STEPS or (sigma := statistics.median(steps) / _STEP_OF_SIGMA) <= 0:
        return list(scores)

    def jump(cut: int) -> float:
        means = [math.fsum(part) / len(part) for part in (scores[:cut], scores[cut:])]
        return abs(means[0] - means[1]) / (sigma * math.sqrt(1 / cut + 1 / (len(scores) - cut)))

    cut = max(range(1, len(scores)), key=jump)
    return since_drift(scores[cut:]) if jump(cut) > _DRIFT else list(scores)
