"""The rule for runs that measured candidate and incumbent in turns: gains with their errors in, a verdict out. Pure.

Such a run brings its own comparison: the mean of the paired differences on the metric's scale, and their standard error
e. The incumbent needs no run of its own, and a machine that drifts moves both sides. But a new process, with another
layout of its memory and other cases, moves the difference by more than e tells: 25 pairs of the same tokenizer had
e = 0.15 to 0.25 % and scattered by 0.8 % from run to run. So one run's error is √(e² + τ²), with τ learned from runs of
one code that were repeated, and from those of the incumbent against itself, whose true difference is 0.

For a candidate's first gain x, its n confirmations with the mean c̄, and z = c̄ / error(c̄):

    x < 0.9 errors              not promising: within noise, or worse
    then, at each confirmation: z < 0.5  within noise: the first gain was luck (at n = 1 only if x < 3 errors)
    n = 1:                      z ≥ 6    improved
    n = 2:                      z ≥ 2.9  improved
    n = 3:                      z ≥ 1.9  improved, else within noise

One run in twenty is an outlier. So a win needs two confirmations that are better than the incumbent, or one by far; and
one that contradicts a clear first gain is followed by another. No gain below program.md's `least_effect` counts. The
thresholds were chosen by a simulation: benchmarks/measured_rules.py prints what the rule costs and finds.
"""

import math
from collections.abc import Iterable, Sequence

from server.metric import Metric
from server.records import Purpose, Score, Value, Verdict
from server.scoring.decision_rule import RUNS, Assessment, too_small
from server.scoring.noise import Noise, clipped

SCREEN = 0.9
GIVE_UP = 0.5
CLEAR = 3.0  # errors of a first gain that one confirmation alone does not refute
BARS = {1: 6.0, 2: 2.9, RUNS: 1.9}  # by the number of confirmations
_WORSE = 2.0  # standard errors behind the incumbent
PRIOR_SHARE = 1 / 3  # of the scatter of an unpaired run: what is left of it between runs that are paired
PRIOR_WEIGHT = 2.0  # degrees of freedom


class Pairs(Value):
    """What one run says of its candidate beside the incumbent."""

    gain: float  # on the metric's scale, positive is better
    error: float  # standard error of it within the run
    pairs: int


class Beside(Value):
    """The incumbent that the candidate was measured beside."""

    metric: Metric
    experiment: int
    value: float  # its score, as it counts
    spread: Noise  # between runs, beyond their own errors
    least: float = 0.0  # a share: no smaller gain counts


def pairs_of(score: Score, metric: Metric) -> Pairs | None:
    """What a run has measured in pairs; None where it has not."""
    told = score.details
    difference = told.get("log_ratio" if metric.scale == "log" else "difference")
    error = told.get("stderr")
    if difference is None or error is None or error < 0:
        return None
    return Pairs(gain=metric.sign * difference, error=error, pairs=int(told.get("pairs", 0)))


def between_runs(
    selves: Sequence[Pairs],
    groups: Iterable[Sequence[Pairs]],
    prior: float,
    firsts: Iterable[Sequence[Pairs]] = (),
) -> Noise:
    """τ: how much the gain moves from run to run, beyond what the errors within the runs explain.

    Zero where all runs are exact: each without an error of its own, and each like the others of its code.

    Args:
        selves: the incumbent against itself. groups: of each other code, its repeated runs.
        prior: τ while nothing was repeated.
        firsts: of each code, its first run and the repeated ones. A first run is selected: it tells whether there is a
            spread, not how wide it is.
    """
    repeated, codes = ([group for group in some if len(group) > 1] for some in (groups, firsts))
    if _exact(selves, [*repeated, *codes]):
        return Noise(sigma=0.0, repeats=len(selves) + sum(len(group) - 1 for group in codes or repeated))
    deviations, within, freedom = [abs(run.gain) for run in selves], [run.error**2 for run in selves], len(selves)
    for group in repeated:
        mean, correction = _mean(group), len(group) / (len(group) - 1)
        deviations += [abs(run.gain - mean) * math.sqrt(correction) for run in group]
        within += [run.error**2 for run in group]
        freedom += len(group) - 1
    beyond = math.fsum(sorted(size**2 for size in clipped(deviations))) - math.fsum(sorted(within))
    measured = freedom * max(beyond, 0.0) / max(len(deviations), 1)
    return Noise(sigma=math.sqrt((PRIOR_WEIGHT * prior**2 + measured) / (PRIOR_WEIGHT + freedom)), repeats=freedom)


def _exact(selves: Sequence[Pairs], repeated: Sequence[Sequence[Pairs]]) -> bool:
    runs = [*selves, *(run for group in repeated for run in group)]
    unmoved = all(run.error == 0 for run in runs) and all(run.gain == 0 for run in selves)
    return bool(runs) and unmoved and all(run.gain == group[0].gain for group in repeated for run in group)


def decide_pairs(
    first: Sequence[Pairs], confirmed: Sequence[Pairs], beside: Beside, simpler: bool = False
) -> Assessment:
    """The rule above.

    Args:
        first: the candidate's first runs, of which there is one where program.md asks for no more.
        confirmed: its later ones. simpler: whether it has less code.
    """
    runs = confirmed or first
    gain, error = _mean(runs), _error(runs, beside.spread)
    if error == 0:
        return _exactly(gain, len(confirmed), beside, simpler)
    if not confirmed:
        return _screen(gain, error, beside, simpler)
    refuted = gain / error < GIVE_UP and (len(confirmed) > 1 or _mean(first) < CLEAR * _error(first, beside.spread))
    return _confirm(confirmed, gain / error, beside, refuted)


def any_better_pairs(run: Pairs, beside: Beside) -> Assessment:
    """Upstream's rule: strictly better than the incumbent, once, wins."""
    word = beside.metric.direction
    told = f"{_told(run.gain, beside)} experiment {beside.experiment}, which was measured beside it"
    if run.gain > 0:
        return _assessed(Verdict.IMPROVED, f"{word.capitalize()}: {told}.", run.gain, beside)
    return _assessed(Verdict.WORSE, f"Not {word}: {told}.", run.gain, beside)


def unfinished_pairs(runs: Sequence[Pairs], beside: Beside, wanted: int) -> Assessment:
    """Fewer runs so far than program.md wants before the first verdict."""
    gain = _mean(runs)
    why = f"{len(runs)} of the {wanted} runs that program.md asks for: {_told(gain, beside)} the incumbent so far."
    return _assessed(Verdict.PROMISING, why, gain, beside, Purpose.CONFIRM)


def _screen(gain: float, error: float, beside: Beside, simpler: bool) -> Assessment:
    z = gain / error
    told = (
        f"{_told(gain, beside)} experiment {beside.experiment} beside it "
        f"(±{beside.metric.shown_error(error)}, {z:+.1f} standard errors)"
    )
    if z > SCREEN and gain >= _least(beside):
        why = f"{beside.metric.direction.capitalize()}, once: {told}."
        return _assessed(Verdict.PROMISING, why, gain, beside, Purpose.CONFIRM)
    if simpler and gain >= 0:
        return _assessed(Verdict.SIMPLER, f"Not worse, with less code: {told}.", gain, beside)
    if z < -_WORSE:
        return _assessed(Verdict.WORSE, f"Worse: {told}.", gain, beside)
    small = too_small(beside.least) if z > SCREEN else ""
    return _assessed(Verdict.WITHIN_NOISE, f"Within the noise: {told}.{small}", gain, beside)


def _confirm(confirmed: Sequence[Pairs], z: float, beside: Beside, refuted: bool) -> Assessment:
    gain, error, count = _mean(confirmed), _error(confirmed, beside.spread), min(len(confirmed), RUNS)
    ahead = sum(run.gain > 0 for run in confirmed)
    sure = z >= BARS[count] and ahead >= min(count, 2)
    told = (
        f"{_told(gain, beside)} experiment {beside.experiment} beside it, over {count} confirmation{'s' * (count > 1)} "
        f"(±{beside.metric.shown_error(error)}, {z:+.1f} standard errors)"
    )
    if sure and gain >= _least(beside):
        return _assessed(Verdict.IMPROVED, f"Confirmed: {told}.", gain, beside)
    if sure or count == RUNS or refuted:
        small = too_small(beside.least) if sure else " The first gain was luck."
        return _assessed(Verdict.WITHIN_NOISE, f"Not confirmed: {told}.{small}", gain, beside)
    return _assessed(Verdict.PROMISING, f"Not decided yet: {told}.", gain, beside, Purpose.CONFIRM)


def _exactly(gain: float, count: int, beside: Beside, simpler: bool) -> Assessment:
    """The verdict where neither the run nor any repeated one has shown a spread."""
    told = f"{_told(gain, beside)} experiment {beside.experiment} beside it, and repeated runs are exactly alike"
    if gain > 0 and gain >= _least(beside):
        if count:
            return _assessed(Verdict.IMPROVED, f"Confirmed: {told}, so any gain counts.", gain, beside)
        word = beside.metric.direction.capitalize()
        return _assessed(Verdict.PROMISING, f"{word}, once: {told}.", gain, beside, Purpose.CONFIRM)
    if simpler and gain >= 0:
        return _assessed(Verdict.SIMPLER, f"Not worse, with less code: {told}.", gain, beside)
    if gain < 0:
        return _assessed(Verdict.WORSE, f"Worse: {told}.", gain, beside)
    small = too_small(beside.least) if gain > 0 else ""
    return _assessed(Verdict.WITHIN_NOISE, f"No gain: {told}.{small}", gain, beside)


def _assessed(verdict: Verdict, why: str, gain: float, beside: Beside, further: Purpose | None = None) -> Assessment:
    """The value that counts hangs on the incumbent's, so a drift of the machine does not move a chain of keeps."""
    value = beside.metric.better_by(gain, beside.value)
    return Assessment(verdict=verdict, why=why, delta=value - beside.value, value=value, next=further)


def _told(gain: float, beside: Beside) -> str:
    """The candidate beside the incumbent: "ms 40.1 against 43.0 (-6.74 %) of"."""
    metric, value = beside.metric, beside.metric.better_by(gain, beside.value)
    return f"{metric.word(value)} against {metric.shown(beside.value)} ({metric.shown_change(value, beside.value)}) of"


def _least(beside: Beside) -> float:
    return beside.metric.least_gain(beside.least, beside.value)


def _mean(runs: Sequence[Pairs]) -> float:
    return math.fsum(run.gain for run in runs) / len(runs)


def _error(runs: Sequence[Pairs], spread: Noise) -> float:
    return math.sqrt(math.fsum(run.error**2 + spread.sigma**2 for run in runs)) / len(runs)
