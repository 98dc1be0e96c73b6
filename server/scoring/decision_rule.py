"""Scores and noise in, verdict out: for a metric of either direction, by gains alone. Pure.

The rule of `keep_rule: confirmed`, for a candidate's first score x, its confirmations c, and the runs r of the
incumbent that did not select it; means c̄ and r̄, and z = gain(c̄, r̄) / (σ √(1/n_c + 1/n_r)):

    gain(x, r̄) < 0.9 σ                   not promising: within noise, or worse
    then, at each further run:  z ≥ 2.2   improved
                                z < 0.5   within noise: the first score was luck
    n_c = 3 and n_r = 3:        z ≥ 1.2   improved, else within noise

x itself never counts for the candidate: it was selected. No gain below program.md's `least_effect` counts. Where all
repeated runs were exactly alike, σ is 0, and a gain of any size needs one confirmation. A hundred looks a night are
paid for by the confirmations: benchmarks/keep_rules.py prints what this costs and buys beside upstream's rule.
(Group-sequential testing: Pocock 1977; the thresholds were chosen by that simulation.)
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
    least: float = 0.0  # a share: no smaller gain counts
    elsewhere: str = "on another machine or budget"  # where it was measured, if it cannot be compared

    @property
    def value(self) -> float | None:
        return self.metric.mean(self.scores) if self.scores else self.provisional


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
    told = (
        f"{metric.word(first)} against {metric.shown(incumbent)} of experiment {number} "
        f"({metric.shown_change(first, incumbent)})"
    )
    if metric.gain(first, incumbent) > 0:
        return Assessment(
            verdict=Verdict.IMPROVED, why=f"{metric.direction.capitalize()}: {told}.", delta=delta, value=first
        )
    return Assessment(verdict=Verdict.WORSE, why=f"Not {metric.direction}: {told}.", delta=delta, value=first)


def disturbed(score: float, disturbance: str) -> Assessment:
    """No run so far that could be judged."""
    why = f"Not judged: {disturbance}. It runs again."
    return Assessment(verdict=Verdict.PROMISING, why=why, delta=0.0, value=score, next=Purpose.CONFIRM)


def outdated(score: float) -> Assessment:
    """The candidate's runs so far measured another task than program.md defines now."""
    why = "Not judged: program.md now defines a different measurement from that of this run. It runs again."
    return Assessment(verdict=Verdict.PROMISING, why=why, delta=0.0, value=score, next=Purpose.CONFIRM)


def unfinished(runs: Sequence[float], reference: Reference, wanted: int) -> Assessment:
    """Fewer runs so far than program.md wants before the first verdict."""
    metric, value = reference.metric, reference.metric.mean(runs)
    before = value if reference.value is None else reference.value
    delta, change = value - before, metric.shown_change(value, before)
    why = f"{len(runs)} of the {wanted} runs that program.md asks for: {metric.shown(value)} so far ({change})."
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
    if noise.sigma == 0:
        return _exactly(confirmed[-1] if confirmed else first, len(confirmed), reference, reference.value, simpler)
    if not confirmed:
        return _screen(first, reference, reference.value, noise, simpler)
    return _confirm(first, confirmed, reference, reference.value, noise)


def _confirm(first: float, confirmed: Sequence[float], reference: Reference, bar: float, noise: Noise) -> Assessment:
    metric, value = reference.metric, reference.metric.mean(confirmed)
    # A selected value is too good, so a closed incumbent that has no other is harder to beat, never easier.
    delta, runs = value - bar, (len(confirmed), len(reference.scores) or int(reference.closed))
    so_far = f"{metric.shown(value)} over {runs[0]} confirmation{'s' * (runs[0] > 1)} against {metric.shown(bar)}"
    if not runs[1]:
        why = f"{so_far}, which was selected by its score: the incumbent is measured again before the two are compared."
        return Assessment(verdict=Verdict.PROMISING, why=why, delta=delta, value=value, next=Purpose.REFERENCE)
    gain = metric.gain(value, bar)
    z = gain / (noise.sigma * math.sqrt(sum(1 / count for count in runs)))
    so_far += f" over {runs[1]} ({metric.shown_change(value, bar)}, {z:.1f} standard errors)"
    last = runs[0] >= RUNS and (reference.closed or runs[1] >= RUNS)
    sure, enough = z >= (AT_LAST if last else ENOUGH), gain >= metric.least_gain(reference.least, bar)
    if sure and enough:
        return Assessment(verdict=Verdict.IMPROVED, why=f"Confirmed: {so_far}.", delta=delta, value=value)
    if sure or z < GIVE_UP or last:
        luck = f" The first score, {metric.shown(first)}, was luck."
        why = f"Not confirmed: {so_far}.{too_small(reference.least) if sure else luck}"
        return Assessment(verdict=Verdict.WITHIN_NOISE, why=why, delta=delta, value=value)
    fewer = Purpose.CONFIRM if reference.closed or runs[0] <= runs[1] else Purpose.REFERENCE
    why = f"Not decided yet: {so_far}."
    return Assessment(verdict=Verdict.PROMISING, why=why, delta=delta, value=value, next=fewer)


def too_small(least: float) -> str:
    """A sentence, with a blank before it, for a gain that program.md does not ask for."""
    return f" That is less than program.md's least_effect of {100 * least:g} %."


def _exactly(score: float, confirmations: int, reference: Reference, bar: float, simpler: bool) -> Assessment:
    """The verdict where repeated runs are exactly alike: then a selected score is as good as any other."""
    metric, delta, gain = reference.metric, score - bar, reference.metric.gain(score, bar)
    told = (
        f"{metric.word(score)} against {metric.shown(bar)} of experiment {reference.experiment} "
        f"({metric.shown_change(score, bar)}), and repeated runs are exactly alike"
    )

    def found(verdict: Verdict, why: str, further: Purpose | None = None) -> Assessment:
        return Assessment(verdict=verdict, why=why, delta=delta, value=score, next=further)

    if gain > 0 and gain >= metric.least_gain(reference.least, bar):
        if confirmations:
            return found(Verdict.IMPROVED, f"Confirmed: {told}, so any gain counts.")
        return found(Verdict.PROMISING, f"{metric.direction.capitalize()}, once: {told}.", Purpose.CONFIRM)
    if simpler and gain >= 0:
        return found(Verdict.SIMPLER, f"Not worse, with less code: {told}.")
    if gain < 0:
        return found(Verdict.WORSE, f"Worse: {told}.")
    return found(Verdict.WITHIN_NOISE, f"No gain: {told}.{too_small(reference.least) if gain else ''}")


def _elsewhere(first: float, reference: Reference) -> Assessment:
    """There is no score of the incumbent's that may be compared."""
    told = f"Experiment {reference.experiment} was measured {reference.elsewhere}"
    if reference.closed:
        why = f"{told} and cannot run again: nothing can be compared with it."
        return Assessment(verdict=Verdict.WITHIN_NOISE, why=why, delta=0.0, value=first)
    return Assessment(
        verdict=Verdict.PROMISING,
        why=f"{told}: it runs again first.",
        delta=0.0,
        value=first,
        next=Purpose.REFERENCE,
    )


def _screen(first: float, reference: Reference, value: float, noise: Noise, simpler: bool) -> Assessment:
    metric, delta, gain = reference.metric, first - value, reference.metric.gain(first, value)
    runs = len(reference.scores)
    mean_of = f", the mean of {runs} runs" if runs > 1 else ""
    told = (
        f"{metric.word(first)} against {metric.shown(value)}{mean_of} of experiment {reference.experiment} "
        f"({metric.shown_change(first, value)}, {abs(gain) / noise.sigma:.1f}σ of {metric.shown_error(noise.sigma)})"
    )
    clear = gain > SCREEN * noise.sigma
    if clear and gain >= metric.least_gain(reference.least, value):
        why = f"{metric.direction.capitalize()}, once: {told}."
        return Assessment(verdict=Verdict.PROMISING, why=why, delta=delta, value=first, next=Purpose.CONFIRM)
    if simpler and gain >= 0:
        return Assessment(verdict=Verdict.SIMPLER, why=f"Not worse, with less code: {told}.", delta=delta, value=first)
    error = noise.sigma * math.sqrt(1 + 1 / max(len(reference.scores), 1))
    if gain < -_WORSE * error:
        return Assessment(verdict=Verdict.WORSE, why=f"Worse: {told}.", delta=delta, value=first)
    why = f"Within the noise: {told}.{too_small(reference.least) if clear else ''}"
    return Assessment(verdict=Verdict.WITHIN_NOISE, why=why, delta=delta, value=first)
