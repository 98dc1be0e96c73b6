"""The simulation of benchmarks/keep_rules.py follows the server's rule draw by draw, and meets its bars."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks import keep_rules
from server.metric import Metric
from server.records import Purpose, Verdict
from server.scoring.decision_rule import Assessment, Reference, decide, mean
from server.scoring.noise import estimate_noise

METRIC = Metric("score", "lower")
LEVEL = 1000.0  # in σ; the prior is a thousandth of it, so one


class Night:
    """One night by the server's own functions."""

    def __init__(self, baseline: list[float]) -> None:
        self.true, self.fresh = 0.0, baseline
        self.provisional: float | None = None
        self.groups = [baseline]

    def keeps(self, effect: float, draws: Iterator[float]) -> bool:
        first, confirmed = LEVEL + self.true + effect + next(draws), list[float]()
        while (found := self.assess(first, confirmed)).next:
            group, truth = (confirmed, self.true + effect) if found.next is Purpose.CONFIRM else (self.fresh, self.true)
            group.append(LEVEL + truth + next(draws))
        self.groups.append([first, *confirmed])
        if found.verdict is not Verdict.IMPROVED:
            return False
        self.true, self.provisional, self.fresh = self.true + effect, mean(confirmed), list[float]()
        self.groups.append(self.fresh)
        return True

    def assess(self, first: float, confirmed: list[float]) -> Assessment:
        reference = Reference(metric=METRIC, experiment=1, scores=self.fresh, provisional=self.provisional)
        return decide(first, confirmed, reference, estimate_noise([*self.groups, [first, *confirmed]], LEVEL))


def test_the_arrays_follow_the_functions_draw_by_draw() -> None:
    nights, random = 40, np.random.default_rng(7)
    effects = keep_rules.published(random, nights)
    baseline = random.standard_normal((nights, 3))
    draws = random.standard_normal((keep_rules.PATCHES + 1, keep_rules.DRAWS, nights), dtype=np.float32)
    fast = keep_rules.confirmed(effects, baseline, draws, prior=1.0).kept
    slow = np.zeros_like(fast)
    for study in range(nights):
        real = Night([LEVEL + float(score) for score in baseline[study]])
        for patch in range(keep_rules.PATCHES):
            slow[study, patch] = real.keeps(effects[study, patch], map(float, draws[patch, :, study]))
    # Clipping of outliers, which only the functions do, moves σ a little; a night that parts once, parts for good.
    assert (fast == slow).all(1).mean() > 0.7
    assert abs(fast.sum() - slow.sum()) < 0.1 * slow.sum()


def test_few_false_keeps_little_bias_and_power_where_it_is_due() -> None:
    nights, random = 3000, np.random.default_rng(3)
    null, gain = np.zeros((nights, keep_rules.PATCHES)), np.full((nights, 1), -2.0)
    baseline = random.standard_normal((nights, 3))
    draws = random.standard_normal((keep_rules.PATCHES + 1, keep_rules.DRAWS, nights), dtype=np.float32)
    for prior in (None, 1.0):
        found = keep_rules.confirmed(null, baseline, draws, prior)
        assert found.kept.sum(1).mean() <= 1.0
        assert abs((found.recorded - found.true).mean()) <= 0.4
        assert found.runs.mean() <= 1.35 * (keep_rules.PATCHES + 1)
        assert keep_rules.confirmed(gain, baseline, draws, prior).kept.mean() >= 0.67
    upstream = keep_rules.single_look(null, random.standard_normal((nights, keep_rules.PATCHES + 1)), 0.0)
    assert upstream.kept.sum(1).mean() > 4  # what the rule is for


def test_lanes_keep_no_more_by_luck_and_one_lane_is_the_rule_itself() -> None:
    nights, random = 600, np.random.default_rng(5)
    real, null = keep_rules.published(random, nights), np.zeros((nights, keep_rules.PATCHES))
    baseline = random.standard_normal((nights, 3))
    draws = random.standard_normal((keep_rules.PATCHES + 1, keep_rules.DRAWS, nights), dtype=np.float32)
    alone, one = (rule(real, baseline, draws, 1.0) for rule in (keep_rules.confirmed, _one_lane))
    assert (alone.kept == one.kept).all() and (alone.runs == one.runs).all()
    for lanes in (4, 16):
        found = keep_rules.in_lanes(null, baseline, draws, 1.0, lanes)
        assert found.kept.sum(1).mean() <= 1.0 and abs((found.recorded - found.true).mean()) <= 0.4
        several = keep_rules.in_lanes(real, baseline, draws, 1.0, lanes)
        assert several.runs.mean() > one.runs.mean(), "what a keep elsewhere has made stale is measured again"
        assert -several.true.mean() > 0.85 * -one.true.mean()


def _one_lane(
    effects: keep_rules.Floats, baseline: keep_rules.Floats, draws: NDArray[np.float32], prior: float
) -> keep_rules.Outcome:
    return keep_rules.in_lanes(effects, baseline, draws, prior, 1)
