"""Another process of the server's account at work in a run's folder: accidents and cheap forgeries do not count."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from server.records import Experiment, Outcome, Verdict
from server.runs.executor import ending, new_key
from server.runs.local_executor import LocalExecutor
from server.runs.run_folder import RunFolder
from server.runs.spawn import trainer_hash
from server.study.phase import Phase
from server.study.study import Study
from tests.support.builders import attempt
from tests.support.lifecycle import measured
from tests.support.polling import ended, until
from tests.support.repositories import QUICK, make_repository
from tests.support.runs import local_executor
from trainer.contract import Order, RunFile, RunResult, Spec, public_half, sign
from trainer.run.run_folder import RunFolder as Written

SWAPPED = "raise SystemExit('another text')\n"
FORGED = measured(0.1).model_dump_json()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "work", QUICK)


@pytest.fixture
def executor(tmp_path: Path) -> LocalExecutor:
    return local_executor(tmp_path / "state", tmp_path, tmp_path)


def settled(study: Study) -> Experiment:
    until(lambda: study.phase() is not Phase.RUNNING)
    row = study.ledger.last()
    assert row
    return row


def test_files_that_are_changed_during_the_preflight_change_nothing(study: Study) -> None:
    program = study.workspace.program
    program.write_text(program.read_text(encoding="utf-8").replace("preflight: false", "preflight: true"), "utf-8")
    number = study.run("the baseline").number
    folder = study.runs.path(number)
    until(lambda: study.runs.of(number).progress().stage.startswith("preflight"))
    (folder / RunFile.TRAIN).write_text(SWAPPED, encoding="utf-8")
    spec = json.loads((folder / RunFile.SPEC).read_bytes())
    edited = json.dumps(spec | {"confine": True, "data": "/nonexistent", "seed": 7, "train_sha256": ""})
    (folder / RunFile.SPEC).write_text(edited, encoding="utf-8")
    (folder / RunFile.RESULT).write_text(FORGED, encoding="utf-8")
    early = study.settle()  # the supervisor lives, and has signed nothing; or it is done by now
    assert early and (early.running or early.verdict == Verdict.BASELINE)
    row = settled(study)
    assert row.verdict == Verdict.BASELINE and row.result and row.result.outcome is Outcome.FINISHED
    assert row.value and row.value > 1 and set(row.result.guards.values()) == {"switched off by the operator"}
    assert (folder / RunFile.TRAIN).read_text(encoding="utf-8") == SWAPPED
    assert row.attempt.referee == trainer_hash() and len(trainer_hash()) == 16


def supervised(folder: Path, spec: Spec, key: str) -> None:
    """Let a supervisor have this order."""
    code = "import os; os.environ['AUTORESEARCH_ORDER'] = '0'\nfrom trainer.supervisor import main; main()"
    told = Order(spec, key).to_json()
    subprocess.run([sys.executable, "-P", "-c", code, folder], input=told, text=True, check=True)


def test_a_train_py_that_is_swapped_before_the_supervisor_reads_it_is_not_run(executor: LocalExecutor) -> None:
    key, folder = new_key(executor), executor.runs.path(1)
    folder.mkdir(parents=True)
    (folder / RunFile.TRAIN).write_text(SWAPPED, encoding="utf-8")
    spec = Spec(1, "smoke", 42, 1.0, 1.0, 30.0, 30.0, "", "", str(folder), train_sha256="0" * 64)
    supervised(folder, spec, key)
    started = attempt(1).model_copy(update={"signer": public_half(key)})
    result = ending(executor, started, executor.runs.of(1))
    assert result and (result.outcome, result.cause) == (Outcome.ENV_FAIL, "run_folder_changed")
    assert "train.py was changed in the run folder" in result.reason and "0" * 12 in result.reason
    (folder / RunFile.TRAIN).unlink()
    supervised(folder, spec, key)
    assert "cannot be read" in executor.runs.of(1).result().reason  # pyright: ignore[reportOptionalMemberAccess]


def left(folder: Path, number: int, key: str) -> None:
    """What a supervisor with this key leaves."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = Spec(number, "smoke", 42, 1.0, 1.0, 30.0, 30.0, "", "", "", train_sha256="0" * 64)
    written = Written(folder)
    written.accept(Order(spec, key))
    written.end(RunResult("crashed", "train.py raised ValueError: no"))


def test_a_result_that_another_process_wrote_is_refused_after_a_restart_too(executor: LocalExecutor) -> None:
    key, folder = new_key(executor), RunFolder(executor.runs.path(1))
    started = attempt(1).model_copy(update={"signer": public_half(key)})
    left(folder.path, 1, key)
    assert key not in "".join(path.read_text() for path in folder.path.iterdir()), "nothing there signs another one"
    kept = ending(executor, started, folder)
    assert kept and kept.outcome is Outcome.CRASHED
    (folder.path / RunFile.RESULT).write_text(FORGED, encoding="utf-8")
    for forged in (None, "zz", "00" * 32 * 67, sign(new_key(executor), 1, "0" * 64, FORGED.encode())):
        if forged is not None:
            (folder.path / RunFile.SIGNATURE).write_text(forged, encoding="utf-8")
        refused = ending(executor, started, folder)
        assert refused and (refused.outcome, refused.cause, refused.score) == (Outcome.ENV_FAIL, "foreign_result", None)


def test_the_folder_of_another_run_in_the_place_of_this_one_is_refused(executor: LocalExecutor) -> None:
    key = new_key(executor)
    left(executor.runs.path(2), 2, key)  # signed by the same key, to show that the number counts
    executor.runs.path(2).rename(executor.runs.path(1))
    started = attempt(1).model_copy(update={"signer": public_half(key)})
    refused = ending(executor, started, executor.runs.of(1))
    assert refused and refused.cause == "foreign_result"
    executor.runs.path(1).rename(executor.runs.path(3))
    lost = ending(executor, started, executor.runs.of(1))
    assert lost and lost.outcome is Outcome.LOST


def test_a_run_that_an_earlier_version_began_is_taken_and_marked(executor: LocalExecutor) -> None:
    folder = executor.runs.path(1)
    folder.mkdir(parents=True)
    (folder / RunFile.RESULT).write_text(json.dumps(asdict(RunResult("crashed", "no"))), encoding="utf-8")
    result = ending(executor, attempt(1), executor.runs.of(1))
    assert result and result.outcome is Outcome.CRASHED
    assert result.reason == "no (not signed: an earlier version began this run)" and ended(executor).reason == "no"
