"""A researcher without an LLM: proposals for the knobs that program.md declares, through the real server."""

import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import ValidationError

from server.clients.optuna_search import OptunaSearch
from server.errors import Unavailable
from server.history.ledger import Ledger
from server.paths import StudyPaths
from server.records import Purpose, Verdict
from server.serve_options import ServeOptions
from server.study.find_study import OperatorRequest, write_request
from server.study.study import Study
from server.task.definition import Task
from server.task.fields import Range
from tests.support.builders import attempt, enter, experiment, only
from tests.support.lifecycle import ran
from tests.support.polling import PATIENCE
from tests.support.repositories import QUICK, UNGUARDED, make_quick
from tests.support.webhook import webhook

CHEAT = QUICK.replace("[-weights[token] for", "[-weights[token] * 0.5 for")


def drive_sweep(repository: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    words = ["drive", "sweep", "--workspace", str(repository), "--experiments", "1", "--"]
    words += ["--tag", "t1", "--profile", "smoke", *UNGUARDED]
    return subprocess.run(
        [sys.executable, "-c", "from server.cli import main; main()", *words],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "COLUMNS": "300", **environment},
        timeout=PATIENCE,
    )


@pytest.mark.slow
def test_proposals_are_judged_like_any_idea_and_their_end_is_told_and_reported(tmp_path: Path, data: Path) -> None:
    repository = make_quick(tmp_path / "work", data)
    (repository / "program.md").write_text(
        "---\nbudget_seconds: 0.5\nbaseline_runs: 1\npreflight: false\nknobs: {RATE: {low: 0.01, high: 0.05}}\n---\n",
        encoding="utf-8",
    )
    with webhook() as service:
        done = drive_sweep(repository, AUTORESEARCH_NOTIFY=service.url)
    told = done.stderr
    assert done.returncode == 0 and "RATE = 0.0" in told and "improved, kept" in told, told
    assert re.search(r"1 proposal is done: \d runs?; see `autoresearch history`, or .*report\.html", told), told
    paths = StudyPaths(repository / ".autoresearch" / "t1")
    with closing(Ledger(paths.ledger, read_only=True)) as ledger:
        assert [row.attempt.description[:3] for row in ledger.all() if row.attempt.of is None] == ["bas", "TPE"]
    assert "RATE" in paths.report.read_text(encoding="utf-8")
    assert [(sent["event"], sent["title"]) for _, sent in service.requests] == [
        ("over", "t1 is over: 1 proposal is done")
    ]


def test_a_search_that_is_started_again_knows_what_the_first_has_measured(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path / ".autoresearch" / "t1")
    paths.state.mkdir(parents=True)
    told = {
        2: ("TPE: RATE = 0.02, STEPS = 3, KIND = b", 1.5),
        3: ("an agent's own: RATE = 0.02", 1.4),
        4: ("TPE: RATE = 0.9, STEPS = 3, KIND = b", 1.3),  # beyond what program.md says by now
        5: ("TPE: RATE = 0.03, STEPS = 4, KIND = a", 1.2),
        6: ("TPE: RATE = much, STEPS = 4, KIND = a", 1.1),
    }
    rows = [experiment(1, Verdict.BASELINE, 2.0)]
    for number, (said, value) in told.items():
        row = experiment(number, Verdict.WORSE, value)
        rows.append(row.model_copy(update={"attempt": attempt(number, said)}))
    with closing(Ledger(paths.ledger)) as ledger:
        enter(ledger, *rows)
    knobs = {
        "RATE": Range(low=0.01, high=0.05),
        "STEPS": Range(low=1, high=9, integer=True),
        "KIND": Range(choices=["a", "b"]),
    }
    search = OptunaSearch(tmp_path, ["--tag", "t1"], Task(knobs=knobs))
    search.recall()
    assert [(trial.params, trial.value) for trial in search.study.trials] == [
        ({"RATE": 0.02, "STEPS": 3, "KIND": "b"}, 1.5),
        ({"RATE": 0.03, "STEPS": 4, "KIND": "a"}, 1.2),
    ]
    other = OptunaSearch(tmp_path, ["--tag", "t2"], Task(knobs=knobs))
    other.recall()
    assert not other.study.trials
    first, second = (search.study.ask().suggest_float("RATE", 0.01, 0.05) for search in (other, search))
    assert first != second, "what is drawn at first is not drawn again"


@pytest.mark.thorough
async def test_a_search_goes_on_where_a_repeat_of_the_baseline_fails_its_audit(tmp_path: Path, data: Path) -> None:
    repository = make_quick(tmp_path / "work", data, CHEAT)
    (repository / "program.md").write_text("---\nbudget_seconds: 0.5\npreflight: false\n---\n", encoding="utf-8")
    with closing(Study(repository, "t1", ServeOptions(profile="smoke"))) as study:
        ran(study, 2.0)  # the first audit has not seen it
    search = OptunaSearch(
        repository, ["--tag", "t1", "--profile", "smoke"], Task(knobs={"RATE": Range(low=0.01, high=0.05)})
    )
    assert await search.run(0, 1, lambda line: None) == "1 proposal is done"
    with closing(Ledger(repository / ".autoresearch" / "t1" / "ledger.sqlite3", read_only=True)) as ledger:
        assert ledger.failed() == [2, 3]  # and the proposal, which is built on it
        assert not [row.number for row in ledger.all(after=2) if row.attempt.purpose is Purpose.REFERENCE]


async def test_a_search_waits_while_the_night_is_paused_and_decides_what_was_left(study: Study) -> None:
    ran(study, 2.0)
    study.replace(only(study.incumbent().text + "# changed\nX = 1\n"))
    ran(study, 3.0)
    state, root = study.workspace.state, study.workspace.root
    study.close()
    write_request(state, OperatorRequest.PAUSE)
    search = OptunaSearch(root, ["--tag", "t1", "--profile", "smoke"], Task(knobs={"RATE": Range(low=0.01, high=0.05)}))
    assert await search.run(0.7 / 3600, 0, lambda line: None) == f"{0.7 / 3600:g} hours are over"
    with closing(Ledger(state / "ledger.sqlite3", read_only=True)) as ledger:
        assert [row.decision and row.decision.kept for row in ledger.all()] == [True, False]


def test_what_may_be_turned_is_said_in_the_program(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="declares no knobs"):
        OptunaSearch(tmp_path, [], Task())
    for wrong in ({"low": 2, "high": 1}, {}, {"low": 0, "high": 1, "log": True}):
        with pytest.raises(ValidationError):
            Range.model_validate(wrong)


@pytest.mark.parametrize(("direction", "towards"), [("lower", "MINIMIZE"), ("higher", "MAXIMIZE")])
def test_the_search_goes_where_the_metric_says(tmp_path: Path, direction: str, towards: str) -> None:
    task = Task(knobs={"RATE": Range(low=0.01, high=0.05)}).model_copy(update={"direction": direction})
    search = OptunaSearch(tmp_path, [], task)
    assert search.study.direction.name == towards
