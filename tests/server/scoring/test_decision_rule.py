"""The rule for keeping, score by score, for metrics of both directions.

The scores below are written for one that is better when lower; `as_of` mirrors them at 2 for the other.
"""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.metric import Metric, Scale
from server.records import Purpose, Verdict
from server.scoring.decision_rule import RUNS, Assessment, Reference, any_better, decide
from server.scoring.noise import Noise

NOISE = Noise(sigma=0.01, repeats=2)
CONFIRM = Purpose.CONFIRM
REFERENCE = Purpose.REFERENCE
SCORE = st.floats(1.9, 2.1)
LOWER = Metric("val_bpb", "lower")
HIGHER = Metric("accuracy", "higher")
BOTH = pytest.mark.parametrize("metric", [LOWER, HIGHER], ids=["lower", "higher"])


def reference(*scores: float, provisional: float | None = None) -> Reference:
    return Reference(metric=LOWER, experiment=3, scores=list(scores), provisional=provisional)


def as_of(metric: Metric, scores: list[float]) -> list[float]:
    return scores if metric is LOWER else [4 - score for score in scores]


def judged(
    metric: Metric, first: float, confirmed: list[float], against: Reference, simpler: bool = False
) -> Assessment:
    """What the rule says of scores that are written for `LOWER`, as scores of `metric`."""
    selected = None if against.provisional is None else as_of(metric, [against.provisional])[0]
    scores = as_of(metric, against.scores)
    mirrored = against.model_copy(update={"metric": metric, "scores": scores, "provisional": selected})
    (first,) = as_of(metric, [first])
    return decide(first, as_of(metric, confirmed), mirrored, NOISE, simpler)


THREE = reference(2.0, 2.0, 2.0)


@BOTH
@pytest.mark.parametrize(("score", "verdict"), [(1.899999, "improved"), (1.9, "worse"), (1.900001, "worse")])
def test_upstreams_rule_keeps_what_is_strictly_better(metric: Metric, score: float, verdict: str) -> None:
    score, incumbent = as_of(metric, [score, 1.9])
    found = any_better(metric, score, incumbent, 3)
    assert found.verdict == verdict and found.delta == pytest.approx(score - incumbent)
    assert f": {metric.name} {score:.6f} against {incumbent:.6f} of experiment 3 (" in found.why
    assert found.why.startswith(metric.direction.capitalize() if verdict == "improved" else f"Not {metric.direction}")


@BOTH
@pytest.mark.parametrize(
    ("first", "confirmed", "against", "verdict", "further"),
    [
        (1.9905, [], THREE, Verdict.PROMISING, CONFIRM),  # 0.95σ
        (1.9915, [], THREE, Verdict.WITHIN_NOISE, None),  # 0.85σ
        (2.0200, [], THREE, Verdict.WITHIN_NOISE, None),
        (2.0250, [], THREE, Verdict.WORSE, None),  # over two standard errors of a difference
        (1.9000, [], THREE, Verdict.PROMISING, CONFIRM),  # however low: once is never enough
        (1.9000, [1.97], THREE, Verdict.IMPROVED, None),  # 2.6 standard errors
        (1.9000, [1.98], THREE, Verdict.PROMISING, CONFIRM),  # 1.7
        (1.9000, [1.996], THREE, Verdict.WITHIN_NOISE, None),  # 0.3
        (1.9000, [2.1], THREE, Verdict.WITHIN_NOISE, None),
        (1.9000, [1.985, 1.985, 1.992], THREE, Verdict.IMPROVED, None),  # 1.6 at last
        (1.9000, [1.985, 1.990, 1.999], THREE, Verdict.WITHIN_NOISE, None),  # 1.1 at last
        (1.9000, [], reference(provisional=2.0), Verdict.PROMISING, CONFIRM),
        (1.9000, [1.9], reference(provisional=2.0), Verdict.PROMISING, REFERENCE),  # a selected value is too good
        (1.9000, [1.98], reference(2.0), Verdict.PROMISING, CONFIRM),
        (1.9000, [1.985, 1.985], reference(2.0), Verdict.PROMISING, REFERENCE),
        (1.9000, [], reference(), Verdict.PROMISING, REFERENCE),  # measured on another machine
    ],
)
def test_the_rule(
    metric: Metric,
    first: float,
    confirmed: list[float],
    against: Reference,
    verdict: Verdict,
    further: Purpose | None,
) -> None:
    found = judged(metric, first, confirmed, against)
    assert (found.verdict, found.next) == (verdict, further), found.why


def test_the_words_of_a_metric_that_is_better_when_lower() -> None:
    promising = decide(1.9, [], THREE, NOISE).why
    assert promising == (
        "Lower, once: val_bpb 1.900000 against 2.000000, the mean of 3 runs of experiment 3 "
        "(-0.100000, 10.0σ of 0.010000)."
    )
    confirmed = decide(1.9, [1.97], THREE, NOISE).why
    assert confirmed.endswith("1.970000 over 1 confirmation against 2.000000 over 3 (-0.030000, 2.6 standard errors).")


@BOTH
def test_at_last_less_is_asked_than_on_the_way(metric: Metric) -> None:
    close = [1.9885, 1.9885, 1.9885]  # 1.4 standard errors
    assert judged(metric, 1.9, close[:2], THREE).verdict is Verdict.PROMISING
    assert judged(metric, 1.9, close, THREE).verdict is Verdict.IMPROVED


@BOTH
def test_less_code_may_be_kept_if_it_is_not_worse(metric: Metric) -> None:
    assert judged(metric, 2.0, [], THREE, simpler=True).verdict is Verdict.SIMPLER
    assert judged(metric, 2.001, [], THREE, simpler=True).verdict is Verdict.WITHIN_NOISE
    assert judged(metric, 1.9, [], THREE, simpler=True).verdict is Verdict.PROMISING


def test_on_a_log_scale_the_same_ratio_is_the_same_gain() -> None:
    """Scores of about 2 and of about 2000 get the same verdicts, by a spread of one per cent."""
    seconds = Metric("seconds", "lower", "s", "log")
    for size in (1.0, 1000.0):
        against = Reference(metric=seconds, experiment=3, scores=[2.0 * size] * 3)
        for first, verdict in ((1.97, Verdict.PROMISING), (1.99, Verdict.WITHIN_NOISE), (2.1, Verdict.WORSE)):
            assert decide(first * size, [], against, NOISE).verdict is verdict


def test_on_a_log_scale_the_words_are_in_per_cent() -> None:
    seconds = Metric("seconds", "lower", "s", "log", places=None)
    against = Reference(metric=seconds, experiment=3, scores=[0.002] * 3)
    assert decide(0.0018, [], against, NOISE).why == (
        "Lower, once: seconds 0.0018 s against 0.002, the mean of 3 runs of experiment 3 (-10.00 %, 10.5σ of 1 %)."
    )


@BOTH
@pytest.mark.parametrize(("scale", "least"), [("linear", 0.01), ("log", 0.01)])
def test_a_gain_below_the_least_effect_is_none(metric: Metric, scale: Scale, least: float) -> None:
    metric, sharp = Metric(metric.name, metric.direction, "", scale), Noise(sigma=0.0001, repeats=9)
    against = Reference(metric=metric, experiment=3, scores=[100.0] * 3, least=least)
    for share, enough in ((0.009, False), (0.01, True), (0.011, True)):
        score = 100 * (1 + metric.sign * share)
        assert (decide(score, [], against, sharp).verdict is Verdict.PROMISING) is enough
        found = decide(score, [score], against, sharp)
        assert (found.verdict is Verdict.IMPROVED) is enough
        assert ("least_effect of 1 %" in found.why) is not enough


@BOTH
@pytest.mark.parametrize("provisional", [True, False])
def test_without_any_noise_one_confirmation_decides(metric: Metric, provisional: bool) -> None:
    exact, value = Noise(sigma=0.0, repeats=1), as_of(metric, [2.0])
    against = reference(provisional=value[0]) if provisional else reference(*value)
    against = against.model_copy(update={"metric": metric})
    (better, worse) = as_of(metric, [1.9999999, 2.0000001])
    assert decide(better, [], against, exact).next is CONFIRM
    assert decide(better, [better], against, exact).verdict is Verdict.IMPROVED
    assert decide(value[0], [], against, exact).verdict is Verdict.WITHIN_NOISE
    assert decide(value[0], [], against, exact, simpler=True).verdict is Verdict.SIMPLER
    assert decide(worse, [], against, exact, simpler=True).verdict is Verdict.WORSE


@given(
    st.lists(st.integers(-40, 40), min_size=1, max_size=1 + RUNS), st.lists(st.integers(-9, 9), min_size=1, max_size=3)
)
def test_the_verdict_of_times_and_of_the_rates_that_mirror_them_is_the_same(
    candidate: list[int], incumbent: list[int]
) -> None:
    """Powers of two, in steps of a 512th, with a spread of one of them."""
    sigma = math.log(2) / 512 * (1 + 1e-9)  # no gain lies on a threshold

    def found(metric: Metric) -> tuple[Verdict, Purpose | None]:
        scores, bars = ([2 ** (-metric.sign * step / 512) for step in steps] for steps in (candidate, incumbent))
        against = Reference(metric=metric, experiment=3, scores=bars)
        told = decide(scores[0], scores[1:], against, Noise(sigma=sigma, repeats=2))
        return told.verdict, told.next

    assert found(Metric("s", "lower", "s", "log")) == found(Metric("per_s", "higher", "1/s", "log"))


@given(SCORE, st.lists(SCORE, max_size=RUNS), st.lists(SCORE, min_size=1, max_size=RUNS), st.randoms())
def test_the_same_runs_give_the_same_verdict_whatever_their_order(
    first: float, confirmed: list[float], incumbent: list[float], shuffler: random.Random
) -> None:
    before = decide(first, confirmed, reference(*incumbent), NOISE)
    shuffler.shuffle(confirmed)
    shuffler.shuffle(incumbent)
    assert decide(first, confirmed, reference(*incumbent), NOISE) == before


@given(SCORE, st.lists(SCORE, max_size=RUNS), st.lists(SCORE, max_size=RUNS), st.booleans())
def test_the_verdict_of_mirrored_scores_is_the_same(
    first: float, confirmed: list[float], incumbent: list[float], simpler: bool
) -> None:
    """Eighths of a sigma: floats that are mirrored without rounding."""
    first, *rest = (round(score * 512) / 512 for score in (first, *confirmed, *incumbent))
    confirmed, incumbent = rest[: len(confirmed)], rest[len(confirmed) :]
    low, high = (
        judged(metric, first, confirmed, reference(*incumbent, provisional=2.0), simpler) for metric in (LOWER, HIGHER)
    )
    assert (low.verdict, low.next) == (high.verdict, high.next)
    assert low.delta == pytest.approx(-high.delta)


@given(SCORE, st.lists(SCORE, min_size=2 * RUNS, max_size=2 * RUNS), st.integers(0, RUNS))
def test_a_decision_comes_within_six_runs_and_never_from_the_first_score(
    first: float, later: list[float], fresh: int
) -> None:
    confirmed, incumbent = list[float](), [2.0] * fresh
    for score in later:
        found = decided(first, confirmed, incumbent)
        if found.next is None:
            break
        (confirmed if found.next is CONFIRM else incumbent).append(score)
    found = decided(first, confirmed, incumbent)
    assert found.next is None and found.verdict is not Verdict.PROMISING
    if found.verdict is Verdict.IMPROVED:
        assert confirmed and incumbent and found.delta < 0
        assert decided(1.0, confirmed, incumbent) == found  # whatever the first one was


def decided(first: float, confirmed: list[float], incumbent: list[float]) -> Assessment:
    return decide(first, confirmed, reference(*incumbent, provisional=2.0), NOISE)
