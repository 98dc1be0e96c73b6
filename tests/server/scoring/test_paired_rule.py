"""The rule for paired runs, for both directions and both scales: gains and errors in, a verdict out."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import measured_rules
from server.metric import Metric
from server.records import Purpose, Score, Verdict
from server.scoring.decision_rule import RUNS, Assessment
from server.scoring.noise import Noise
from server.scoring.paired_rule import Beside, Pairs, any_better_pairs, between_runs, decide_pairs, pairs_of

TIME = Metric("ms", "lower", "ms", "log", 0.03, None)
RATE = Metric("rate", "higher", "1/s", "log", 0.03, None)
LOSS = Metric("loss", "lower", "", "linear", 0.01, None)
F1 = Metric("f1", "higher", "", "linear", 0.01, None)
ALL = pytest.mark.parametrize("metric", [TIME, RATE, LOSS, F1], ids=lambda metric: f"{metric.direction}-{metric.scale}")
SPREAD = Noise(sigma=0.008, repeats=4)  # with 0.006 within a run: 0.01 in all
CONFIRM = Purpose.CONFIRM
SIZES = st.floats(-0.2, 0.2)


def run(gain: float, error: float = 0.006) -> Pairs:
    return Pairs(gain=gain, error=error, pairs=80)


def beside(metric: Metric, spread: Noise = SPREAD, least: float = 0.0, value: float = 1.0) -> Beside:
    return Beside(metric=metric, experiment=3, value=value, spread=spread, least=least)


def judged(metric: Metric, first: float, confirmed: Sequence[float] = (), simpler: bool = False) -> Assessment:
    return decide_pairs([run(first)], [run(gain) for gain in confirmed], beside(metric), simpler)


@ALL
@pytest.mark.parametrize(
    ("first", "confirmed", "verdict", "further"),
    [
        (0.0095, [], Verdict.PROMISING, CONFIRM),  # 0.95 errors
        (0.0085, [], Verdict.WITHIN_NOISE, None),
        (-0.019, [], Verdict.WITHIN_NOISE, None),
        (-0.021, [], Verdict.WORSE, None),
        (0.9, [], Verdict.PROMISING, CONFIRM),  # however good: once is never enough
        (0.02, [0.061], Verdict.IMPROVED, None),
        (0.02, [0.05], Verdict.PROMISING, CONFIRM),
        (0.02, [0.004], Verdict.WITHIN_NOISE, None),
        (0.04, [0.004], Verdict.PROMISING, CONFIRM),  # one outlier of two
        (0.04, [0.004, 0.002], Verdict.WITHIN_NOISE, None),
        (0.02, [0.02, 0.022], Verdict.IMPROVED, None),
        (0.02, [0.02, 0.018], Verdict.PROMISING, CONFIRM),  # 2.7 errors
        (0.02, [0.06, -0.001], Verdict.PROMISING, CONFIRM),  # of which one is not better at all
        (0.02, [0.06, -0.001, 0.01], Verdict.IMPROVED, None),
        (0.02, [0.06, -0.001, -0.01], Verdict.WITHIN_NOISE, None),
        (0.02, [0.012, 0.012, 0.012], Verdict.IMPROVED, None),
        (0.02, [0.01, 0.01, 0.01], Verdict.WITHIN_NOISE, None),
    ],
)
def test_the_rule(
    metric: Metric, first: float, confirmed: list[float], verdict: Verdict, further: Purpose | None
) -> None:
    found = judged(metric, first, confirmed)
    assert (found.verdict, found.next) == (verdict, further), found.why


@ALL
def test_less_code_may_be_kept_if_it_is_not_worse(metric: Metric) -> None:
    assert judged(metric, 0.0, simpler=True).verdict is Verdict.SIMPLER
    assert judged(metric, -0.001, simpler=True).verdict is Verdict.WITHIN_NOISE


@ALL
def test_a_gain_below_the_least_effect_is_none(metric: Metric) -> None:
    wanted = beside(metric, Noise(sigma=0.0001, repeats=9), least=0.05)
    sure = [run(0.03, 0.0001)] * 2
    found = decide_pairs(sure[:1], [], wanted)
    assert found.verdict is Verdict.WITHIN_NOISE and "less than program.md's least_effect of 5 %" in found.why
    assert decide_pairs(sure[:1], sure, wanted).verdict is Verdict.WITHIN_NOISE
    large = [run(0.06, 0.0001)] * 2
    assert decide_pairs(large[:1], large, wanted).verdict is Verdict.IMPROVED


@ALL
def test_runs_that_are_exactly_alike_need_one_confirmation_however_small_the_gain(metric: Metric) -> None:
    exact = between_runs([run(0.0, 0.0)] * 2, [], 0.01)
    assert exact.sigma == 0
    one, wanted = [run(1e-7, 0.0)], beside(metric, exact)
    assert decide_pairs(one, [], wanted).next is CONFIRM
    found = decide_pairs(one, one, wanted)
    assert found.verdict is Verdict.IMPROVED and "exactly alike" in found.why
    assert decide_pairs([run(0.0, 0.0)], [], wanted).verdict is Verdict.WITHIN_NOISE
    assert decide_pairs([run(0.0, 0.0)], [], wanted, simpler=True).verdict is Verdict.SIMPLER
    assert decide_pairs([run(-1e-7, 0.0)], [], wanted).verdict is Verdict.WORSE
    assert decide_pairs(one, one, beside(metric, exact, least=0.01)).verdict is Verdict.WITHIN_NOISE


def test_the_value_hangs_on_the_incumbents() -> None:
    faster = decide_pairs([run(0.5)], [run(math.log(2))] * 2, beside(TIME, value=80.0))
    assert faster.value == pytest.approx(40) and faster.delta == pytest.approx(-40)
    assert "ms 40 against 80 (-50.00 %) of experiment 3" in faster.why
    better = decide_pairs([run(0.5)], [run(0.25)] * 2, beside(F1, value=-0.5))
    assert better.value == pytest.approx(-0.25) and "f1 -0.25 against -0.5 (+0.25)" in better.why


@ALL
def test_upstreams_rule_keeps_what_is_strictly_better(metric: Metric) -> None:
    assert any_better_pairs(run(1e-9), beside(metric)).verdict is Verdict.IMPROVED
    assert any_better_pairs(run(0.0), beside(metric)).verdict is Verdict.WORSE


def test_what_a_run_has_measured_is_read_on_the_metrics_scale() -> None:
    def score(**details: float) -> Score:
        return Score(name="ms", value=1.0, details=details)

    told = score(log_ratio=-0.1, difference=0.3, stderr=0.02, pairs=60)
    assert pairs_of(told, TIME) == Pairs(gain=0.1, error=0.02, pairs=60)
    assert pairs_of(told, RATE) == Pairs(gain=-0.1, error=0.02, pairs=60)
    assert pairs_of(told, F1) == Pairs(gain=0.3, error=0.02, pairs=60)
    assert pairs_of(score(log_ratio=-0.1), TIME) is None and pairs_of(score(spread=1.0, samples=3), F1) is None


def test_the_spread_between_runs_is_what_their_errors_do_not_explain() -> None:
    assert between_runs([], [], 0.01) == Noise(sigma=0.01, repeats=0)
    groups = [[run(0.10 + step), run(0.10 - step), run(0.10 + step), run(0.10 - step)] for step in [0.02] * 20]
    assert between_runs([], groups, 0.01).sigma == pytest.approx(math.sqrt(0.02**2 * 4 / 3 - 0.006**2), rel=0.03)
    explained = [[run(0.1 + step, 0.05), run(0.1 - step, 0.05)] for step in [0.02] * 20]
    assert between_runs([], explained, 0.01).sigma < 0.004
    assert between_runs([run(0.05)] * 9, [], 0.01).sigma > 0.04, "the incumbent against itself has a true gain of 0"


def test_one_run_that_moves_makes_a_metric_inexact() -> None:
    assert between_runs([run(0.0, 0.0)] * 2, [[run(0.1, 0.0), run(0.2, 0.0)]], 0.01).sigma > 0
    assert between_runs([run(0.0, 0.0), run(1e-9, 0.0)], [], 0.01).sigma > 0
    assert between_runs([run(0.0, 0.001)] * 2, [], 0.01).sigma > 0


@given(SIZES, st.lists(SIZES, max_size=RUNS), st.booleans(), st.sampled_from([0.0, 0.02]))
def test_the_verdict_of_mirrored_scores_is_the_same(
    first: float, confirmed: list[float], simpler: bool, least: float
) -> None:
    def of(metric: Metric) -> tuple[Verdict, Purpose | None]:
        name = "log_ratio" if metric.scale == "log" else "difference"
        scores = [
            Score(name="x", value=1.0, details={name: metric.sign * gain, "stderr": 0.006})
            for gain in (first, *confirmed)
        ]
        told = [found for score in scores if (found := pairs_of(score, metric))]
        found = decide_pairs(told[:1], told[1:], beside(metric, least=least), simpler)
        return found.verdict, found.next

    assert of(TIME) == of(RATE) and of(LOSS) == of(F1)


@given(SIZES, st.lists(SIZES, min_size=RUNS, max_size=RUNS))
def test_a_decision_comes_within_three_confirmations_and_never_from_the_first_gain(
    first: float, later: list[float]
) -> None:
    confirmed = list[float]()
    while (found := judged(TIME, first, confirmed)).next:
        confirmed.append(later[len(confirmed)])
    assert found.verdict is not Verdict.PROMISING
    if found.verdict is Verdict.IMPROVED:
        assert confirmed and found.delta < 0


def test_the_simulated_nights_meet_their_bars() -> None:
    quiet = measured_rules.MACHINES[0]
    counts, runs = measured_rules.false_keeps(quiet, nights=20)
    assert sum(counts) <= 0.5 * len(counts) and runs < 1.4
    assert measured_rules.found(quiet, 0.05, nights=40)[0] >= 0.95
    assert measured_rules.found(quiet, 0.02, nights=40)[0] >= 2 / 3
    assert measured_rules.found(quiet, -0.05, nights=20)[0] == 0
