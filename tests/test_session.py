"""A server killed between any two steps of a move is followed by one that finishes it."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from server.choices import Choices
from server.errors import LedgerUnavailable, StaleText, WorkspaceUnusable, WrongPhase
from server.experiment import Decision, Verdict
from server.phase import Move, Phase, legal
from server.session import Session
from server.structure import sha256
from tests.records import NOON
from tests.steps import PATCH, begin, improved, kept_baseline, leave_result, measured

PATIENCE = 60.0


@pytest.fixture
def restarted(repository: Path, night: Session):
    """Close the night and open it again, as after a kill."""
    opened: list[Session] = []

    def restart() -> Session:
        (opened[-1] if opened else night).close()
        opened.append(Session(repository, "t1", Choices(profile="smoke")))
        return opened[-1]

    yield restart
    for session in opened:
        session.close()


Restart = Callable[[], Session]


def test_a_row_without_ref_or_run_becomes_lost_and_the_loop_goes_on(night: Session, restarted: Restart) -> None:
    begin(night, 1)
    after = restarted()
    lost = after.ledger.get(1)
    assert lost and lost.verdict == Verdict.LOST and lost.val_bpb is None
    assert after.workspace.recorded(1) == lost.commit
    assert after.phase() is Phase.BASELINE_FAILED
    assert legal(after.phase(), Move.RUN_EXPERIMENT)


def test_a_result_that_nobody_saw_is_imported_once(night: Session, restarted: Restart) -> None:
    attempt = begin(night, 1)
    night.workspace.record(1, attempt.commit, None)
    leave_result(night, 1, measured(2.0))
    after = restarted()
    row = after.ledger.get(1)
    assert row and row.kept and after.workspace.tip() == row.commit == after.workspace.recorded(1)
    assert restarted().ledger.get(1) == row


def test_a_keep_that_reached_only_the_ledger_reaches_the_branch(night: Session, restarted: Restart) -> None:
    row = improved(night)
    night.ledger.decide(2, Decision(kept=True, decided_at=NOON))
    assert night.workspace.tip() != row.commit
    after = restarted()
    assert after.workspace.tip() == row.commit and after.phase() is Phase.IDLE


def test_a_discard_that_reached_only_the_ledger_reaches_the_file(night: Session, restarted: Restart) -> None:
    improved(night)
    night.ledger.decide(2, Decision(kept=False, decided_at=NOON))
    after = restarted()
    assert after.workspace.candidate() == after.incumbent_text() and after.phase() is Phase.IDLE


def test_a_keep_that_broke_off_is_finished_by_the_next_call(night: Session) -> None:
    row = improved(night)
    lock = night.workspace.root / ".git" / "refs" / "heads" / f"{night.workspace.branch}.lock"
    lock.touch()
    with pytest.raises(WorkspaceUnusable, match="Another git is at work"):
        night.keep("lower")
    lock.unlink()
    assert night.phase() is Phase.IDLE and night.workspace.tip() == row.commit
    assert "\tkeep\t" in (night.workspace.state / "results.tsv").read_text(encoding="utf-8").splitlines()[-1]


def test_keep_is_never_granted_twice_nor_to_what_is_not_better(night: Session) -> None:
    improved(night)
    assert night.keep("lower").kept
    for move in (night.keep, night.discard):
        with pytest.raises(WrongPhase):
            move("again")
    night.apply_patch(
        PATCH.replace("Bigram()\n>>", "Bigram().train()\n>>").replace("Bigram().to(session.device)", "Bigram()")
    )
    begin(night, 3)
    leave_result(night, 3, measured(1.9))  # equal is not lower
    with pytest.raises(WrongPhase, match=r"Not lower: val_bpb 1\.900000 against 1\.900000"):
        night.keep("equal")
    assert night.phase() is Phase.WORSE


def test_a_patch_against_an_older_text_is_refused(night: Session) -> None:
    kept_baseline(night)
    with pytest.raises(StaleText, match="was written against"):
        night.apply_patch(PATCH, base_sha256="0" * 64)
    before = night.workspace.candidate()
    night.apply_patch(PATCH, base_sha256=sha256(before))
    assert night.phase() is Phase.PATCHED
    assert night.discard("changed my mind") is None
    assert night.workspace.candidate() == before and night.phase() is Phase.IDLE


def test_an_edited_program_md_counts_from_the_next_call(night: Session) -> None:
    night.workspace.program.write_text("---\nbudget_seconds: 77\n---\n", encoding="utf-8")
    assert night.budget_seconds == 77


def test_a_ledger_that_cannot_be_written_starts_no_run(night: Session) -> None:
    night.ledger._connection.execute("PRAGMA query_only = 1")  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(LedgerUnavailable, match="readonly"):
        night.run("baseline")
    assert not night.runner.folder(1).exists() and night.ledger.last() is None
    night.ledger._connection.execute("PRAGMA query_only = 0")  # pyright: ignore[reportPrivateUsage]
    assert night.run("baseline, once more").number == 1


def test_a_failed_run_may_be_repaired_run_again_or_given_up(night: Session) -> None:
    kept_baseline(night)
    night.apply_patch(PATCH.replace("Bigram()\n>>", "no_such_name\n>>"))
    night.run("a slip")
    deadline = time.monotonic() + PATIENCE
    while night.phase() is Phase.RUNNING:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    crash = night.ledger.get(2)
    assert crash and crash.result and "no_such_name" in crash.result.reason
    assert night.phase() is Phase.FAILED
    night.apply_patch(PATCH.replace("Bigram().to(session.device)", "no_such_name"))
    assert night.phase() is Phase.PATCHED
    assert night.discard("enough") is None
    assert night.phase() is Phase.IDLE
