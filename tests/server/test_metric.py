"""A metric knows which of two scores is better, by how much, and how a score is worded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.metric import Metric, percent

LOWER = Metric("val_bpb", "lower")
HIGHER = Metric("accuracy", "higher")
LOG_LOWER = Metric("seconds", "lower", "s", "log")
LOG_HIGHER = Metric("tokens", "higher", "1/s", "log")
ALL = pytest.mark.parametrize("metric", [LOWER, HIGHER, LOG_LOWER, LOG_HIGHER], ids=lambda metric: metric.name)
POSITIVE = st.floats(1e-6, 1e6)


@pytest.mark.parametrize(
    ("metric", "gain"), [(LOWER, 1.0), (HIGHER, -1.0), (LOG_LOWER, 0.693147), (LOG_HIGHER, -0.693147)]
)
def test_one_is_better_than_two_where_lower_is_better(metric: Metric, gain: float) -> None:
    assert metric.gain(1.0, 2.0) == pytest.approx(gain, abs=1e-6)
    assert metric.worst([1.0, 2.0, 1.5]) == (2.0 if gain > 0 else 1.0)
    assert metric.sign == (-1 if gain > 0 else 1)


@ALL
@given(a=POSITIVE, b=POSITIVE)
def test_what_one_gains_the_other_loses(metric: Metric, a: float, b: float) -> None:
    assert metric.gain(a, b) == -metric.gain(b, a)
    assert metric.gain(a, a) == 0
    assert metric.reached(a, b) == (metric.gain(a, b) >= 0) and metric.reached(a, a)


@given(a=POSITIVE, b=POSITIVE, factor=st.floats(1e-3, 1e3))
def test_on_a_log_scale_only_the_ratio_counts(a: float, b: float, factor: float) -> None:
    assert LOG_LOWER.gain(factor * a, factor * b) == pytest.approx(LOG_LOWER.gain(a, b), abs=1e-9)
    assert LOG_LOWER.level(a) == 1.0 and LOWER.level(-a) == a


def test_a_log_scale_has_no_place_for_what_is_not_positive() -> None:
    with pytest.raises(ValueError, match=r"math domain|positive"):
        LOG_LOWER.gain(0.0, 1.0)


def test_means_lie_on_the_scale_and_gains_lead_back() -> None:
    assert LOG_LOWER.mean([1.0, 4.0]) == pytest.approx(2.0) and LOWER.mean([1.0, 4.0]) == 2.5
    assert LOG_LOWER.better_by(0.5, 8.0) < 8 < LOG_HIGHER.better_by(0.5, 8.0)
    for metric in (LOWER, HIGHER, LOG_LOWER, LOG_HIGHER):
        assert metric.gain(metric.better_by(0.25, 8.0), 8.0) == pytest.approx(0.25)


@pytest.mark.parametrize("score", [0.0, -1.0])
def test_a_score_that_a_log_scale_has_no_place_for_is_told_and_reaches_targets_all_the_same(score: float) -> None:
    assert "no place on a log scale" in LOG_LOWER.problem(score) and not LOG_LOWER.problem(0.1)
    assert not LOWER.problem(score) and LOG_LOWER.reached(score, 1.0) and not LOG_HIGHER.reached(score, 1.0)


@pytest.mark.parametrize(
    ("score", "word"),
    [(1234567, "1234567"), (41.25, "41.25"), (0.0000123456789, "1.23457e-05"), (-3, "-3"), (123456.789, "123457")],
)
def test_a_tasks_score_has_as_many_digits_as_it_needs(score: float, word: str) -> None:
    metric = Metric("steps", "lower", places=None)
    assert metric.word(score) == f"steps {word}" and metric.shown(3, "+") == "+3"


def test_a_score_is_worded_with_its_name() -> None:
    assert LOWER.word(1.2345678) == "val_bpb 1.234568"
    assert LOWER.step(2.0, 1.9, 1) == "val_bpb 2.0000 → 1.9000 (-5.0 %)"
    assert (percent(-2, -1, 0), percent(0, 0.5, 0)) == ("+50 %", "+0.5")
