"""What the ledger's rows amount to for a task that is no language model's: pairs, exact metrics, segments, trust."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from server.history import audit_failures, comparisons, lessons, segments
from server.history.ledger import Ledger
from server.records import Decision, Experiment, Outcome, Purpose, Result, Score, Trust, Verdict
from server.scoring.decision_rule import Assessment
from server.task.definition import Task
from tests.support.builders import NOON, attempt, enter, judged

BENCH = {"command": "bash bench.sh", "editable": ["src/**"]}
TIMED = {"metric": {"name": "ms", "unit": "ms", "source": "cpu"}, "scale": "log", "paired": True}
STEPS = Task.model_validate({**BENCH, "metric": "steps"})
PAIRED = Task.model_validate({**BENCH, **TIMED})
RATE = Task.model_validate({**BENCH, "metric": "rate", "direction": "higher", "scale": "log"})
HELD = {"files": "held"}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger(tmp_path / "ledger.sqlite3")) as ledger:
        yield ledger


def commit_of(number: int) -> str:
    return judged(number, Verdict.BASELINE).commit


class Study:
    """Rows of one task, each run after the other."""

    def __init__(self, ledger: Ledger, task: Task) -> None:
        self.ledger, self.task, self.number = ledger, task, 0
        self.trust, self.guards = Trust.JUDGED, HELD

    def run(self, score: float | None, of: int | None = None, purpose: Purpose = Purpose.MEASURE, **details: Any):
        self.number += 1
        incumbent = self.ledger.incumbent()
        made = attempt(self.number).model_copy(
            update={
                "of": of,
                "purpose": purpose,
                "task": self.task.sha256,
                "parent": incumbent.commit if incumbent else "f" * 40,
            }
        )
        known = {"name": self.task.measure.name, "value": score, "trust": self.trust, "details": details}
        result = Result(
            outcome=Outcome.INVALID if score is None else Outcome.FINISHED,
            reason="The answer to a case was wrong." if score is None else "ok",
            score=None if score is None else Score.model_validate(known),
            guards=self.guards,
            finished_at=NOON,
        )
        verdict = {Purpose.CONFIRM: Verdict.CONFIRMATION, Purpose.REFERENCE: Verdict.REFERENCE}.get(purpose)
        verdict = verdict or (Verdict.PROMISING if incumbent else Verdict.BASELINE)
        verdict = Verdict.INVALID if score is None else verdict
        kept = None if incumbent else Decision(kept=True, decided_at=NOON)
        row = Experiment(attempt=made, result=result, judgement=judged(self.number, verdict), decision=kept)
        enter(self.ledger, row)
        return row

    def again(self, of: int, score: float | None, **details: Any) -> Experiment:
        incumbent = self.ledger.incumbent()
        beside = incumbent is not None and incumbent.number == of
        return self.run(score, of, Purpose.REFERENCE if beside else Purpose.CONFIRM, **details)

    def pair(self, ratio: float, of: int | None = None, host: float = 1.0, stderr: float = 0.004) -> Experiment:
        """A paired run whose code took exp(ratio) times as long as the incumbent, which took 80 ms on a quiet host."""
        incumbent = self.ledger.incumbent()
        value = (incumbent.value if incumbent else None) or 80.0
        details: dict[str, Any] = {"log_ratio": ratio, "stderr": stderr, "pairs": 80, "incumbent": host * value}
        score = host * value * 2.718281828459045**ratio
        return self.run(score, **details) if of is None else self.again(of, score, **details)

    def keep(self, number: int) -> None:
        row, found = self.ledger.get(number), self.assess(number)
        assert row and row.result and found.verdict is Verdict.IMPROVED, found.why
        verdict = judged(number, found.verdict).model_copy(update={"value": found.value, "delta": found.delta})
        self.ledger.finish(number, row.result, verdict)
        self.ledger.decide(number, Decision(kept=True, decided_at=NOON))

    def assess(self, number: int, simpler: bool = False) -> Assessment:
        row = self.ledger.get(number)
        assert row
        return comparisons.assess_candidate(self.ledger, row, self.task, simpler)


def test_a_paired_candidate_needs_no_run_of_the_incumbent_and_no_drift_moves_it(ledger: Ledger) -> None:
    study = Study(ledger, PAIRED)
    for _ in range(3):
        study.pair(0.0, of=1 if study.number else None)
    first = study.pair(-0.1, host=3.0)
    assert comparisons.describe_run(first, PAIRED).endswith(", -9.52 % beside the incumbent (±0.4 %, 80 pairs)")
    assert study.assess(first.number).next is Purpose.CONFIRM
    study.pair(-0.1, first.number, host=0.5)
    found = study.assess(first.number)
    assert found.verdict is Verdict.IMPROVED and found.value == pytest.approx(80 * 0.904837, rel=1e-4)
    study.keep(first.number)
    second = study.pair(-0.1, host=2.0)
    study.pair(-0.1, second.number, host=4.0)
    study.keep(second.number)
    value, runs = comparisons.incumbent_value(ledger, ledger.get(second.number) or second, PAIRED)
    assert value == pytest.approx(80 * 0.904837**2, rel=1e-4) and runs == 1


def test_a_run_beside_another_incumbent_is_made_again(ledger: Ledger) -> None:
    study = Study(ledger, PAIRED)
    study.pair(0.0)
    early = study.pair(-0.3)
    other = study.pair(-0.3)
    study.pair(-0.3, other.number)
    study.keep(other.number)
    found = study.assess(early.number)
    assert found.next is Purpose.CONFIRM and "not measured together with experiment 3" in found.why
    study.pair(0.0, early.number)
    assert study.assess(early.number).verdict is Verdict.WITHIN_NOISE


def test_the_noise_of_paired_runs_is_that_of_their_gain(ledger: Ledger) -> None:
    study = Study(ledger, PAIRED)
    baseline = study.pair(0.0, stderr=0.02)
    assert comparisons.measured_noise(ledger, baseline, PAIRED.measure).sigma == pytest.approx(0.0217, abs=0.001)
    for ratio in (0.1, -0.1):
        study.pair(ratio, of=1, stderr=0.02)
    assert comparisons.measured_noise(ledger, baseline, PAIRED.measure).sigma > 0.06


@pytest.mark.parametrize("scores", [(100, 99), (100, 101)])
@pytest.mark.parametrize("direction", ["lower", "higher"])
@pytest.mark.parametrize("scale", ["linear", "log"])
def test_one_unit_counts_where_repeated_runs_are_exactly_alike(
    ledger: Ledger, scores: tuple[int, int], direction: str, scale: str
) -> None:
    study = Study(ledger, Task.model_validate({**BENCH, "metric": "steps", "direction": direction, "scale": scale}))
    study.run(scores[0])
    study.again(1, scores[0])
    candidate = study.run(scores[1])
    better = (scores[1] > scores[0]) == (direction == "higher")
    found = study.assess(candidate.number)
    assert found.verdict is (Verdict.PROMISING if better else Verdict.WORSE), found.why
    study.again(candidate.number, scores[1])
    found = study.assess(candidate.number)
    assert found.verdict is (Verdict.IMPROVED if better else Verdict.WORSE) and "exactly alike" in found.why
    assert found.value == scores[1]


def test_a_small_gain_is_not_given_up_before_the_noise_is_known(ledger: Ledger) -> None:
    study = Study(ledger, STEPS)
    study.run(1000)
    candidate = study.run(999)
    found = study.assess(candidate.number)
    assert found.next is Purpose.REFERENCE and "not known yet" in found.why
    study.again(1, 1000)
    assert study.assess(candidate.number).next is Purpose.CONFIRM
    assert study.assess(study.run(1000).number).verdict is Verdict.WITHIN_NOISE


def test_a_metric_that_moves_once_is_exact_no_more(ledger: Ledger) -> None:
    study = Study(ledger, STEPS)
    study.run(1000)
    study.again(1, 1000)
    candidate = study.run(999)
    study.again(candidate.number, 1001)
    assert study.assess(candidate.number).verdict is not Verdict.IMPROVED
    later = study.run(999)
    study.again(later.number, 999)
    assert comparisons.measured_noise(ledger, later, STEPS.measure).sigma > 0


def test_paired_runs_without_an_error_are_exact_until_one_moves(ledger: Ledger) -> None:
    study = Study(ledger, PAIRED)
    study.pair(0.0, stderr=0)
    first = study.pair(-0.0001, stderr=0)
    assert study.assess(first.number).next is Purpose.CONFIRM
    study.pair(-0.0001, first.number, stderr=0)
    assert study.assess(first.number).verdict is Verdict.IMPROVED
    second = study.pair(-0.0001, stderr=0)
    study.pair(0.01, second.number, stderr=0)
    assert study.assess(second.number).verdict is not Verdict.IMPROVED
    assert comparisons.measured_noise(ledger, study.pair(-0.0001, stderr=0), PAIRED.measure).sigma > 0


def test_a_small_paired_gain_is_not_given_up_before_the_spread_is_known(ledger: Ledger) -> None:
    study = Study(ledger, PAIRED)
    study.pair(0.0)
    study.task = Task.model_validate({**BENCH, **TIMED, "checks": "pytest -q"})
    found = study.assess(study.pair(-0.001, stderr=0).number)
    assert found.next is Purpose.CONFIRM and "not known yet" in found.why


def test_the_spread_within_a_run_tells_the_noise_before_anything_was_repeated(ledger: Ledger) -> None:
    study = Study(ledger, RATE)
    wide = study.run(200.0, spread=40.0, samples=9)
    assert comparisons.measured_noise(ledger, wide, RATE.measure).sigma == pytest.approx(0.2, rel=0.05)
    narrow = study.run(200.0, spread=0.2, samples=9)
    assert comparisons.measured_noise(ledger, narrow, RATE.measure).sigma == pytest.approx(0.0167, rel=0.05)


def test_times_are_assumed_to_move_more_than_counts(ledger: Ledger) -> None:
    sigmas = [
        comparisons.measured_noise(ledger, Study(ledger, task).run(50.0), task.measure).sigma
        for task in (Task.model_validate({**BENCH, "metric": {"source": "wall"}, "scale": "log"}),)
    ]
    assert sigmas == [pytest.approx(0.10)]


@pytest.mark.parametrize("changed", [{"direction": "higher"}, {"command": "bash other.sh"}, {"checks": "pytest -q"}])
def test_what_was_measured_by_another_task_is_never_compared(ledger: Ledger, changed: dict[str, Any]) -> None:
    study = Study(ledger, STEPS)
    study.run(1000)
    study.again(1, 1000)
    before = study.run(999)
    study.task = Task.model_validate({**BENCH, "metric": "steps", **changed})
    told = segments.changed_task(ledger, study.task.sha256)
    assert "experiment 3 (steps)" in told and "measured again first" in told
    assert not segments.changed_task(ledger, STEPS.sha256)
    assert study.assess(before.number).next is Purpose.CONFIRM, "it was measured by the old task"
    incumbent = ledger.incumbent()
    assert incumbent and comparisons.incumbent_value(ledger, incumbent, study.task) == (None, 0)
    candidate = study.run(500)
    found = study.assess(candidate.number)
    assert found.next is Purpose.REFERENCE and "A new segment" in found.why
    assert "by another definition of the task" in found.why
    study.again(1, 400)
    assert comparisons.incumbent_value(ledger, incumbent, study.task) == (400, 1)
    study.again(1, 400)
    better = changed.get("direction") == "higher"
    assert study.assess(candidate.number).verdict is (Verdict.PROMISING if better else Verdict.WORSE)
    assert "A new segment" not in study.assess(study.run(300).number).why
    with pytest.raises(comparisons.AlreadyMeasured):
        comparisons.require_new(ledger, "", "cpu", "embedded", 300, study.task.sha256)
    comparisons.require_new(ledger, "", "cpu", "embedded", 300, STEPS.sha256)


def test_a_paired_run_of_a_new_task_is_compared_at_once_and_its_value_with_none_of_before(ledger: Ledger) -> None:
    study = Study(ledger, PAIRED)
    study.pair(0.0)
    study.task = Task.model_validate({**BENCH, **TIMED, "command": "bash other.sh"})
    candidate = study.pair(-0.3, host=100.0)
    found = study.assess(candidate.number)
    assert found.next is Purpose.CONFIRM and "A new segment" in found.why and "again first" not in found.why
    study.pair(-0.3, candidate.number, host=90.0)
    found = study.assess(candidate.number)
    assert found.verdict is Verdict.IMPROVED and found.value == pytest.approx(8000 * 0.740818, rel=1e-4)


def test_what_nearly_won_is_told_by_the_noise_of_its_own_task(ledger: Ledger) -> None:
    study = Study(ledger, STEPS)
    for score in (1000, 1300, 1000, 1300):
        study.again(1, score) if study.number else study.run(score)
    study.task = RATE
    for score in (5.0, 5.0):
        study.again(1, score)
    row = study.run(4.9)
    assert row.result
    ledger.finish(row.number, row.result, judged(row.number, Verdict.WITHIN_NOISE, -0.1))
    assert lessons.near_misses(ledger, RATE.measure) == [], "repeated runs of this task are exactly alike"


@pytest.mark.parametrize("task", [STEPS, PAIRED])
def test_any_better_score_is_kept_where_program_md_says_so_but_not_across_tasks(ledger: Ledger, task: Task) -> None:
    study = Study(ledger, task.model_copy(update={"keep_rule": "any"}))
    study.pair(0.0)
    assert study.assess(study.pair(-0.0001).number).verdict is Verdict.IMPROVED
    assert study.assess(study.pair(0.0001).number).verdict is Verdict.WORSE
    if task is STEPS:
        study.task = Task.model_validate({**BENCH, "metric": "bytes", "keep_rule": "any"})
        assert study.assess(study.run(1).number).next is Purpose.REFERENCE


def test_any_better_score_of_a_language_model_is_not_one_of_a_task(ledger: Ledger) -> None:
    study = Study(ledger, STEPS.model_copy(update={"keep_rule": "any"}))
    study.run(1000)
    before = study.run(0.5)
    study.task = Task(keep_rule="any")
    assert study.assess(before.number).next is Purpose.CONFIRM, "it was measured by the old task"
    candidate = study.run(2.0)
    assert study.assess(candidate.number).next is Purpose.REFERENCE
    study.again(1, 2.5)
    assert study.assess(candidate.number).verdict is Verdict.IMPROVED


@pytest.mark.parametrize(
    ("trust", "guards", "words"),
    [
        (Trust.JUDGED, HELD, ""),
        (Trust.PRINTED, HELD, " The score is printed by the code under test."),
        (Trust.PRINTED, {}, " The score is printed by the code under test, and no guard held."),
        (Trust.JUDGED, {}, " No guard held: the code under test could do whatever the operator's account can do."),
    ],
)
def test_a_keep_on_a_score_that_could_be_made_up_says_so(
    ledger: Ledger, trust: Trust, guards: dict[str, str], words: str
) -> None:
    study = Study(ledger, STEPS)
    study.trust, study.guards = trust, guards
    for score in (1000, 1000):
        study.again(1, score) if study.number else study.run(score)
    candidate = study.run(900)
    assert "printed" not in study.assess(candidate.number).why, "nothing can be kept yet"
    study.again(candidate.number, 900)
    assert study.assess(candidate.number).why.endswith(f"so any gain counts.{words}")


def test_a_keep_on_a_time_that_the_referee_reads_of_a_command_does_not_say_that_it_was_printed(ledger: Ledger) -> None:
    study = Study(ledger, PAIRED)
    study.trust = Trust.PRINTED
    study.pair(0.0)
    candidate = study.pair(-0.3)
    study.pair(-0.3, candidate.number)
    found = study.assess(candidate.number)
    assert found.verdict is Verdict.IMPROVED and "the referee has read the number" in found.why
    assert "is printed by" not in found.why


def test_a_wrong_answer_ends_the_experiment_and_nothing_else(ledger: Ledger) -> None:
    study = Study(ledger, STEPS)
    baseline = study.run(1000)
    study.again(1, None)
    candidate = study.run(900)
    failed = study.again(candidate.number, None)
    found = audit_failures.failure(ledger, candidate)
    assert found and found.number == failed.number and "It is not kept" in audit_failures.ended(found)
    assert "Experiment 3 is not kept" in audit_failures.consequence(ledger, failed)
    assert audit_failures.alarm(ledger) == audit_failures.message(ledger) == "" and audit_failures.factor(ledger) == 1
    assert audit_failures.failure(ledger, baseline) is None
    assert not comparisons.reference(ledger, baseline, candidate, STEPS.measure).closed
