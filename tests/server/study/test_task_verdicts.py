"""A study of a task that is no language model's: what its scores and figures lead to, run by run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.api import history_views, views
from server.api.next_actions import next_calls
from server.records import Experiment, Figures, Outcome, Result, Score, Verdict
from server.serve_options import ServeOptions
from server.study import limits
from server.study.phase import Phase
from server.study.study import Study
from tests.support.builders import NOON
from tests.support.lifecycle import ran
from tests.support.repositories import STAND_INS, make_repository
from trainer.contract import AUDIT_FAILED, UNSCORED

LINE = "model = Bigram().to(session.device)"
TASK = """---
command: bash bench.sh
editable: train.py
metric: {name: ms, unit: ms}
metrics: {rss_mb: {share: 1.2}, cache: {weight: 1}}
"""


def result(score: float, **figures: float) -> Result:
    told = Figures.model_validate({"rss_mb": 100.0, **figures})
    known = Score.model_validate({"name": "ms", "value": score, "unit": "ms", "trust": "printed"})
    return Result(
        outcome=Outcome.FINISHED, reason="ok", score=known, figures=told, guards={"files": "held"}, finished_at=NOON
    )


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    repository = make_repository(tmp_path / "work", (STAND_INS / "honest.py").read_text(encoding="utf-8"))
    (repository / "program.md").write_text(f"{TASK}---\n", encoding="utf-8")
    study = Study(repository, "t1", ServeOptions(profile="smoke"))
    yield study
    study.close()


def settle(study: Study, more: str) -> None:
    study.workspace.program.write_text(f"{TASK}{more}---\n", encoding="utf-8")


def patch(study: Study, line: str = "model = Bigram()") -> None:
    study.apply_patch(f"<<<<<<< SEARCH\n{LINE}\n=======\n{line}\n>>>>>>> REPLACE")


def root(study: Study) -> Experiment:
    found = study.ledger.measured()
    assert found and found.judgement
    return found


def why(study: Study) -> str:
    found = root(study).judgement
    assert found
    return found.why


def exact_baseline(study: Study) -> None:
    for _ in range(2):
        ran(study, result(50))


def test_an_exact_gain_is_kept_after_one_confirmation_and_says_on_whose_word(study: Study) -> None:
    exact_baseline(study)
    patch(study)
    assert ran(study, result(49)).verdict == Verdict.PROMISING
    ran(study, result(49))
    assert study.phase() is Phase.IMPROVED and why(study).endswith("The score is printed by the code under test.")
    assert study.keep("one less").value == 49


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        (
            {"rss_mb": 121.0},
            "rss_mb is 121, 1.21 times the incumbent's 100; the limit is 1.2 (printed by the code under",
        ),
        ({"rss_mb": None}, "rss_mb has a bound in program.md, but the run gave no number of this name"),
        ({"rss_mb": 119.0, "cache": 5.0}, ""),
        ({"cache": None}, ""),
    ],
)
def test_a_figure_out_of_bounds_or_absent_is_not_kept(
    study: Study, figures: dict[str, float | None], words: str
) -> None:
    exact_baseline(study)
    patch(study)
    told = {name: value for name, value in {"rss_mb": 100.0, **figures}.items() if value is not None}
    one = result(40).model_copy(update={"figures": Figures.model_validate(told)})
    assert ran(study, one).verdict == (Verdict.GUARDRAIL if words else Verdict.PROMISING)
    assert words in why(study)


def test_a_bound_by_a_figure_that_the_incumbent_never_gave_is_told_and_can_be_met(study: Study) -> None:
    nothing = result(50).model_copy(update={"figures": Figures()})
    for _ in range(2):
        ran(study, nothing)
    patch(study)
    assert ran(study, result(40)).verdict == Verdict.GUARDRAIL and "no run of the incumbent gave that number" in why(
        study
    )
    study.discard("no bound")
    ran(study, result(50))
    patch(study)
    assert ran(study, result(40)).verdict == Verdict.PROMISING


def test_a_score_without_a_place_on_a_log_scale_is_told_at_once(study: Study) -> None:
    settle(study, "scale: log\n")
    assert ran(study, result(0)).verdict == Verdict.ENV_FAIL and study.phase() is Phase.BASELINE_FAILED
    assert why(study).startswith(
        "ms 0 has no place on a log scale, where scores are above 0. If such scores are intended, write `scale: linear`"
    )
    exact_baseline(study)
    patch(study)
    assert ran(study, result(40)).verdict == Verdict.PROMISING
    assert ran(study, result(-1)).verdict == Verdict.INVALID
    assert root(study).verdict == Verdict.INVALID and "ms -1 has no place on a log scale" in why(study)
    assert study.phase() is Phase.INVALID
    study.discard("below zero")
    assert study.phase() is Phase.IDLE


def test_negative_scores_are_as_good_as_others_on_a_linear_scale(study: Study) -> None:
    for _ in range(2):
        ran(study, result(-3))
    patch(study)
    for _ in range(2):
        ran(study, result(-4))
    assert study.phase() is Phase.IMPROVED and root(study).value == -4
    study.keep("less")
    assert limits.study_facts(study.workspace.state, study.ledger, study.program().task).value == -4


def test_another_direction_in_mid_study_begins_anew(study: Study) -> None:
    def value() -> float | None:
        return limits.study_facts(study.workspace.state, study.ledger, study.program().task).value

    settle(study, "stop: {target: 10}\n")
    exact_baseline(study)
    assert value() == 50 and not limits.why_study_over(study)
    settle(study, "direction: higher\nstop: {target: 10}\n")
    assert value() is None and not limits.why_study_over(study), "50 was measured where lower was better"
    patch(study)
    assert ran(study, result(60)).verdict == Verdict.PROMISING and "A new segment" in why(study)
    assert ran(study, result(50)).attempt.of == 1 and value() == 50
    study.discard("enough")
    assert "has reached the target of 10" in limits.why_study_over(study)


def test_no_audit_of_a_task_revokes_a_keep(study: Study) -> None:
    exact_baseline(study)
    patch(study)
    for _ in range(2):
        ran(study, result(49))
    kept = study.keep("better")
    reason = "The audit failed: so says the judge's own sentence."
    failed = Result(outcome=Outcome.INVALID, cause=AUDIT_FAILED, reason=reason, finished_at=NOON)
    assert ran(study, failed).attempt.of == kept.number
    assert study.ledger.incumbent() == kept and study.phase() is Phase.IDLE
    assert not study.ledger.revoked()


def test_a_wrong_answer_in_a_confirmation_ends_the_candidate(study: Study) -> None:
    exact_baseline(study)
    patch(study)
    ran(study, result(40))
    wrong = Result(outcome=Outcome.INVALID, reason="Case 7 has a wrong answer.", finished_at=NOON)
    assert ran(study, wrong).verdict == Verdict.INVALID
    assert root(study).verdict == Verdict.INVALID and study.phase() is Phase.INVALID
    told = why(study)
    assert told.startswith("It is not kept: experiment 4, a run of it, was invalid. Case 7 has a wrong answer.")
    study.settle()
    study.recover()
    assert why(study) == told
    study.discard("wrong")
    patch(study)
    assert ran(study, result(40)).verdict == Verdict.PROMISING, "the same code may be tried again"


def test_what_the_judge_can_score_is_known_of_the_incumbent_alone(study: Study) -> None:
    def proven() -> bool:
        plan, row = study.verdicts.plan(study.phase(), study.program().task), study.ledger.last()
        assert row
        told = row.attempt.model_copy(update={"baseline": False, "purpose": plan.purpose, "of": plan.of})
        return study.request(told, plan.candidate, "").limits.proven

    ran(study, Result(outcome=Outcome.ENV_FAIL, reason="The judge failed.", cause="judge", finished_at=NOON))
    assert not proven(), "nothing is scored"
    exact_baseline(study)
    assert not proven(), "it is the incumbent that is run again"
    patch(study)
    assert proven()
    ran(study, result(40))
    assert proven() and study.phase() is Phase.PROMISING


def test_runs_that_the_judge_cannot_score_are_told_after_some_and_end_nothing(study: Study) -> None:
    exact_baseline(study)
    odd = Result(outcome=Outcome.INVALID, reason="The judge cannot score it.", cause=UNSCORED, finished_at=NOON)
    for number in range(3):
        assert "the last 3 runs" not in next_calls(study)[0].why
        patch(study, f"model = Bigram() if {number} else Bigram()")
        assert ran(study, odd).verdict == Verdict.INVALID
        study.discard("odd")
    notice, *calls = next_calls(study)
    assert "could not score any of the last 3 runs" in notice.why and not notice.tool and calls[0].tool


def test_an_answer_about_a_task_has_no_figures_of_a_language_model(study: Study) -> None:
    ran(study, result(50))
    detail = history_views.show_experiment(study, 1).model_dump(mode="json")["detail"]
    assert detail["record"]["result"]["figures"] == {"rss_mb": 100.0}
    assert views.show_run(study).model_dump(mode="json")["figures"] == {"rss_mb": 100.0}
