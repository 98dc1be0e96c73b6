"""A sweep: a list of constants that the server tries by itself, under the same rule as any idea."""

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from server.api import views
from server.api.app import create
from server.api.lanes.caller import Caller
from server.api.views import sweep_reply
from server.errors import PatchRefused, RunnerUnavailable, UnknownExperiment, WrongPhase
from server.records import Verdict
from server.serve_options import ServeOptions
from server.study import sweep
from server.study.phase import Phase
from server.study.study import Study
from server.study.sweep_queue import Sweep, SweepQueue
from tests.support.corruption import obstructed
from tests.support.lanes import HeldExecutor, end
from tests.support.lifecycle import ran
from tests.support.polling import PATIENCE
from tests.support.repositories import QUICK, make_repository

TRAIN = QUICK.replace("RATE = 1e-6", "RATE = 1e-6\nOTHER = 1")
FASTER = "<<<<<<< SEARCH\nRATE = 1e-6\n=======\nRATE = 2e-6\n>>>>>>> REPLACE"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "work", TRAIN)


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    with anyio.fail_after(PATIENCE):
        answer = await client.call_tool(tool, arguments)
    assert not answer.is_error and answer.structured_content, answer.content
    return answer.structured_content


async def test_a_sweep_keeps_what_is_better_and_drops_the_rest_without_an_agent(study: Study) -> None:
    study.choices = ServeOptions(profile="smoke", confine=False)
    async with Client(create(study)) as client:
        await call(client, "run_experiment", description="baseline", wait_seconds=200)
        changes = [{"RATE": 0.02}, {"RATE": "0.02", "OTHER": 1}, {"RATE": 1e-9}]
        asked = {"changes": changes, "description": "rates", "hypothesis": "1 is far too slow", "wait_seconds": 0}
        told = await call(client, "sweep", **asked)
        assert told["status"] == "running" and "sweep" in told["next_actions"][0]
        for tool, given in (("keep", {"reason": "mine"}), ("apply_patch", {"patch": "x"})):
            refused = await client.call_tool(tool, given)
            assert refused.is_error and "sweep is running" in str(refused.content)
        while not (told := await call(client, "wait_experiment", wait_seconds=100))["sweep"]["ended"]:
            pass
        rows = told["sweep"]["rows"]
        assert told["sweep"]["ended"] == "done" and told["sweep"]["left"] == 0
        assert [row["experiment"] and row["experiment"]["decision"] for row in rows] == ["kept", None, "discarded"]
        assert "has these values" in rows[1]["skipped"]
        assert "RATE = 0.02" in study.incumbent().text and study.phase() is Phase.IDLE
        tried = [row for row in study.ledger.all() if row.attempt.of is None and not row.attempt.baseline]
        assert {row.attempt.hypothesis for row in tried} == {"1 is far too slow"}


def test_a_sweep_survives_its_server_and_ends_when_it_is_cancelled(study: Study) -> None:
    ran(study, 2.0)
    with pytest.raises(PatchRefused, match="sets no NONE"):
        sweep.begin(study, Sweep.of("typo", [{"RATE": "0.1"}, {"NONE": "1"}]))
    assert study.queue.sweep is None and study.phase() is Phase.IDLE
    study.choices = ServeOptions(profile="smoke", budget_seconds=300, confine=False)
    sweep.begin(study, Sweep.of("rates", [{"RATE": "0.1"}, {"RATE": "0.2"}]))
    assert study.phase() is Phase.RUNNING
    study.close()

    after = Study(study.workspace.root, "t1", study.choices)
    with pytest.raises(WrongPhase, match="change 1 of 2"):
        sweep.require_free(after)
    sweep.step(after)  # the run goes on: nothing to do yet
    told = sweep_reply(after)
    assert told and (told.left, told.ended) == (1, "")
    after.queue.end("cancelled: enough")
    after.cancel("enough")
    sweep.step(after)
    told = sweep_reply(after)
    assert told and told.left == 1 and told.rows[0].experiment and not told.rows[1].experiment
    after.close()


def test_a_sweep_ends_with_the_machines_reason_when_nothing_can_run(study: Study) -> None:
    ran(study, 2.0)
    runs = study.runs.path(1).parent
    shutil.rmtree(runs)
    runs.write_text("in the way", encoding="utf-8")
    sweep.begin(study, Sweep.of("rates", [{"RATE": "0.1"}]))
    tries = 1
    while study.queue.active:
        assert views.show_run(study).why == study.queue.waits != ""
        sweep.step(study)  # the candidate that could not be run is discarded
        with pytest.raises(RunnerUnavailable):
            sweep.step(study)
        tries += 1
    told = sweep_reply(study)
    assert told and "could not be started" in told.ended and tries == 3


def test_a_sweep_around_a_promising_candidate_has_its_change_in_each(study: Study) -> None:
    (study.workspace.root / "program.md").write_text("---\nbudget_seconds: 1\n---\n", encoding="utf-8")
    for score in (2.0, 2.002, 1.998):
        ran(study, score)
    study.apply_patch(FASTER, "")
    assert ran(study, 1.99).verdict == Verdict.PROMISING
    with pytest.raises(WrongPhase, match=r"sweep with experiment=4 in another lane"):
        sweep.begin(study, Sweep.of("rates", [{"RATE": "0.1"}]))
    with pytest.raises(PatchRefused, match="sets no NONE"):
        sweep.begin(study, Sweep.of("typo", [{"NONE": "1"}], lane="b", around=4))
    with pytest.raises(UnknownExperiment, match="1 to 4"):
        views.start_sweep(study, Sweep.of("rates", [{"RATE": "0.1"}], around=9), Caller("b"))
    study.choices = ServeOptions(profile="smoke", budget_seconds=300, confine=False)
    views.start_sweep(study, Sweep.of("others", [{"OTHER": "3"}, {"OTHER": "4"}], around=4), Caller("b"))
    tried = study.lanes.at("b").candidate().text
    assert "RATE = 2e-6\n" in tried and "OTHER = 3\n" in tried
    study.cancel("enough", "b")
    while study.queue.active and "OTHER = 4\n" not in tried:
        sweep.step(study)
        tried = study.lanes.at("b").candidate().text
    assert "RATE = 2e-6\n" in tried and "OTHER = 4\n" in tried
    study.queue.end("enough")
    study.cancel("enough", "b")


@pytest.mark.parametrize(("score", "confirmed"), [(1.991, False), (1.99, False), (1.98, True)])
def test_a_sweep_confirms_only_what_is_better_than_the_candidate_that_it_varies(
    repository: Path, score: float, confirmed: bool
) -> None:
    (repository / "program.md").write_text("---\nbudget_seconds: 1\n---\n", encoding="utf-8")
    with closing(Study(repository, "t1", ServeOptions(profile="smoke"), HeldExecutor)) as study:
        for number, value in enumerate((2.0, 2.002, 1.998), 1):
            study.run("the baseline")
            end(study, number, value)
        study.apply_patch(FASTER, "")
        study.run("faster")
        end(study, 4, 1.99)
        sweep.begin(study, Sweep.of("others", [{"OTHER": "3"}], lane="b", around=4))
        assert end(study, 5, score).verdict == Verdict.PROMISING
        while study.queue.active and not study.ledger.unfinished():
            sweep.step(study)
        tried = study.ledger.get(5)
        assert tried and [row.attempt.of for row in study.ledger.unfinished()] == [5] * confirmed
        assert tried.decision is None if confirmed else tried.decision and "experiment 4" in tried.decision.reason


def test_a_sweep_around_what_was_kept_since_is_one_of_the_incumbent(study: Study) -> None:
    ran(study, 2.0)
    study.apply_patch(FASTER, "")
    ran(study, 1.5)
    ran(study, 1.5)
    study.keep("better")
    study.choices = ServeOptions(profile="smoke", budget_seconds=300, confine=False)
    sweep.begin(study, Sweep.of("others", [{"OTHER": "3"}], around=2))
    assert study.lanes.at("main").candidate() == study.incumbent().with_constants({"OTHER": "3"})
    study.queue.end("enough")
    study.cancel("enough")


def test_a_sweep_that_cannot_be_written_down_is_not_begun(study: Study) -> None:
    ran(study, 2.0)
    path = study.workspace.state / "sweep.json"
    with obstructed(path), pytest.raises(OSError):
        sweep.begin(study, Sweep.of("rates", [{"RATE": "0.1"}]))
    assert study.queue.active is None and study.phase() is Phase.IDLE
    study.queue.save()
    assert SweepQueue(path).active is None
