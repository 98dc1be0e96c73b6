"""Upstream's rule: strictly lower wins."""

import pytest

from server.experiment import Verdict
from server.verdict import judge
from tests.records import crashed, experiment, finished

INCUMBENT = experiment(3, Verdict.IMPROVED, 1.9, kept=True)


@pytest.mark.parametrize(
    ("val_bpb", "verdict"), [(1.899999, Verdict.IMPROVED), (1.9, Verdict.WORSE), (1.900001, Verdict.WORSE)]
)
def test_only_a_strictly_lower_score_improves(val_bpb: float, verdict: Verdict) -> None:
    found, why, delta = judge(finished(val_bpb), INCUMBENT)
    assert found is verdict
    assert delta == pytest.approx(val_bpb - 1.9)
    assert f"{val_bpb:.6f}" in why and "experiment 3" in why


def test_the_first_score_is_the_baseline() -> None:
    assert judge(finished(2.0), None)[0] is Verdict.BASELINE


def test_a_run_without_a_score_has_its_outcome_as_verdict_and_no_delta() -> None:
    verdict, why, delta = judge(crashed(), INCUMBENT)
    assert (verdict, delta) == (Verdict.CRASHED, None)
    assert "ValueError" in why
