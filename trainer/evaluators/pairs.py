"""How much a candidate differs from the incumbent, from measurements in pairs, and when there are enough of them. Pure.

Both sides answer the same case, one after the other, in the order ABBA: what the first of two gains cancels. Times on
a shared machine have heavy tails, so that their log-ratios are trimmed, within each order; scores of a judge are not,
because what is rare in them may be what matters. The standard error is widened by Student's t, so that a multiple of
it means for few pairs what it means for many.

Two processes of the same code differ in speed by 1 % or so for as long as they live, by where their memory lies. So
pairs come in blocks, each of new processes, and what differs between blocks is part of the standard error.

The stop adds no false gain: before the last pair only a difference of 4 standard errors ends the measurement as a
gain (Haybittle and Peto), and one of 3 as none. benchmarks/paired_stop.py simulates it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from statistics import variance as sample_variance

LEAST_PAIRS = 12
MOST_PAIRS = 240  # where program.md does not say how many
BLOCK = 16  # pairs of the same processes
_LOOK = 4  # pairs between two looks: whole ABBA blocks
_CLEAR = 4.0  # standard errors by which a gain is clear before the last pair
_HOPELESS = 3.0  # by which there is none
_USUAL = 2.2  # standard errors that a verdict asks for
_TRIMMED = 0.15  # of the pairs of one order, at either end
_TRIMMED_BLOCK = 0.3  # of a block's, which are few
_FLAT = 0.97  # of the fastest round before: who is not faster than that has warmed up
_ROUNDS = 3
# What two processes of the same code differ by, as a logarithm (measured: 0.012), and how many blocks that is worth.
_BETWEEN = 0.012
_BETWEEN_FREEDOM = 4.0
# Before so many blocks only a difference is clear that no two processes of the same code have.
_FEWEST_BLOCKS = 3
_LARGE = 0.1


@dataclass(frozen=True)
class Estimate:
    """A difference and its standard error: of natural logarithms, or of scores."""

    mean: float
    stderr: float
    pairs: int
    freedom: float  # degrees of it, of Student's t

    def clear_of(self, least: float) -> bool:
        """Whether more pairs would hardly change on which side of `least`, a gain, it is; a gain is negative."""
        beyond = -self.mean - least
        errors = _CLEAR if beyond > 0 else _HOPELESS
        return abs(beyond) >= errors * self.stderr * _widened(errors, self.freedom) / _widened(_USUAL, self.freedom)


class Pairs:
    """The differences between candidate and incumbent, a pair each: ln(candidate / incumbent), or their difference."""

    def __init__(self, trimmed: bool, gain: int = -1) -> None:
        """`trimmed`: the differences are of times. `gain`: 1 where higher is better."""
        self._share = _TRIMMED if trimmed else 0.0
        self._gain = gain
        self._blocks: list[tuple[list[float], list[float]]] = []
        self._blocked = False

    def __len__(self) -> int:
        return sum(len(differences) for block in self._blocks for differences in block)

    def next_block(self) -> None:
        """What follows is of new processes that live for many pairs; their times are compared by their logarithms."""
        self._blocks.append(([], []))
        self._blocked = True

    def add(self, difference: float, candidate_first: bool) -> None:
        """Take one pair. Without blocks each is of new processes, or measures no time."""
        if not self._blocks:
            self._blocks.append(([], []))
        self._blocks[-1][candidate_first].append(difference)

    def estimate(self) -> Estimate:
        """That of all pairs so far. Without two of each order its standard error is infinite."""
        orders = [[one for block in self._blocks for one in block[order]] for order in (False, True)]
        known = [*orders[0], *orders[1]]
        if min(map(len, orders)) < 2:
            return Estimate(fmean(known) if known else 0.0, math.inf, len(known), 1.0)
        parts = [_trimmed(one, self._share) for one in (orders if self._share else [known])]
        mean, count = fmean(part[0] for part in parts), len(parts)
        squares, freedoms = [(part[1] / count) ** 2 for part in parts], [part[2] for part in parts]
        if self._blocked:
            between, freedom = self._between()
            squares, freedoms = [*squares, between], [*freedoms, freedom]
        freedom = _satterthwaite(squares, freedoms)
        return Estimate(mean, math.sqrt(sum(squares)) * _widened(_USUAL, freedom), len(known), freedom)

    def _between(self) -> tuple[float, float]:
        """What the blocks add to the variance of the mean, and the degrees of freedom that it is known with."""
        means, chance = list[float](), list[float]()
        for block in self._blocks:
            if min(map(len, block)) > 1:
                parts = [_trimmed(differences, _TRIMMED_BLOCK) for differences in block]
                means.append(fmean(part[0] for part in parts))
                chance.append(sum(part[1] ** 2 for part in parts) / 4)
        freedom = max(0.0, len(means) - 1.0)
        variance = max(0.0, sample_variance(means) - fmean(chance)) if freedom else 0.0
        whole = _BETWEEN_FREEDOM + freedom
        return (_BETWEEN_FREEDOM * _BETWEEN**2 + freedom * variance) / whole / max(1, len(means)), whole

    def enough(self, least: float) -> bool:
        """Whether the measurement may stop here: the result is clear.

        Args:
            least: the smallest gain that counts, as a difference of the same kind.
        """
        if len(self) < LEAST_PAIRS or len(self) % _LOOK:
            return False
        found = self.estimate()
        if self._blocked and len(self._blocks) < _FEWEST_BLOCKS and abs(found.mean) < _LARGE:
            return False
        return Estimate(-self._gain * found.mean, found.stderr, found.pairs, found.freedom).clear_of(least)


def candidate_first(pair: int) -> bool:
    """The order of ABBA: of pairs 0, 1, 2, 3 ... the candidate is the first in 0, 3, 4, 7, ..."""
    return pair % 4 in (0, 3)


def is_flat(rounds: Sequence[float]) -> bool:
    """Whether the seconds of the same work, repeated, have stopped to fall: one side's warm-up is over."""
    return len(rounds) >= _ROUNDS and min(rounds[-2:]) >= _FLAT * min(rounds[:-2])


def middle(samples: Sequence[float]) -> tuple[float, float]:
    """The median and its standard error, by McKean and Schrader; of fewer than three samples that is their range."""
    ordered = sorted(samples)
    count = len(ordered)
    if count < 3:
        return median(ordered), ordered[-1] - ordered[0]
    rank = max(1, round((count + 1) / 2 - 2.576 * math.sqrt(count / 4)))
    return median(ordered), (ordered[count - rank] - ordered[rank - 1]) / (2 * 2.576)


def mean_of(samples: Sequence[float]) -> tuple[float, float]:
    """The mean and its standard error; 0 of a single sample."""
    return _trimmed(samples, 0.0)[:2] if len(samples) > 1 else (fmean(samples), 0.0)


def jackknife(leaving_out: Sequence[float]) -> float:
    """The standard error of a figure, from those that each leave out one of as many groups of equal size."""
    groups, centre = len(leaving_out), fmean(leaving_out)
    return math.sqrt((groups - 1) / groups * sum((one - centre) ** 2 for one in leaving_out))


def _trimmed(values: Sequence[float], share: float) -> tuple[float, float, float]:
    """The trimmed mean, its standard error from the winsorised variance (Tukey and McLaughlin), degrees of freedom."""
    ordered, count = sorted(values), len(values)
    cut = int(share * count)
    kept = ordered[cut : count - cut]
    winsorised = [kept[0]] * cut + kept + [kept[-1]] * cut
    centre = fmean(winsorised)
    variance = sum((value - centre) ** 2 for value in winsorised) / max(1, count - 1)
    size = len(kept)
    error = math.sqrt(max(1, count - 1) * variance / (size * max(1, size - 1)))
    return fmean(kept), error, max(1.0, size - 1.0)


def _satterthwaite(squares: Sequence[float], freedoms: Sequence[float]) -> float:
    below = sum(square**2 / freedom for square, freedom in zip(squares, freedoms, strict=True))
    return sum(squares) ** 2 / below if below else sum(freedoms)


def _widened(errors: float, freedom: float) -> float:
    """How many times farther out Student's t puts what the normal distribution puts at so many standard errors.

    By the expansion of Cornish and Fisher.
    """
    z, n = errors, max(3.0, freedom)
    first = (z**2 + 1) / (4 * n)
    second = (5 * z**4 + 16 * z**2 + 3) / (96 * n**2)
    third = (3 * z**6 + 19 * z**4 + 17 * z**2 - 15) / (384 * n**3)
    return 1 + first + second + third
