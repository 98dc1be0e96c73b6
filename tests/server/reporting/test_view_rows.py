"""Rows as they are shown: what is sure, what lies within the noise, what rests on the run that selected it."""

import math

import pytest

from server.metric import Metric
from server.records import Experiment, Judgement, Purpose, Revocation, Verdict
from server.reporting.view_model import Kind, Standing
from server.reporting.view_rows import Scale, category_gains, columns, fold, line_of, lines
from tests.support.builders import experiment
from tests.support.made_studies import decided, made, measured, repeated

LOWER = Metric("val_bpb", "lower")
HIGHER = Metric("accuracy", "higher", "%", places=None)
RATIO = Metric("latency", "lower", "ms", "log", places=None)
SIGMA = 0.001


def baseline(value: float = 1.0) -> Experiment:
    return decided(measured(made(1, "the baseline"), value, Verdict.BASELINE), kept=True)


def kept(number: int, value: float, against: tuple[int, float] = (1, 1.0)) -> Experiment:
    return decided(measured(made(number, "an idea"), value, Verdict.IMPROVED, against), kept=True)


@pytest.mark.parametrize(
    ("errors", "confirmed", "standing"),
    [
        (1.0, 0, Standing.NOISE),
        (1.9, 2, Standing.NOISE),
        (2.1, 0, Standing.PROVISIONAL),
        (3.9, 0, Standing.PROVISIONAL),
        (4.1, 0, Standing.SURE),
        (2.1, 1, Standing.SURE),
        (2.1, 3, Standing.SURE),
        (-3.0, 1, Standing.NOISE),
    ],
)
@pytest.mark.parametrize("metric", [LOWER, HIGHER, RATIO], ids=["lower", "higher", "log"])
def test_a_keep_is_sure_by_two_errors_of_other_runs_or_four_of_the_one_that_selected_it(
    metric: Metric, errors: float, confirmed: int, standing: Standing
) -> None:
    scale = Scale(metric, None, SIGMA)
    error = SIGMA * math.sqrt(1 / max(confirmed, 1) + 1)
    value = metric.better_by(errors * error, 1.0)
    again = [repeated(3 + at, 2, Purpose.CONFIRM, value) for at in range(confirmed)]
    found = line_of(fold([baseline(), kept(2, value), *again]), kept(2, value), scale)
    assert found.standing is standing
    assert found.error == pytest.approx(error)
    assert scale.gain(found.change) == pytest.approx(errors * error)


def test_what_the_incumbent_was_measured_again_before_the_verdict_makes_the_error_smaller_and_later_runs_do_not() -> (
    None
):
    before = [repeated(2, 1, Purpose.REFERENCE, 1.0), repeated(3, 1, Purpose.REFERENCE, 1.0)]
    later = [repeated(6, 1, Purpose.REFERENCE, 1.0)]
    rows = [baseline(), *before, kept(4, 0.99), experiment(5, Verdict.WORSE, 1.1, kept=False), *later]
    found = line_of(fold(rows), rows[3], Scale(LOWER, None, SIGMA))
    assert found.error == pytest.approx(SIGMA * math.sqrt(1 + 1 / 3))  # the baseline's first run, and two more


def test_runs_of_one_code_that_are_exactly_alike_make_any_confirmed_gain_sure() -> None:
    rows = [baseline(), kept(2, 0.999999), repeated(3, 2, Purpose.CONFIRM, 0.999999)]
    assert line_of(fold(rows), rows[1], Scale(LOWER, None, 0.0)).standing is Standing.SURE


def test_repeats_are_folded_into_the_row_that_they_repeat() -> None:
    rows = [baseline(), repeated(2, 1, Purpose.REFERENCE, 1.2), kept(3, 0.9), repeated(4, 3, Purpose.CONFIRM, 0.92)]
    rows.append(Experiment(attempt=made(5, "once more", of=3, purpose=Purpose.CONFIRM)))
    told, _, _ = columns(lines(fold(rows), Scale(LOWER, None, SIGMA)), Scale(LOWER, None, SIGMA), {})
    assert told.number == [1, 3]
    assert (told.runs, told.confirmations) == ([2, 2], [0, 1])
    assert told.again == [pytest.approx(1.1), None]  # the runs of what was kept that did not select it


def test_every_row_has_one_kind() -> None:
    lost = kept(2, 0.9).model_copy(
        update={"revocation": Revocation(by=9, of=2, revoked_at="2026-01-01T00:00:00+00:00")}
    )
    rows = {
        Kind.KEPT: baseline(),
        Kind.REVOKED: lost,
        Kind.FAILED: experiment(3, Verdict.CRASHED, kept=False),
        Kind.REFUSED: experiment(4, Verdict.REFUSED),
        Kind.DISCARDED: experiment(5, Verdict.WORSE, 1.1, kept=False),
        Kind.OPEN: experiment(6, Verdict.PROMISING, 0.9),
        Kind.RUNNING: Experiment(attempt=made(7, "it runs")),
    }
    found = lines(fold(list(rows.values())), Scale(LOWER, None, SIGMA))
    assert [one.kind for one in found] == list(rows)
    assert [one.standing for one in found if one.kind is not Kind.KEPT] == [Standing.NONE] * 6


def test_a_row_of_an_earlier_measurement_has_no_error_of_todays() -> None:
    old = kept(2, 0.9).model_copy(update={"attempt": made(2, "another task", task="t")})
    found = line_of(fold([baseline(), old]), old, Scale(LOWER, None, SIGMA))
    assert (found.error, found.value_error, found.standing) == (None, None, Standing.PROVISIONAL)


def test_the_columns_name_what_they_count_in() -> None:
    rows = [baseline(), kept(2, 0.9), experiment(3, Verdict.WORSE, 1.1, kept=False)]
    scale = Scale(LOWER, None, SIGMA)
    told, verdicts, ideas = columns(lines(fold(rows), scale), scale, {2: "knob", 3: "schedule"})
    assert [verdicts[at] for at in told.verdict] == ["baseline", "improved", "worse"]
    assert [ideas[at] for at in told.category] == ["", "knob", "schedule"]
    assert {len(column) for column in told.model_dump().values()} == {3}


def test_kinds_of_ideas_are_told_by_what_they_brought_with_its_error() -> None:
    rows = [baseline(), kept(2, 0.9), kept(3, 0.8, (2, 0.9)), experiment(4, Verdict.WORSE, 1.1, kept=False)]
    scale = Scale(LOWER, None, SIGMA)
    knob, other = category_gains(lines(fold(rows), scale), scale, {2: "knob", 3: "knob", 4: "other"})
    assert (knob.category, knob.tried, knob.kept, knob.sure) == ("knob", 2, 2, 2)
    assert knob.change == pytest.approx(-0.2) and knob.error == pytest.approx(math.sqrt(2 + 2) * SIGMA)
    assert (other.kept, other.change, other.error) == (0, 0.0, None)


def test_on_a_log_scale_a_change_is_the_logarithm_of_the_ratio() -> None:
    row = decided(measured(made(2, "faster"), 50.0, Verdict.IMPROVED, (1, 100.0)), kept=True)
    found = line_of(fold([baseline(100.0), row]), row, Scale(RATIO, None, 0.01))
    assert found.change == pytest.approx(math.log(0.5))


def test_a_verdict_without_a_comparison_has_no_change() -> None:
    row = baseline().model_copy(update={"judgement": Judgement(verdict=Verdict.BASELINE, why="", commit="c")})
    assert line_of(fold([row]), row, Scale(LOWER, None, None)).change is None
