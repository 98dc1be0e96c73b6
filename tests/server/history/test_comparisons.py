"""A run's figures mean something beside others: the incumbent's, and those of the same train.py."""

from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from server.errors import AlreadyMeasured
from server.history.comparisons import assess_candidate, compare_figures, measured_noise, require_new
from server.history.ledger import Ledger
from server.metric import Metric
from server.records import Experiment, Figures, Purpose, Verdict
from server.task.definition import Task
from tests.support.builders import enter, experiment
from trainer.run.throughput import throughput, utilisation

AGAIN = {"of": 1, "purpose": Purpose.REFERENCE}


def test_each_figure_comes_with_its_change_against_the_incumbent() -> None:
    found = compare_figures(Figures(steps=110, tokens=90), Figures(steps=100, tokens=100, parameters=7), [])
    assert found.changes == {"steps": "+10.0 %", "tokens": "-10.0 %"} and not found.warnings
    assert not compare_figures(Figures(steps=110), None, []).changes
    own, before = (Figures.model_validate({"rss_mb": size, "profit": -size}) for size in (110.0, 100.0))
    assert compare_figures(own, before, []).changes == {"rss_mb": "+10.0 %", "profit": "-10.0 %"}


def test_what_makes_figures_doubtful_is_said() -> None:
    (repeated,) = compare_figures(Figures(epochs=1.26), None, []).warnings
    assert "1.3 times" in repeated
    (slow,) = compare_figures(
        Figures(tokens_per_second=750), None, [Figures(tokens_per_second=rate) for rate in (900, 1000, 1100)]
    ).warnings
    assert "750 tokens/s, 1,000 in other runs" in slow
    assert not compare_figures(Figures(tokens_per_second=850), None, [Figures(tokens_per_second=1000)]).warnings
    (busy,) = compare_figures(Figures(device="cpu", training_seconds=10, training_wall_seconds=25), None, []).warnings
    assert "2.5 s passed for each CPU second" in busy
    (shared,) = compare_figures(Figures(gpu_strangers="python (7)"), None, []).warnings
    assert "shared with python (7)" in shared


def test_the_pace_follows_from_steps_tokens_and_the_referees_seconds() -> None:
    assert throughput({"steps": 100, "tokens": 5000}, 10.0, 4000) == {
        "ms_per_step": 100.0,
        "tokens_per_second": 500.0,
        "epochs": 1.25,
    }
    assert throughput({"steps": 1, "tokens": 1}, 0.0, 1) == {}


def test_utilisation_is_against_the_device_that_is_there() -> None:
    half = 0.5 * 989.4e12 / (6 * 1e8)  # tokens a second at half of the peak
    assert utilisation("NVIDIA H200", half, 10**8) == pytest.approx(0.5)
    assert utilisation("NVIDIA H100 PCIe", half, 10**8) == pytest.approx(0.5 * 989.4 / 756)
    assert utilisation("cpu", half, 10**8) is None


@pytest.mark.parametrize(
    ("direction", "score", "verdict"),
    [("lower", 1.9, "promising"), ("lower", 2.1, "worse"), ("higher", 1.9, "worse"), ("higher", 2.1, "promising")],
)
@pytest.mark.parametrize("keep_rule", ["confirmed", "any"])
def test_a_candidate_is_judged_by_the_tasks_direction(
    tmp_path: Path, direction: str, score: float, verdict: str, keep_rule: str
) -> None:
    task = Task.model_validate(
        {"command": "bash bench.sh", "editable": "a", "direction": direction, "keep_rule": keep_rule}
    )
    rows = experiment(1, Verdict.BASELINE, 2.0, kept=True), experiment(2, Verdict.PROMISING, score)
    baseline, candidate = (
        row.model_copy(update={"attempt": row.attempt.model_copy(update={"task": task.sha256})}) for row in rows
    )
    with closing(Ledger(tmp_path / "ledger.sqlite3")) as ledger:
        enter(ledger, baseline, candidate)
        found = assess_candidate(ledger, candidate, task, simpler=False)
    assert found.verdict == ("improved" if keep_rule == "any" and verdict == "promising" else verdict)
    assert found.delta == pytest.approx(score - 2)


@pytest.mark.parametrize(("before", "now", "told"), [("a", "b", True), ("a", "a", False), ("", "b", False)])
def test_a_referee_whose_code_was_changed_is_told_of(tmp_path: Path, before: str, now: str, told: bool) -> None:
    rows = experiment(1, Verdict.BASELINE, 2.0, kept=True), experiment(2, Verdict.PROMISING, 1.9)
    code = zip(rows, (before, now), strict=True)
    first, then = (
        row.model_copy(update={"attempt": row.attempt.model_copy(update={"referee": referee})}) for row, referee in code
    )
    with closing(Ledger(tmp_path / "ledger.sqlite3")) as ledger:
        enter(ledger, first, then)
        why = assess_candidate(ledger, then, Task(), simpler=False).why
        again = experiment(3, Verdict.REFERENCE, 2.0)
        again = again.model_copy(update={"attempt": again.attempt.model_copy(update={**AGAIN, "referee": now})})
        enter(ledger, again)  # the incumbent's own run by the new one
        later = assess_candidate(ledger, then, Task(), simpler=False).why
    assert ("The referee is new" in why) is told and "The referee is new" not in later


def test_noise_is_measured_on_the_metrics_scale(tmp_path: Path) -> None:
    runs = [experiment(number, Verdict.REFERENCE, score) for number, score in ((2, 202.0), (3, 198.0))]
    again = [run.model_copy(update={"attempt": run.attempt.model_copy(update=AGAIN)}) for run in runs]
    with closing(Ledger(tmp_path / "ledger.sqlite3")) as ledger:
        baseline = experiment(1, Verdict.BASELINE, 200.0, kept=True)
        enter(ledger, baseline, *again)
        linear = measured_noise(ledger, baseline, Metric("seconds", "lower", "s"))
        log = measured_noise(ledger, baseline, Metric("seconds", "lower", "s", "log"))
    assert linear.sigma == pytest.approx(1.89, abs=0.01) and log.sigma == pytest.approx(linear.sigma / 200, rel=1e-3)


def test_a_candidates_first_score_and_its_confirmation_tell_of_the_noise(tmp_path: Path) -> None:
    baselines = [experiment(1, Verdict.BASELINE, 2.0, kept=True)]
    baselines += [_again(number, score, 1, Purpose.REFERENCE) for number, score in ((2, 2.02), (3, 1.98))]
    pairs = [experiment(4, Verdict.PROMISING, 1.8), _again(5, 1.801, 4, Purpose.CONFIRM)]
    with closing(Ledger(tmp_path / "ledger.sqlite3")) as ledger:
        enter(ledger, *baselines)
        busy = measured_noise(ledger, baselines[0], Metric("score", "lower"))
        enter(ledger, *pairs)
        later = measured_noise(ledger, baselines[0], Metric("score", "lower"))
    assert (busy.repeats, later.repeats) == (2, 3) and later.sigma < 0.85 * busy.sigma


def test_after_a_drift_the_later_runs_tell_the_noise(tmp_path: Path) -> None:
    scores = [2.0, 2.001, 2.0, 2.001, 2.0, 2.001, 3.0, 3.02, 3.0, 3.02, 3.0, 3.02]
    baseline = experiment(1, Verdict.BASELINE, scores[0], kept=True)
    runs = [_again(number, score, 1, Purpose.REFERENCE) for number, score in enumerate(scores[1:], 2)]
    with closing(Ledger(tmp_path / "ledger.sqlite3")) as ledger:
        enter(ledger, baseline, *runs)
        assert measured_noise(ledger, baseline, Metric("score", "lower")).sigma > 0.005


def _again(number: int, score: float, of: int, purpose: Purpose) -> Experiment:
    verdict = Verdict.REFERENCE if purpose is Purpose.REFERENCE else Verdict.CONFIRMATION
    run = experiment(number, verdict, score)
    return run.model_copy(update={"attempt": run.attempt.model_copy(update={"of": of, "purpose": purpose})})


@pytest.mark.parametrize(
    ("before", "now", "apart"), [(None, 1, False), (2, 4, False), (None, 2, True), (2, None, True)]
)
def test_runs_with_others_beside_them_are_compared_with_their_like_alone(
    tmp_path: Path, before: int | None, now: int | None, apart: bool
) -> None:
    rows = experiment(1, Verdict.BASELINE, 2.0, kept=True), experiment(2, Verdict.PROMISING, 1.9)
    among = zip(rows, (before, now), strict=True)
    baseline, candidate = (
        row.model_copy(
            update={"attempt": row.attempt.model_copy(update={"concurrency": count, "fingerprint": str(row.number)})}
        )
        for row, count in among
    )
    again = experiment(3, Verdict.REFERENCE, 2.0)
    again = again.model_copy(update={"attempt": again.attempt.model_copy(update={**AGAIN, "concurrency": now})})
    asked = ("cpu", "embedded", 300.0, None, (now or 1) > 1)
    with closing(Ledger(tmp_path / "ledger.sqlite3")) as ledger:
        enter(ledger, baseline, candidate)
        found = assess_candidate(ledger, candidate, Task(), simpler=False)
        same = pytest.raises(AlreadyMeasured) if not apart else nullcontext()
        with same:
            require_new(ledger, baseline.attempt.fingerprint, *asked)
        enter(ledger, again)
        after = assess_candidate(ledger, candidate, Task(), simpler=False)
    other = "beside other runs" if before else "with no run beside it"
    assert (f"Experiment 1 was measured {other}: it runs again first." in found.why) is apart
    assert (found.next is Purpose.REFERENCE) is apart and after.next is Purpose.CONFIRM
