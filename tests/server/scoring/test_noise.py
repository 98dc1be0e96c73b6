"""σ from repeated runs: right on average, deaf to one outlier, never zero."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.scoring.noise import PRIOR_SHARE, estimate_noise, since_drift

SCORES = st.lists(st.lists(st.floats(0.5, 3.0), max_size=5), max_size=8)


def drawn(seed: int, groups: int, size: int) -> list[list[float]]:
    generator = random.Random(seed)
    return [[generator.gauss(1 + group, 0.002) for _ in range(size)] for group in range(groups)]


def test_without_a_repeat_it_is_the_prior_and_says_so() -> None:
    found = estimate_noise([[1.0], []], level=1.0)
    assert found.repeats == 0 and found.sigma == pytest.approx(PRIOR_SHARE)


def test_it_finds_the_spread_within_groups_whatever_their_levels() -> None:
    found = estimate_noise(drawn(0, 40, 3), level=1.0)
    assert found.repeats == 80 and found.sigma == pytest.approx(0.002, rel=0.15)


def test_three_runs_are_right_on_average_and_outweigh_the_prior() -> None:
    squares = [estimate_noise(drawn(seed, 1, 3), level=1.0).sigma ** 2 for seed in range(2000)]
    assert math.sqrt(statistics.mean(squares)) == pytest.approx(0.002, rel=0.1)


def test_one_throttled_run_does_not_make_the_night_blind() -> None:
    groups = drawn(1, 10, 3)
    groups[0][0] += 0.5
    clean, spoilt = estimate_noise(drawn(1, 10, 3), 1.0).sigma, estimate_noise(groups, 1.0).sigma
    assert spoilt < 2 * clean


@given(SCORES, st.randoms())
def test_the_order_of_arrival_does_not_matter(groups: list[list[float]], shuffler: random.Random) -> None:
    before = estimate_noise(groups, 1.0)
    for group in groups:
        shuffler.shuffle(group)
    shuffler.shuffle(groups)
    assert estimate_noise(groups, 1.0).sigma == pytest.approx(before.sigma, rel=1e-12)
    assert before.sigma > 0


def test_a_cut_is_made_where_the_machine_changed_and_nowhere_else() -> None:
    steady = [2.0, 2.001, 1.999, 2.002]
    assert since_drift(steady) == steady and since_drift([]) == [] and since_drift([2.0, 2.0, 2.0, 2.0]) == [2.0] * 4
    assert since_drift([*steady, 1.95, 1.951]) == [1.95, 1.951]
    assert since_drift([1.9, 1.901, *steady, 1.95, 1.951]) == [1.95, 1.951]
    assert since_drift([2.0, 1.9]) == [2.0, 1.9]  # too few to tell
