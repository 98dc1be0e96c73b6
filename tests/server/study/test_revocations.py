"""A keep that a later audit refutes is taken back: the branch, what was built on it, and everything that is told."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.api import history_views, views
from server.cli.entry import app_of
from server.errors import AlreadyMeasured, HeadMoved, TextEnded, WrongPhase
from server.history import audit_failures, revocations
from server.records import Experiment, Outcome, Purpose, Result, Verdict
from server.reporting.chart import picture
from server.study.phase import Phase
from server.study.study import Study
from tests.support.builders import NOON, judged
from tests.support.failing_audits import INVALID, LINE, opened, patch, root, set_rule
from tests.support.lifecycle import begin, leave_result, ran
from tests.support.repositories import git

FIRST = "model = Bigram()"
SECOND = "RATE = 0.04"
MACHINE = [
    "Evaluating took 9.0 s more than batches of 0.10 s explain.",
    "train.py left files that cannot be removed: Directory not empty.",
    "train.py's process ended during the evaluation. This counts as a failed audit, so that a run cannot choose its "
    "score by failing.",
]


def keep(study: Study, text: str, before: str, score: float) -> Experiment:
    """A change that is measured, confirmed where the rule asks for it, and kept."""
    study.apply_patch(patch(text, before))
    ran(study, score)
    confirm(study, score)
    return study.keep("better")


def confirm(study: Study, score: float) -> None:
    """The runs that decide: the candidate's have this score, the incumbent's its own."""
    while study.phase() is Phase.PROMISING:
        purpose, incumbent = (
            study.verdicts.plan(Phase.PROMISING, study.program().task).purpose,
            study.ledger.incumbent(),
        )
        assert incumbent and incumbent.value
        ran(study, score if purpose is Purpose.CONFIRM else incumbent.value)


def two_kept(study: Study) -> tuple[Experiment, Experiment]:
    """One keep, and another built on it."""
    return keep(study, FIRST, LINE, 1.9), keep(study, SECOND, "RATE = 0.03", 1.8)


def stands(study: Study, *numbers: int) -> None:
    """The ledger, the branch and the refs agree on what was kept and stands."""
    kept, root = study.ledger.kept(), study.workspace.root
    assert [row.number for row in kept] == list(numbers)
    assert study.workspace.tip() == kept[-1].commit and not study.head_moved
    assert [row.attempt.parent for row in kept[1:]] == [row.commit for row in kept[:-1]], "the chain is broken"
    for row in study.ledger.all():
        assert git(root, "rev-parse", f"refs/autoresearch/t1/{row.number}") == row.commit
        copy = git(root, "cat-file", "blob", f"refs/autoresearch-rows/t1/{row.number}")
        assert Experiment.model_validate_json(copy) == row


def test_a_keep_that_fails_a_later_audit_is_revoked(ruled: Study) -> None:
    first = keep(ruled, FIRST, LINE, 1.9)
    failed = ran(ruled, INVALID)
    assert failed.attempt.purpose is Purpose.REFERENCE and failed.attempt.of == first.number
    assert failed.judgement and f"This revokes experiment {first.number}" in failed.judgement.why
    stands(ruled, 1)
    row = ruled.ledger.get(first.number)
    assert row and row.revocation and row.revocation.by == failed.number and not row.kept and row.value is None
    assert (row.attempt, row.result, row.judgement, row.decision) == (
        first.attempt,
        first.result,
        first.judgement,
        first.decision,
    ), "a fact was changed"
    assert ruled.phase() is Phase.IDLE and ruled.lane.candidate() == ruled.incumbent()
    ruled.apply_patch(patch(FIRST))
    with pytest.raises(WrongPhase, match=f"experiment {failed.number}, a run of it, was invalid"):
        ruled.run("once more")


def test_what_was_built_on_a_revoked_keep_is_revoked_with_it_and_its_change_may_be_tried_again(loose: Study) -> None:
    first, second = two_kept(loose)
    loose.apply_patch(patch(LINE, FIRST))  # back to a text that has the code of neither
    loose.discard("not this")
    loose.replace(loose.workspace.files(first.commit))  # the first's text once more, at another budget
    failed = ran(loose, INVALID)
    stands(loose, 1)
    assert [row.number for row in loose.ledger.revoked()] == [first.number, second.number]
    assert {row.revocation and row.revocation.by for row in loose.ledger.revoked()} == {failed.number}
    loose.discard("ended")
    told = views.status(loose)
    assert f"So are the keeps that were built on it: {second.number}" in told.audits
    again = f"apply_patch(experiment={second.number})"
    assert any(action.startswith(again) for action in told.next_actions), told.next_actions
    loose.apply_patch("", number=second.number)
    assert SECOND in loose.lane.candidate().text and FIRST + "\n" not in loose.lane.candidate().text
    with pytest.raises(WrongPhase):
        loose.keep("it was kept before")
    ran(loose, 1.85)
    confirm(loose, 1.85)
    third = loose.keep("measured again")
    stands(loose, 1, third.number)
    assert not [action for action in views.status(loose).next_actions if again in action]


def test_a_change_that_was_measured_again_is_not_offered_once_more(loose: Study) -> None:
    first, second = two_kept(loose)
    loose.replace(loose.workspace.files(first.commit))
    ran(loose, INVALID)
    loose.discard("ended")
    assert "apply_patch" not in views.status(loose).audits  # it is said for the rest of the study
    loose.apply_patch("", number=second.number)
    ran(loose, Result(outcome=Outcome.LOST, reason="The machine was restarted.", finished_at=NOON))
    loose.discard("for now")
    assert revocations.untried(loose.ledger) == [second.number]
    loose.apply_patch("", number=second.number)
    ran(loose, 2.5)
    loose.discard("worse")
    assert revocations.untried(loose.ledger) == []


def test_the_whole_text_of_a_keep_that_was_revoked_for_its_base_may_be_measured_again(loose: Study) -> None:
    first, second = two_kept(loose)
    loose.replace(loose.workspace.files(first.commit))
    ran(loose, INVALID)
    loose.discard("ended")
    loose.replace(loose.workspace.files(second.commit))
    assert ran(loose, 1.8).verdict != Verdict.INVALID
    assert root(loose).attempt.fingerprint == second.attempt.fingerprint
    loose.discard("done")
    loose.replace(loose.workspace.files(second.commit))
    with pytest.raises(AlreadyMeasured):
        loose.run("and again")


def test_a_candidate_that_was_built_on_what_is_revoked_beside_it_may_not_be_kept(strict: Study) -> None:
    first = keep(strict, FIRST, LINE, 1.9)
    strict.apply_patch(patch(SECOND, "RATE = 0.03"))
    ran(strict, 1.8)
    ran(strict, 1.8)
    assert strict.phase() is Phase.PROMISING
    failed = ran(strict, INVALID)
    assert failed.attempt.of == first.number
    stands(strict, 1)
    assert strict.phase() is Phase.INVALID
    told = views.show_run(strict)
    assert told.why and f"built on experiment {first.number}, which is revoked" in told.why
    with pytest.raises(WrongPhase, match=r"nor kept\. Experiment \d+: It was built on") as refused:
        strict.keep("it was so low")
    assert "A run of this code" not in refused.value.problem  # its own runs have all passed
    strict.discard("its base is gone")
    assert strict.lane.candidate() == strict.incumbent()
    stands(strict, 1)
    strict.apply_patch("", number=root(strict).number)
    assert ran(strict, 1.85).verdict == Verdict.PROMISING


@pytest.mark.parametrize("reason", MACHINE)
def test_what_a_machine_may_have_done_revokes_nothing(strict: Study, reason: str) -> None:
    first = keep(strict, FIRST, LINE, 1.9)
    ran(strict, Result(outcome=Outcome.INVALID, reason=reason, finished_at=NOON))
    stands(strict, 1, first.number)
    assert audit_failures.factor(strict.ledger) == 1


def test_the_cause_counts_and_not_the_words(strict: Study) -> None:
    first = keep(strict, FIRST, LINE, 1.9)
    ran(strict, INVALID.model_copy(update={"reason": "In other words.", "cause": "audit"}))
    stands(strict, 1)
    assert strict.ledger.revoked()[0].number == first.number


def test_a_failure_that_contradicts_a_run_makes_later_audits_denser_at_once(strict: Study) -> None:
    keep(strict, FIRST, LINE, 1.9)
    assert audit_failures.factor(strict.ledger) == 1
    ran(strict, INVALID)
    assert audit_failures.factor(strict.ledger) == 4


def test_a_baseline_is_not_revoked(loose: Study) -> None:
    first, second = two_kept(loose)
    loose.replace(loose.workspace.files(loose.ledger.kept()[0].commit))
    ran(loose, INVALID)
    stands(loose, 1, first.number, second.number)


def test_a_revocation_is_told_wherever_the_study_is_told(strict: Study) -> None:
    first = keep(strict, FIRST, LINE, 1.9)
    failed = ran(strict, INVALID)
    status = views.status(strict)
    said = f"Experiment {failed.number}, a run of experiment {first.number}'s code, failed its audit"
    assert said in status.audits and status.incumbent and status.incumbent.experiment == 1
    assert [note.text.startswith(said) for note in strict.notebook.notes] == [True]
    (row,) = history_views.list_experiments(strict, 9, 0, "revoked").rows
    assert (row.experiment, row.decision, row.value, row.delta) == (first.number, "revoked", None, None)
    lines = (strict.workspace.state / "results.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[-1].split("\t")[1::2] == ["", "crash"]
    assert f"{first.number}: revoked" in " ".join(status.memory.recent) and len(status.memory.path) == 1
    assert "1 kept, 1 revoked" in picture(list(strict.ledger.all()), strict.program().task.measure).axes[0].get_title(
        loc="left"
    )
    lessons = history_views.lessons_reply(strict).lessons
    assert lessons and sum(gain.kept for gain in lessons.gains) == 0
    strict.close()
    for command in ("report", "history"):
        told = CliRunner().invoke(app_of(), [command, "--workspace", str(strict.workspace.root), "--tag", "t1"])
        assert told.exit_code == 0 and said in told.output, told.output


def test_a_revoked_line_of_the_table_is_written_anew_however_old_it_is(loose: Study) -> None:
    first, second = two_kept(loose)
    for number in range(3):
        loose.apply_patch(patch(f"RATE = 0.05{number}", SECOND))
        ran(loose, 2.5)
        loose.discard("worse")
    table = loose.workspace.state / "results.tsv"
    assert [line.split("\t")[3] for line in table.read_text(encoding="utf-8").splitlines()[1:4]] == ["keep"] * 3
    loose.replace(loose.workspace.files(first.commit))
    ran(loose, INVALID)
    states = [line.split("\t")[3] for line in table.read_text(encoding="utf-8").splitlines()[1:4]]
    assert states == ["keep", "crash", "crash"] and second.number < root(loose).number


@pytest.mark.parametrize("loss", ["nothing", "ledger", "copies", "branch"])
def test_a_revocation_survives_a_restart_and_whatever_is_lost(loose: Study, loss: str) -> None:
    two_kept(loose)
    ran(loose, INVALID)
    rows, rule = list(loose.ledger.all()), loose.program().task.keep_rule
    numbers = [row.number for row in rows if row.kept]
    loose.close()
    if loss == "ledger":
        (loose.workspace.state / "ledger.sqlite3").unlink()
    if loss == "copies":
        for row in rows:
            git(loose.workspace.root, "update-ref", "-d", f"refs/autoresearch-rows/t1/{row.number}")
    if loss == "branch":
        git(loose.workspace.root, "update-ref", "-d", "refs/heads/autoresearch/t1")
    again = opened(loose.workspace.root, rule)
    assert list(again.ledger.all()) == rows
    stands(again, *numbers)
    assert sum("failed its audit" in note.text for note in again.notebook.notes) == 1
    again.close()


def test_a_ledger_of_before_the_revocation_takes_it_over_from_git(strict: Study, tmp_path: Path) -> None:
    keep(strict, FIRST, LINE, 1.9)
    run = begin(strict, (strict.ledger.last() or root(strict)).number + 1)
    ledger = strict.workspace.state / "ledger.sqlite3"
    yesterday = ledger.read_bytes()
    leave_result(strict, run.number, INVALID)
    strict.settle()
    rows = list(strict.ledger.all())
    strict.close()
    ledger.write_bytes(yesterday)
    again = opened(strict.workspace.root, "confirmed")
    assert list(again.ledger.all()) == rows
    stands(again, 1)
    again.close()


def test_a_doubtful_incumbent_of_an_earlier_version_is_revoked_by_this_one(strict: Study) -> None:
    first = keep(strict, FIRST, LINE, 1.9)
    run = begin(strict, first.number + 2)
    assert run.purpose is Purpose.REFERENCE
    old = judged(run.number, Verdict.INVALID).model_copy(update={"commit": run.commit})
    before = strict.ledger.finish(run.number, INVALID, old)
    strict.close()
    again = opened(strict.workspace.root, "confirmed")
    stands(again, 1)
    assert again.ledger.revoked()[0].revocation and again.ledger.get(run.number) == before
    again.close()


def test_a_branch_that_somebody_else_has_moved_is_left_to_them(loose: Study) -> None:
    first = keep(loose, FIRST, LINE, 1.9)
    head, workspace = "refs/heads/autoresearch/t1", loose.workspace.root
    run = begin(loose, (loose.ledger.last() or first).number + 1)
    theirs = git(workspace, "rev-parse", f"{first.attempt.parent}^")
    git(workspace, "update-ref", head, theirs)
    leave_result(loose, run.number, INVALID)
    loose.settle()
    assert git(workspace, "rev-parse", head) == theirs and "somebody else moved it" in loose.head_moved
    assert '"revocation":' in git(workspace, "cat-file", "blob", f"refs/autoresearch-rows/t1/{first.number}")
    with pytest.raises(HeadMoved):
        loose.apply_patch(patch(FIRST))
    git(workspace, "update-ref", head, first.commit)  # back to where it was: then the move is finished
    loose.close()
    again = opened(workspace, loose.program().task.keep_rule)
    stands(again, 1)
    again.close()


def test_a_rule_that_is_loosened_afterwards_brings_nothing_back(strict: Study) -> None:
    keep(strict, FIRST, LINE, 1.9)
    ran(strict, INVALID)
    set_rule(strict.workspace.root, "any")
    stands(strict, 1)
    strict.apply_patch(patch(FIRST))
    with pytest.raises((WrongPhase, TextEnded)):
        strict.run("under another rule")
