"""What counts against a stage, and what a failure in the evaluation counts as."""

import json
import time
from pathlib import Path

import pytest

from tests.support.polling import until
from trainer.contract import AUDIT_FAILED, RunFile
from trainer.run.clock import RunEnded, StageClock, evasion
from trainer.run.run_folder import RunFolder


def test_the_time_in_which_train_py_was_stopped_for_another_run_counts_in_no_stage(tmp_path: Path) -> None:
    stage, began = StageClock(RunFolder(tmp_path)), time.monotonic()
    stage.enter("setup", 1000.0, "set-up")
    stage.rest = lambda: 3600.0
    stage.watch()
    assert -3600 <= stage.elapsed <= time.monotonic() - began - 3600 and stage.wall < 0
    stage.rest = float
    stage.enter("training", 1000.0, "training", cap=1000.0)
    stage.watch()
    assert 0 <= stage.elapsed < 1000 and 0 <= stage.wall < 1000
    stage.rested(-2000.0)
    with pytest.raises(RunEnded, match="took longer than its 1000 s"):
        stage.watch()


@pytest.mark.parametrize(
    ("outcome", "cause", "refutes", "ends"),
    [
        ("crashed", "left_early", True, ("invalid", AUDIT_FAILED)),
        ("crashed", "signal", True, ("invalid", AUDIT_FAILED)),
        ("crashed", "killed_from_outside", True, ("invalid", "")),
        ("crashed", "left_early", False, ("invalid", "")),
        ("oom", "", True, ("invalid", AUDIT_FAILED)),
        ("timeout", "", True, ("invalid", "")),
        ("invalid", "", True, ("invalid", AUDIT_FAILED)),
        ("invalid", "", False, ("invalid", "")),
        ("cancelled", "", True, ("cancelled", "")),
        ("env_fail", "neighbour", True, ("env_fail", "neighbour")),
    ],
)
def test_what_a_replica_does_of_its_own_accord_refutes_its_claims(
    outcome: str, cause: str, refutes: bool, ends: tuple[str, str]
) -> None:
    found = evasion(RunEnded(outcome, "It ended.", cause=cause), refutes)
    assert (found.outcome, found.cause) == ends


def test_how_fast_a_clock_of_cpu_seconds_runs_is_told(tmp_path: Path) -> None:
    stage = StageClock(RunFolder(tmp_path))
    stage.enter("training", 1000.0, "training", lambda: 25.0)
    stage.rested(-100.0)  # so much wall time has passed

    def told() -> dict[str, object]:
        stage.wait()
        return json.loads((tmp_path / RunFile.PROGRESS).read_text(encoding="utf-8"))

    until(lambda: "pace" in told())
    assert told()["pace"] == pytest.approx(0.25, abs=0.02)
