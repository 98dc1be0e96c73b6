"""The rule for keeping, score by score."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.records import Purpose, Verdict
from server.scoring.decision_rule import RUNS, Assessment, Reference, any_lower, decide
from server.scoring.noise import Noise

NOISE = Noise(sigma=0.01, repeats=2)
CONFIRM = Purpose.CONFIRM
REFERENCE = Purpose.REFERENCE
SCORE = st.floats(1.9, 2.1)


def reference(*scores: float, provisional: float | None = None) -> Reference:
    return Reference(experiment=3, scores=list(scores), provisional=provisional)


THREE = reference(2.0, 2.0, 2.0)


@pytest.mark.parametrize(("score", "verdict"), [(1.899999, "improved"), (1.9, "worse"), (1.900001, "worse")])
def test_upstreams_rule_keeps_what_is_strictly_lower(score: float, verdict: str) -> None:
    found = any_lower(score, 1.9, 3)
    assert found.verdict == verdict and found.delta == pytest.approx(score - 1.9)
    assert f"{score:.6f} against 1.900000 of experiment 3" in found.why


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
    first: float, confirmed: list[float], against: Reference, verdict: Verdict, further: Purpose | None
) -> None:
    found = decide(first, confirmed, against, NOISE)
    assert (found.verdict, found.next) == (verdict, further), found.why


def test_at_last_less_is_asked_than_on_the_way() -> None:
    close = [1.9885, 1.9885, 1.9885]  # 1.4 standard errors
    assert decide(1.9, close[:2], THREE, NOISE).verdict is Verdict.PROMISING
    assert decide(1.9, close, THREE, NOISE).verdict is Verdict.IMPROVED


def test_less_code_may_be_kept_if_it_is_not_worse() -> None:
    assert decide(2.0, [], THREE, NOISE, simpler=True).verdict is Verdict.SIMPLER
    assert decide(2.001, [], THREE, NOISE, simpler=True).verdict is Verdict.WITHIN_NOISE
    assert decide(1.9, [], THREE, NOISE, simpler=True).verdict is Verdict.PROMISING


@given(SCORE, st.lists(SCORE, max_size=RUNS), st.lists(SCORE, min_size=1, max_size=RUNS), st.randoms())
def test_the_same_runs_give_the_same_verdict_whatever_their_order(
    first: float, confirmed: list[float], incumbent: list[float], shuffler: random.Random
) -> None:
    before = decide(first, confirmed, reference(*incumbent), NOISE)
    shuffler.shuffle(confirmed)
    shuffler.shuffle(incumbent)
    assert decide(first, confirmed, reference(*incumbent), NOISE) == before


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
