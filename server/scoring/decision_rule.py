"""Scores and noise in, verdict out: for a metric of either direction, by gains alone. Pure.

The rule of `keep_rule: confirmed`, for a candidate's first score x, its confirmations c, and the runs r of the
incumbent that did not select it; means c̄ and r̄, and z = gain(c̄, r̄) / (σ √(1/n_c + 1/n_r)):

    gain(x, r̄) < 0.9 σ                   not promising: within noise, or worse
    then, at each further run:  z ≥ 2.2   improved
                                z < 0.5   within noise: the first score was luck
    n_c = 3 and n_r = 3:        z ≥ 1.2   improved, else within noise

x itself never counts for the candidate: it was selected. A hundred looks a night are paid for by the confirmations:
benchmarks/keep_rules.py prints what this costs and buys beside upstream's rule. (Group-sequential testing: Pocock 1977;
the thresholds were chosen by that simulation.)
"""

import math
from collections.abc import Sequence

from server.metric import Metric
from server.records import Purpose, Value, Verdict
from server.scoring.noise import Noise

SCREEN = 0.9
GIVE_UP = 0.5
ENOUGH = 2.2
AT_LAST = 1.2
RUNS = 3  # of each side, at most
_WORSE = 2.0  # standard errors behind the incumbent


class Reference(Value):
    """What a candidate has to beat."""

    metric: Metric  # by which
    experiment: int
    scores: list[float]  # runs that did not select the incumbent
    provisional: float | None = None  # the mean of the runs that did, which is too good, until there are others
    closed: bool = False  # no more runs of it are made: one has failed its audit

    @property
    def value(self) -> float | None:
        return mean(self.scores) if self.scores else self.provisional


class Assessment(Value):
    """What the scores amount to so far."""

    verdict: Verdict
    why: str
    delta: float  # the candidate's value minus the incumbent's, whichever is better
    value: float  # the candidate's: the mean of its confirmations, its first score while there are none
    next: Purpose | None = None  # what has to be run before the verdict
    of: int | None = None  # the experiment that is run again for it; None: the candidate, or the incumbent


def mean(scores: Sequence[float]) -> float:
    """Whatever the order of the scores, the same mean to the last bit."""
    return math.fsum(scores) / len(scores)


def any_better(metric: Metric, first: float, incumbent: float, number: int) -> Assessment:
    """Upstream's rule: strictly better than the incumbent, experiment `number`, wins, once."""
    delta = first - incumbent
    told = f"{metric.word(first)} against {incumbent:.6f} of experiment {number} ({delta:+.6f})"
    if metric.gain(first, incumbent) > 0:
        return Assessment(
            verdict=Verdict.IMPROVED, why=f"{metric.direction.capitalize()}: {told}.", delta=delta, value=first
        )
    return Assessment(verdict=Verdict.WORSE, why=f"Not {metric.direction}: {told}.", delta=delta, value=first)


def disturbed(score: float, disturbance: str) -> Assessment:
    """No run so far that could be judged."""
    why = f"Not judged: {disturbance}. It is run again."
    return Assessment(verdict=Verdict.PROMISING, why=why, delta=0.0, value=score, next=Purpose.CONFIRM)


def unfinished(runs: Sequence[float], reference: Reference, wanted: int) -> Assessment:
    """Fewer runs so far than program.md wants before the first verdict."""
    value = mean(runs)
    delta = value - (value if reference.value is None else reference.value)
    why = f"{len(runs)} of the {wanted} runs that program.md asks for: {value:.6f} so far ({delta:+.6f})."
    return Assessment(verdict=Verdict.PROMISING, why=why, delta=delta, value=value, next=Purpose.CONFIRM)


def decide(
    first: float, confirmed: Sequence[float], reference: Reference, noise: Noise, simpler: bool = False
) -> Assessment:
    """The rule above.

    Args:
        first: the candidate's first score. confirmed: its later ones. simpler: whether it has less code.
    """
    if reference.value is None:
        return _elsewhere(first, reference)
    if not confirmed:
        return _screen(first, reference, reference.value, noise, simpler)
    value = mean(confirmed)
    # A selected value is too good, so a closed incumbent that has no other is harder to beat, never easier.
    delta, runs = value - reference.value, (len(confirmed), len(reference.scores) or int(reference.closed))
    so_far = f"{value:.6f} over {runs[0]} confirmation{'s' * (runs[0] > 1)} against {reference.value:.6f}"
    if not runs[1]:
        why = f"{so_far}, which was selected: the incumbent is measured again before the two are compared."
        return Assessment(verdict=Verdict.PROMISING, why=why, delta=delta, value=value, next=Purpose.REFERENCE)
    z = reference.metric.gain(value, reference.value) / (noise.sigma * math.sqrt(sum(1 / count for count in runs)))
    so_far += f" over {runs[1]} ({delta:+.6f}, {z:.1f} standard errors)"
    last = runs[0] >= RUNS and (reference.closed or runs[1] >= RUNS)
    if z >= (AT_LAST if last else ENOUGH):
        return Assessment(verdict=Verdict.IMPROVED, why=f"Confirmed: {so_far}.", delta=delta, value=value)
    if z < GIVE_UP or last:
        why = f"Not confirmed: {so_far}. The first score, {first:.6f}, was luck."
        return Assessment(verdict=Verdict.WITHIN_NOISE, why=why, delta=delta, value=value)
    fewer = Purpose.CONFIRM if reference.closed or runs[0] <= runs[1] else Purpose.REFERENCE
    why = f"Not decided yet: {so_far}."
    return Assessment(verdict=Verdict.PROMISING, why=why, delta=delta, value=value, next=fewer)


def _elsewhere(first: float, reference: Reference) -> Assessment:
    """There is no score of the incumbent's that may be compared."""
    told = f"Experiment {reference.experiment} was measured on another machine or budget"
    if reference.closed:
        why = f"{told} and may not be run again: nothing can be compared with it."
        return Assessment(verdict=Verdict.WITHIN_NOISE, why=why, delta=0.0, value=first)
    return Assessment(
        verdict=Verdict.PROMISING,
        why=f"{told}: it is run again first.",
        delta=0.0,
        value=first,
        next=Purpose.REFERENCE,
    )


def _screen(first: float, reference: Reference, value: float, noise: Noise, simpler: bool) -> Assessment:
    metric, delta, gain = reference.metric, first - value, reference.metric.gain(first, value)
    told = (
        f"{metric.word(first)} against {value:.6f} of experiment {reference.experiment} "
        f"({delta:+.6f}, {abs(gain) / noise.sigma:.1f}σ of {noise.sigma:.6f})"
    )
    if gain > SCREEN * noise.sigma:
        why = f"{metric.direction.capitalize()}, once: {told}."
        return Assessment(verdict=Verdict.PROMISING, why=why, delta=delta, value=first, next=Purpose.CONFIRM)
    if simpler and gain >= 0:
        return Assessment(verdict=Verdict.SIMPLER, why=f"Not worse, with less code: {told}.", delta=delta, value=first)
    error = noise.sigma * math.sqrt(1 + 1 / max(len(reference.scores), 1))
    if gain < -_WORSE * error:
        return Assessment(verdict=Verdict.WORSE, why=f"Worse: {told}.", delta=delta, value=first)
    return Assessment(verdict=Verdict.WITHIN_NOISE, why=f"Within the noise: {told}.", delta=delta, value=first)
