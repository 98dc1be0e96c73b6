"""A server killed between any two steps of a move is followed by one that finishes it."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from server.api import views
from server.errors import LedgerUnavailable, PatchRefused, StaleText, WorkspaceUnusable, WrongPhase
from server.records import Decision, Verdict
from server.runs.hardware import Hardware, probe
from server.serve_options import ServeOptions
from server.study.phase import Move, Phase, legal
from server.study.study import Study
from tests.support.builders import NOON
from tests.support.lifecycle import PATCH, begin, improved, kept_baseline, leave_result, measured, ran
from tests.support.polling import until


@pytest.fixture
def restarted(repository: Path, study: Study):
    """Close the night and open it again, as after a kill."""
    opened: list[Study] = []

    def restart() -> Study:
        (opened[-1] if opened else study).close()
        opened.append(Study(repository, "t1", ServeOptions(profile="smoke")))
        return opened[-1]

    yield restart
    for other in opened:
        other.close()


Restart = Callable[[], Study]


def test_a_row_without_ref_or_run_becomes_lost_and_the_loop_goes_on(study: Study, restarted: Restart) -> None:
    begin(study, 1)
    after = restarted()
    lost = after.ledger.get(1)
    assert lost and lost.verdict == Verdict.LOST and lost.score is None
    assert after.workspace.recorded(1) == lost.commit
    assert after.phase() is Phase.BASELINE_FAILED
    assert legal(after.phase(), Move.RUN_EXPERIMENT)


def test_a_result_that_nobody_saw_is_imported_once(study: Study, restarted: Restart) -> None:
    attempt = begin(study, 1)
    study.workspace.record(1, attempt.commit, None)
    leave_result(study, 1, measured(2.0))
    after = restarted()
    row = after.ledger.get(1)
    assert row and row.kept and after.workspace.tip() == row.commit == after.workspace.recorded(1)
    assert restarted().ledger.get(1) == row


def test_a_keep_that_reached_only_the_ledger_reaches_the_branch(study: Study, restarted: Restart) -> None:
    row = improved(study)
    study.ledger.decide(2, Decision(kept=True, decided_at=NOON))
    assert study.workspace.tip() != row.commit
    after = restarted()
    assert after.workspace.tip() == row.commit and after.phase() is Phase.IDLE


def test_a_discard_that_reached_only_the_ledger_reaches_the_file(study: Study, restarted: Restart) -> None:
    improved(study)
    study.ledger.decide(2, Decision(kept=False, decided_at=NOON))
    after = restarted()
    assert after.workspace.candidate() == after.incumbent() and after.phase() is Phase.IDLE


def test_a_keep_that_broke_off_is_finished_by_the_next_call(study: Study) -> None:
    row = improved(study)
    lock = study.workspace.root / ".git" / "refs" / "heads" / f"{study.workspace.branch}.lock"
    lock.touch()
    with pytest.raises(WorkspaceUnusable, match="Another git process works"):
        study.keep("lower")
    lock.unlink()
    assert study.phase() is Phase.IDLE and study.workspace.tip() == row.commit
    assert "\tkeep\t" in (study.workspace.state / "results.tsv").read_text(encoding="utf-8").splitlines()[-1]


def test_keep_is_never_granted_twice_nor_to_what_is_not_better(study: Study) -> None:
    improved(study)
    assert study.keep("lower").kept
    for move in (study.keep, study.discard):
        with pytest.raises(WrongPhase):
            move("again")
    study.apply_patch(
        PATCH.replace("Bigram()\n>>", "Bigram().train()\n>>").replace("Bigram().to(session.device)", "Bigram()")
    )
    begin(study, 3)
    leave_result(study, 3, measured(1.9))  # equal is not lower
    with pytest.raises(WrongPhase, match=r"Not lower: val_bpb 1\.900000 against 1\.900000"):
        study.keep("equal")
    assert study.phase() is Phase.WORSE


def test_a_patch_against_an_older_text_is_refused(study: Study) -> None:
    kept_baseline(study)
    with pytest.raises(StaleText, match="was written against"):
        study.apply_patch(PATCH, base_sha256="0" * 64)
    before = study.workspace.candidate()
    study.apply_patch(PATCH, base_sha256=before.sha256)
    assert study.phase() is Phase.PATCHED
    assert study.discard("changed my mind") is None
    assert study.workspace.candidate() == before and study.phase() is Phase.IDLE


def test_an_edited_program_md_counts_from_the_next_call(study: Study) -> None:
    study.workspace.program.write_text("---\nbudget_seconds: 77\n---\n", encoding="utf-8")
    assert study.budget_seconds() == 77


def test_a_ledger_that_cannot_be_written_starts_no_run(study: Study) -> None:
    study.ledger._connection.execute("PRAGMA query_only = 1")  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(LedgerUnavailable, match="readonly"):
        study.run("baseline")
    assert not study.runs.path(1).exists() and study.ledger.last() is None
    study.ledger._connection.execute("PRAGMA query_only = 0")  # pyright: ignore[reportPrivateUsage]
    assert study.run("baseline, once more").number == 1


def test_a_failed_run_may_be_repaired_run_again_or_given_up(study: Study) -> None:
    kept_baseline(study)
    study.apply_patch(PATCH.replace("Bigram()\n>>", "no_such_name\n>>"))
    study.run("a slip")
    until(lambda: study.phase() is not Phase.RUNNING)
    crash = study.ledger.get(2)
    assert crash and crash.result and "no_such_name" in crash.result.reason
    assert study.phase() is Phase.FAILED
    study.apply_patch(PATCH.replace("Bigram().to(session.device)", "no_such_name"))
    assert study.phase() is Phase.PATCHED
    assert study.discard("enough") is None
    assert study.phase() is Phase.IDLE


def test_a_study_keeps_the_profile_of_its_rows_where_the_machine_would_get_another(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {"gpu": "one", "gpu_memory_gb": 24.0, "gpu_kind": "8.9", "gpus": 1, "driver": "1"}
    machine = probe().model_copy(update=facts)
    monkeypatch.setattr("server.study.study.probe", lambda: machine)
    first = Study(repository, "a", ServeOptions(profile="gpu-small"))
    ran(first, 2.0)
    first.close()
    again = Study(repository, "a")
    assert again.profile == "gpu-small"
    assert set(views.status(again).model_dump()["environment"]) == set(Hardware.model_fields)
    again.close()
    fresh = Study(repository, "b")
    assert fresh.profile == "gpu-24gb"
    fresh.close()


def test_weights_in_the_text_are_refused_and_a_row_tells_what_its_text_can_carry(study: Study) -> None:
    kept_baseline(study)
    before, weights = study.lane.candidate(), Random(1).randbytes(8000).hex()
    with pytest.raises(PatchRefused, match="an experiment may add"):
        study.apply_patch(PATCH.replace(">>>>>>> REPLACE", f'W = "{weights}"\n>>>>>>> REPLACE'))
    assert study.lane.candidate() == before
    study.lane.write(before.with_file("train.py", f'{before.text}\nW = "{weights}"\n'))  # past apply_patch
    with pytest.raises(PatchRefused, match="an experiment may add"):
        study.run("a table")
    study.lane.write(before.with_file("train.py", f"{before.text}\nW = 1\n"))
    row = study.run("a constant")
    assert row.attempt.compressed_bytes == study.lane.candidate().compressed_bytes > before.compressed_bytes
    study.cancel("enough was seen")
    until(lambda: (last := study.settle()) is not None and not last.running)


def test_a_ledger_that_a_failing_disk_let_open_for_reading_alone_is_opened_again(study: Study) -> None:
    kept_baseline(study)
    barred = study.ledger
    # SQLite refuses a write to both in the same way.
    barred._connection.execute("PRAGMA query_only = ON")  # pyright: ignore[reportPrivateUsage]
    study.apply_patch(PATCH)
    with pytest.raises(LedgerUnavailable, match="readonly"):
        begin(study, 2)
    assert barred.gone
    study.settle()
    assert study.ledger is not barred
    assert ran(study, 1.9).verdict == Verdict.IMPROVED
