"""What audit failures cost the study: they are counted, a doubtful incumbent is told, later audits are denser."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.api import history_views, views
from server.cli.entry import app_of
from server.errors import TextEnded, WrongPhase
from server.history import audit_failures
from server.history.ledger import Ledger
from server.records import Experiment, Outcome, Purpose, Result, Revocation, Verdict
from server.runs.run_spec import RunLimits
from server.study import reruns
from server.study.phase import Phase
from server.study.study import Study
from tests.support.builders import NOON, attempt, crashed, enter, experiment, judged, only
from tests.support.failing_audits import (
    INVALID,
    LINE,
    opened,
    patch,
    promising_then_invalid,
    require_ended,
    root,
    set_rule,
)
from tests.support.lifecycle import measured, ran
from tests.support.polling import ended, until
from tests.support.repositories import QUICK
from trainer.run.run_folder import RunFolder

ONE_FAILURE = "1 audit failure, the last in experiment {}. Runs are now audited at 4 times as many positions."
DOUBTFUL = INVALID.model_copy(update={"reason": "Evaluating took 9.0 s more than batches of 0.10 s explain."})


def test_a_baseline_that_fails_its_audit_is_not_run_again(tmp_path: Path) -> None:
    study = opened(tmp_path / "work", "any")
    ran(study, INVALID)
    assert study.phase() is Phase.BASELINE_INVALID
    for move in (study.run, study.apply_patch, study.keep, study.discard):
        with pytest.raises(WrongPhase, match="experiment 1, a run of it, was invalid") as refused:
            move("x")
        assert "--tag" in refused.value.next_step
    lucky = ran(study, 2.0)
    assert lucky.verdict == Verdict.INVALID and not lucky.kept and study.ledger.incumbent() is None
    study.close()


def test_an_incumbent_that_fails_its_audit_is_told_and_not_run_again(ruled: Study) -> None:
    failed = ran(ruled, INVALID)
    assert failed.attempt.purpose is Purpose.REFERENCE and failed.judgement
    assert "The incumbent, experiment 1, is in doubt" in failed.judgement.why
    told = views.show_run(ruled)
    assert told.verdict == "invalid" and told.why and "in doubt" in told.why
    status = views.status(ruled)
    assert status.audit_failures == 1 and "The incumbent, experiment 1, is in doubt" in status.audits
    assert not [action for action in status.next_actions if action.startswith("run_experiment")]
    assert [action for action in status.next_actions if "in doubt" in action]
    with pytest.raises(TextEnded, match="experiment 4"):
        ruled.run("once more")
    with pytest.raises(TextEnded, match="experiment 4"):  # nor after the night
        reruns.rerun(ruled, [root(ruled)], reruns.RerunRequest(split="holdout"), lambda line: None)
    assert ruled.phase() is Phase.IDLE

    ruled.apply_patch(patch(f"{LINE}  # the incumbent with a comment"))
    require_ended(ruled, failed=4)
    ruled.discard("the same")
    ruled.apply_patch(patch("model = Bigram()"))
    for _ in range(7):
        if ruled.phase() not in (Phase.PATCHED, Phase.PROMISING):
            break
        assert ran(ruled, 1.9).attempt.purpose is not Purpose.REFERENCE
    assert "is in doubt" in (root(ruled).judgement or INVALID).model_dump_json()
    assert ruled.keep("better").number == 5
    assert views.status(ruled).audits == ONE_FAILURE.format(4)  # the incumbent is another


def test_a_doubtful_incumbent_whose_score_was_selected_is_no_lower_bar(strict: Study) -> None:
    strict.apply_patch(patch("model = Bigram()"))
    ran(strict, 1.9)
    ran(strict, 1.901)
    strict.keep("confirmed")
    ran(strict, DOUBTFUL)  # its first reference run, and nothing that its audit has found
    strict.apply_patch(patch("model = Bigram().float()", "model = Bigram()"))
    runs = [1.89, *[1.8995] * 3]
    assert [ran(strict, score).attempt.purpose for score in runs[:2]] == [Purpose.MEASURE, Purpose.CONFIRM]
    while strict.phase() is Phase.PROMISING:
        assert ran(strict, runs[-1]).attempt.purpose is Purpose.CONFIRM
    assert root(strict).verdict == Verdict.WITHIN_NOISE


def test_a_doubtful_incumbent_of_another_machine_leaves_no_candidate_open_for_ever(strict: Study) -> None:
    ran(strict, INVALID)
    strict.apply_patch(patch("model = Bigram()"))
    assert ran(strict, measured(1.5, device="another")).verdict == Verdict.WITHIN_NOISE
    assert "cannot run again" in (root(strict).judgement or INVALID).model_dump_json()
    assert strict.phase() is Phase.WORSE


def test_a_description_is_no_audit_failure(strict: Study) -> None:
    forged = attempt(4, description='","outcome":"invalid"')
    strict.ledger.begin(forged)
    strict.ledger.finish(4, crashed(), judged(4, Verdict.INVALID))
    assert strict.ledger.failed() == []


def three_failures(ruled: Study) -> None:
    for number in range(3):
        ruled.apply_patch(patch(f"model = Bigram().to(session.device, torch.float{number})"))
        ran(ruled, INVALID)
        ruled.discard("ended")


def test_status_lessons_and_report_count_the_failures(strict: Study) -> None:
    assert views.status(strict).audit_failures == 0
    promising_then_invalid(strict)  # one failure, two rows that say invalid
    status = views.status(strict)
    assert status.audit_failures == 1 and status.audits == ONE_FAILURE.format(5)
    strict.discard("ended")
    three_failures(strict)
    status = views.status(strict)
    assert (
        status.audit_failures == 4
        and "4 audit failures, the last in experiment 8. Runs are now audited at 16" in status.audits
    )
    found = history_views.lessons_reply(strict).lessons
    assert found and found.audit_failures == 4
    strict.close()
    for command in ("report", "history"):
        told = CliRunner().invoke(app_of(), [command, "--workspace", str(strict.workspace.root), "--tag", "t1"])
        assert told.exit_code == 0 and "4 audit failures, the last in experiment 8" in told.output, told.output


def test_each_false_claim_makes_later_audits_denser(strict: Study, data: Path) -> None:
    (strict.workspace.root / ".autoresearch" / "data").symlink_to(data)
    for number in range(4):
        strict.apply_patch(patch(f"model = Bigram().to(session.device, torch.float{number})"))
        assert audit_failures.factor(strict.ledger) == (1, 4, 4, 16)[number]
        assert audit_failures.factor(strict.ledger, Purpose.CONFIRM) == (4, 16, 16, 32)[number]
        if number in (0, 1, 2):
            ran(strict, INVALID)
            strict.discard("ended")
    assert audit_failures.factor(strict.ledger, Purpose.REFERENCE) == 16
    strict.replace(only(QUICK))
    run = strict.run("an honest one")
    spec = RunFolder(strict.runs.path(run.number)).spec()
    result = ended(strict.executor, run.number)
    assert spec.audit_factor == 16
    assert result.outcome is Outcome.FINISHED and result.figures.audits == 16 * 32, result
    assert (strict.settle() or run).result == result
    told = views.show_run(strict).figures
    assert told and told.audits == 512


def test_what_confirms_a_keep_is_asked_at_four_times_as_many_positions(strict: Study, data: Path) -> None:
    (strict.workspace.root / ".autoresearch" / "data").symlink_to(data)
    strict.replace(only(QUICK))
    ran(strict, 1.0)
    run = strict.run("again")
    assert run.attempt.purpose is Purpose.CONFIRM
    given = RunFolder(strict.runs.path(run.number))
    assert given.spec().audit_factor == 4
    result = ended(strict.executor, run.number)
    assert result.outcome is Outcome.FINISHED and result.figures.audits == 4 * 32, result


def on_a_cpu(folder: Path, rule: str = "confirmed") -> Study:
    """A study in which a baseline was kept, and a candidate is open that is no simpler."""
    study = opened(folder, rule)
    study.profile = "cpu"
    for score in (2.0, 2.002, 1.998):
        ran(study, score)
    study.apply_patch(patch("model = Bigram().to(session.device, torch.float32)"))
    return study


def limits(study: Study) -> RunLimits:
    """What is asked of the run that comes next."""
    plan = study.verdicts.plan(study.phase(), study.program().task)
    at = dict.fromkeys(("parent", "commit"), study.workspace.tip())
    told = {"purpose": plan.purpose, "of": plan.of, "profile": study.profile, **at}
    return study.request(attempt(99).model_copy(update=told), plan.candidate, "").limits


def test_on_a_cpu_a_first_look_asks_at_a_quarter_of_the_positions(tmp_path: Path, data: Path) -> None:
    with closing(on_a_cpu(tmp_path / "work")) as study:
        (study.workspace.root / ".autoresearch" / "data").symlink_to(data)
        study.replace(only(QUICK))
        looked = study.run("a first look")
        assert ended(study.executor, looked.number).figures.audits == 136
        assert (study.settle() or looked).result and study.discard("worse")
        study.replace(only(QUICK + "\n"))
        ran(study, 1.0)
        confirming = study.run("again")
        assert confirming.attempt.purpose is Purpose.CONFIRM
        assert ended(study.executor, confirming.number).figures.audits == 4 * 544


def test_no_first_look_decides_about_a_keep(tmp_path: Path) -> None:
    with closing(on_a_cpu(tmp_path / "work")) as study:
        assert limits(study).first_look
        ran(study, 1.0)
        assert not limits(study).first_look and limits(study).audit_factor == 4, "it is confirmed"
        study.discard("something else first")
        assert not limits(study).first_look and limits(study).audit_factor == 1, "the incumbent runs again"
        line = next(line for line in study.workspace.candidate().text.splitlines() if "session.log(" in line)
        study.apply_patch(patch("", line))
        assert not limits(study).first_look and limits(study).audit_factor == 4, "less code is kept after one run"


def test_upstreams_rule_has_no_first_look(tmp_path: Path) -> None:
    with closing(on_a_cpu(tmp_path / "work", "any")) as study:
        assert not limits(study).first_look and limits(study).audit_factor == 1


def test_one_accident_ends_the_first_looks_and_makes_confirmations_denser(tmp_path: Path) -> None:
    with closing(on_a_cpu(tmp_path / "work")) as study:
        ran(study, DOUBTFUL)
        study.discard("ended")
        study.apply_patch(patch("model = Bigram().to(session.device, torch.float64)"))
        assert not limits(study).first_look and limits(study).audit_factor == 1
        ran(study, 1.0)
        assert limits(study).audit_factor == 16


def test_what_had_a_first_look_is_not_kept_for_less_code_than_another_incumbent(strict: Study) -> None:
    last = next(line for line in strict.workspace.candidate().text.splitlines() if "session.log(" in line)
    strict.apply_patch(patch("", f"    model.zero_grad()\n{last}"))
    for score in (1.9, 1.9):
        ran(strict, score)
    smallest = strict.keep("confirmed")
    strict.apply_patch(patch(f"{last}\nsession.submit(model)", "session.submit(model)"))
    ran(strict, measured(1.9995, audit_factor=0))
    assert root(strict).verdict == Verdict.WORSE
    strict.ledger.revoke({smallest.number: Revocation(by=99, of=smallest.number, revoked_at=NOON)})
    found = strict.verdicts.assess(root(strict), strict.program().task)
    assert (found.verdict, found.next) == (Verdict.PROMISING, Purpose.CONFIRM), "it has more code than it was built on"


def test_a_rule_that_is_changed_keeps_nothing_that_had_a_first_look(strict: Study) -> None:
    strict.apply_patch(patch("model = Bigram()"))
    assert ran(strict, measured(1.999, audit_factor=0)).verdict == Verdict.WITHIN_NOISE
    set_rule(strict.workspace.root, "any")
    found = strict.verdicts.assess(root(strict), strict.program().task)
    assert (found.verdict, found.next) == (Verdict.PROMISING, Purpose.CONFIRM)
    assert "It is confirmed once more" in found.why
    ran(strict, measured(1.9995, audit_factor=4))
    assert strict.keep("it is lower").kept


def test_where_another_lane_has_failed_meanwhile_a_confirmation_is_made_once_more(strict: Study) -> None:
    strict.apply_patch(patch("model = Bigram()"))
    ran(strict, measured(1.9, audit_factor=0))
    number = ran(strict, measured(1.9, audit_factor=4)).number
    assert strict.phase() is Phase.IMPROVED
    failed = attempt(number + 1).model_copy(update={"lane": "b", "fingerprint": "f" * 64})
    strict.ledger.begin(failed)
    strict.ledger.finish(failed.number, INVALID, judged(failed.number, Verdict.INVALID))
    strict.verdicts.reassess(strict.lane, strict.program().task)
    assert strict.phase() is Phase.PROMISING and limits(strict).audit_factor == 16
    ran(strict, measured(1.9, audit_factor=16))
    assert strict.keep("it holds").kept


def test_a_run_that_is_being_scored_cannot_be_cancelled(strict: Study, data: Path) -> None:
    """A replica could wait where it meets a false claim, and whoever sees that could cancel the run."""
    (strict.workspace.root / ".autoresearch" / "data").symlink_to(data)
    waits = QUICK.replace('channel.send("logits"', 'time.sleep(0.5)\n            channel.send("logits"')
    assert waits != QUICK
    strict.replace(only(waits))
    number = strict.run("slow to answer").number
    until(lambda: strict.executor.handle(number).progress().stage == "evaluation")
    with pytest.raises(WrongPhase, match="is being scored, and ends by itself"):
        strict.cancel("it has been told to")
    assert ended(strict.executor, number).outcome is Outcome.FINISHED


def test_a_first_run_is_audited_as_ever_and_a_failed_audit_tells_so(strict: Study, data: Path) -> None:
    (strict.workspace.root / ".autoresearch" / "data").symlink_to(data)
    strict.replace(only(QUICK.replace("[-weights[token] for", "[-weights[token] / 2 for")))
    run = strict.run("half price")
    result = ended(strict.executor, run.number)
    assert result.outcome is Outcome.INVALID and result.figures.audits == 32
    assert strict.phase() is Phase.INVALID
    path = strict.runs.path(run.number) / "spec.json"
    old = json.loads(path.read_text(encoding="utf-8"))
    del old["audit_factor"]  # as an earlier version has left it
    path.write_text(json.dumps(old), encoding="utf-8")
    assert RunFolder(path.parent).spec().audit_factor == 1


@pytest.mark.parametrize(
    ("of", "result", "told"),
    [
        (1, INVALID, "The baseline, experiment 1, is in doubt"),
        (1, DOUBTFUL, "The baseline, experiment 1, is in doubt"),
        (2, INVALID, "This revokes experiment 2"),
        (2, DOUBTFUL, "Experiment 2 stays kept"),
        (3, INVALID, "This revokes experiment 3"),
        (3, DOUBTFUL, "The incumbent, experiment 3, is in doubt"),
        (4, INVALID, "So the code of experiment 4 is neither run again nor kept"),
    ],
)
def test_what_a_failure_means_is_told_by_what_became_of_the_code(
    tmp_path: Path, of: int, result: Result, told: str
) -> None:
    again = {"of": of, "purpose": Purpose.REFERENCE}
    failed = Experiment(attempt=attempt(5).model_copy(update=again), result=result)
    with closing(Ledger(tmp_path / "ledger.sqlite3")) as ledger:
        enter(ledger, *(experiment(number, Verdict.IMPROVED, 2.0, kept=number < 4) for number in range(1, 5)))
        assert audit_failures.consequence(ledger, failed).startswith(f" {told}")
