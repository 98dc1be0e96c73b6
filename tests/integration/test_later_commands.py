"""Commands for a study that is over, as the operator types them: real runs of both programs, and what is printed."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from server.serve_options import ServeOptions
from server.study.study import Study
from tests.support.builders import only
from tests.support.command_line import Done, run_command
from tests.support.lifecycle import ran
from tests.support.repositories import QUICK, make_repository

pytestmark = pytest.mark.integration


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """One with a study whose runs cost little: a baseline, and a kept change."""
    root = make_repository(tmp_path / "work", QUICK)
    with closing(Study(root, "t1", ServeOptions(profile="smoke"))) as study:
        ran(study, 2.5)
        study.replace(only(QUICK.replace("RATE = 1e-6", "RATE = 1e-5")))
        ran(study, 2.4)
        study.keep("it is better")
    # What a study on a cluster leaves for later commands: here the cheapest profile, and no guards.
    study.workspace.paths.engine.write_text(json.dumps({"profile": "smoke", "confine": False}), encoding="utf-8")
    return root


def said(workspace: Path, *words: str) -> str:
    """What a command prints. It must succeed."""
    done: Done = run_command(*words, "--workspace", workspace)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_transfer_runs_both_again_for_the_time_that_is_asked_for(workspace: Path) -> None:
    lines = said(workspace, "transfer", "2", "--seeds", "1", "--budget", "0.5").splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == ["experiment 1", "experiment 2"]
    assert all("on validation text; at night 2." in line for line in lines[:2]), lines
    assert " → " in lines[-1] and "with one run each, it may be luck" in lines[-1]
    assert len(json.loads(said(workspace, "history", "--json"))["experiments"]) == 2  # a rerun is no experiment


@pytest.mark.thorough
def test_report_asks_the_hidden_text(workspace: Path) -> None:
    told = said(workspace, "report", "--hidden")
    assert told.count(" on hidden text; at night 2.") == 2, told
    page = json.loads(said(workspace, "report", "--json"))
    assert page["summary"]["hidden"], page
