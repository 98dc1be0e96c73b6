"""Differences in pairs: what is measured from them, and that stopping early makes no false gain."""

import math
import random

import pytest

from benchmarks.paired_stop import VERDICT, side, study
from trainer.evaluators.pairs import (
    LEAST_PAIRS,
    MOST_PAIRS,
    Pairs,
    candidate_first,
    is_flat,
    jackknife,
    mean_of,
    middle,
)


def test_each_side_is_the_first_equally_often() -> None:
    order = [candidate_first(pair) for pair in range(8)]
    assert order == [True, False, False, True] * 2


def test_what_the_first_place_costs_is_no_difference() -> None:
    pairs = Pairs(trimmed=True)
    for pair in range(40):
        pairs.add(0.3 if candidate_first(pair) else -0.3, candidate_first(pair))
    assert pairs.estimate().mean == pytest.approx(0.0)
    assert pairs.estimate().stderr == pytest.approx(0.0)


def test_a_few_slow_cases_of_a_busy_machine_change_no_time() -> None:
    draw, pairs = random.Random(3), Pairs(trimmed=True)
    for pair in range(100):
        pairs.add(draw.gauss(-0.05, 0.02) + (4.0 if pair % 16 == 0 else 0.0), candidate_first(pair))
    found = pairs.estimate()
    assert abs(found.mean + 0.05) < 3 * found.stderr < 0.02


def test_a_rare_and_great_loss_of_score_counts_in_full() -> None:
    pairs = Pairs(trimmed=False, gain=1)
    for pair in range(100):
        pairs.add(-5.0 if pair % 10 == 0 else 0.1, candidate_first(pair))
    assert pairs.estimate().mean == pytest.approx(-0.41)


def test_without_pairs_of_both_orders_nothing_is_known() -> None:
    pairs = Pairs(trimmed=True)
    assert math.isinf(pairs.estimate().stderr)
    for _ in range(LEAST_PAIRS):
        pairs.add(-1.0, True)
    assert math.isinf(pairs.estimate().stderr) and not pairs.enough(0.0)


def test_the_standard_error_is_wider_for_few_pairs() -> None:
    """As Student's t: at 2.2 standard errors with 7 degrees of freedom by 1.25."""
    pairs = Pairs(trimmed=False)
    values = [0.1, -0.2, 0.3, 0.0, -0.1, 0.2, -0.3, 0.05]
    for pair, value in enumerate(values):
        pairs.add(value, candidate_first(pair))
    assert pairs.estimate().stderr / mean_of(values)[1] == pytest.approx(1.25, abs=0.03)


def test_scores_that_are_all_equal_need_the_fewest_pairs() -> None:
    pairs = Pairs(trimmed=False)
    while not pairs.enough(0.0):
        pairs.add(0.0, candidate_first(len(pairs)))
    assert len(pairs) == LEAST_PAIRS


@pytest.mark.parametrize("gain", [1, -1])
def test_a_clear_loss_is_stopped_as_early_as_a_clear_gain(gain: int) -> None:
    draw, pairs = random.Random(5), Pairs(trimmed=True, gain=gain)
    while not pairs.enough(0.02):
        pairs.add(0.5 + draw.gauss(0, 0.03), candidate_first(len(pairs)))
    assert len(pairs) <= LEAST_PAIRS + 4


def test_clear_differences_take_few_pairs_and_none_takes_all() -> None:
    draw = random.Random(7)
    large, small, none = ([study(draw, effect, 0.0) for _ in range(12)] for effect in (-0.2, -0.05, 0.0))
    assert max(pairs for *_, pairs in large) <= 32
    assert all(mean < -VERDICT * error and pairs < MOST_PAIRS for mean, error, pairs in small)
    assert sum(pairs == MOST_PAIRS for *_, pairs in none) >= 10


def test_a_gain_too_small_to_count_is_given_up_before_the_last_pair() -> None:
    draw = random.Random(8)
    assert max(study(draw, 0.0, 0.05)[2] for _ in range(8)) < MOST_PAIRS


@pytest.mark.thorough
@pytest.mark.parametrize("least", [0.0, 0.01])
def test_stopping_early_finds_no_more_false_gains_than_chance(least: float) -> None:
    """At 2.2 standard errors 1.4 % of null changes look like a gain; of 2,000 that is 28, and 45 is beyond 3 sigma."""
    draw = random.Random(11)
    assert sum(mean < -VERDICT * error for mean, error, _ in (study(draw, 0.0, least, 120) for _ in range(2000))) < 45


def test_a_side_is_warm_when_it_gets_no_faster() -> None:
    assert not is_flat([1.0, 1.0])
    assert not is_flat([2.0, 1.5, 1.2, 1.0])
    assert is_flat([2.0, 1.0, 1.01, 0.99])


def test_a_side_that_one_slow_round_hides_is_not_warm() -> None:
    assert not is_flat([2.0, 1.2, 1.9, 1.0])


def test_the_middle_of_many_times_comes_with_a_standard_error_that_holds() -> None:
    draw = random.Random(2)
    off = [abs(value) / error for value, error in (middle([side(draw) - 0.0 for _ in range(60)]) for _ in range(100))]
    assert 0.5 < sum(off) / len(off) < 2.0
    assert middle([3.0]) == (3.0, 0.0)


def test_a_jackknife_of_means_is_the_standard_error_of_the_mean() -> None:
    values = [1.0, 2.0, 4.0, 8.0, 16.0]
    without = [sum(values[:place] + values[place + 1 :]) / 4 for place in range(5)]
    assert jackknife(without) == pytest.approx(mean_of(values)[1])
