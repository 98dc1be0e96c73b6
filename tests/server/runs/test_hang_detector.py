"""When a supervisor counts as hung, and what is done then."""

import json
import signal
from pathlib import Path

import psutil
import pytest

from server.records import Outcome
from server.runs.cleanup import supervisors
from server.runs.hang_detector import HangDetector
from server.runs.run_folder import RunFolder
from server.runs.run_spec import RunLimits
from tests.support.builders import attempt
from tests.support.polling import ended, is_gone, processes_of, until
from tests.support.repositories import STAND_INS
from tests.support.runs import local_executor, start_run


def test_who_reports_is_never_hung_and_who_is_silent_gets_his_limits_and_a_chance(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(json.dumps({"setup_seconds": 300, "evaluation_seconds": 60}), encoding="utf-8")
    silence = HangDetector(RunFolder(tmp_path))
    for second in (0, 400, 800):
        (tmp_path / "progress.json").write_text(str(second), encoding="utf-8")
        assert not silence.broken(second)
    assert not silence.broken(1270)  # 300 + 60 and some slack
    assert not silence.broken(99_000)  # we were stopped ourselves: it gets another chance
    assert "said nothing for 98211 s" in silence.broken(99_011)
    (tmp_path / "progress.json").write_text("it goes on", encoding="utf-8")
    assert not silence.broken(99_012)


def test_runs_that_live_at_once_are_told_apart(tmp_path: Path) -> None:
    quiet, other = HangDetector(RunFolder(tmp_path / "quiet")), HangDetector(RunFolder(tmp_path / "other"))
    (tmp_path / "other").mkdir()
    told = ""
    for second in range(0, 140, 2):
        (tmp_path / "other" / "progress.json").write_text(str(second), encoding="utf-8")
        told = quiet.broken(second)
        assert not other.broken(second)
    assert "said nothing" in told


def test_a_cancel_is_answered_within_half_a_minute(tmp_path: Path) -> None:
    silence = HangDetector(RunFolder(tmp_path))
    assert not silence.broken(100)
    (tmp_path / "cancel").touch()
    told = [silence.broken(second) for second in range(101, 150)]
    assert not any(told[:40]) and "did not answer a cancel" in told[-1]


def test_a_stopped_supervisor_is_ended_with_its_run(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.runs.hang_detector.ANSWER_SECONDS", 0.2)
    monkeypatch.setattr("server.runs.hang_detector.CHANCE_SECONDS", 0.1)
    executor = local_executor(tmp_path / "a tag", data, tmp_path)
    terms = RunLimits(setup_seconds=300, evaluation_seconds=300, grace_seconds=0.5, preflight=False, confine=False)
    text = (STAND_INS / "hang.py").read_text(encoding="utf-8")
    start_run(executor, attempt(1).model_copy(update={"profile": "smoke"}), text, terms)
    until(lambda: processes_of(executor))
    (pid,) = supervisors(str(executor.runs.path(1)))
    psutil.Process(pid).send_signal(signal.SIGSTOP)
    executor.handle(1).cancel("enough")
    result = ended(executor)
    assert result.outcome is Outcome.LOST and "did not answer a cancel" in result.reason
    assert is_gone(pid) and not processes_of(executor)
    executor.require_free("smoke", {})
