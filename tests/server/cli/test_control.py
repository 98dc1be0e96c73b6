"""The operator's hand on a night that runs: program.md's limits, and words from another terminal."""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from mcp import Client, StdioServerParameters

from server.api import history_views, views
from server.api.app import create
from server.cli import control
from server.errors import NightOver
from server.history.ledger import Ledger
from server.locks import lock_path
from server.paths import Home, StudyPaths
from server.records import Verdict
from server.study import limits, sweep
from server.study.find_study import OperatorRequest, read_request, write_request
from server.study.study import Study
from server.study.sweep_queue import Sweep, SweepItem
from tests.support.builders import attempt, finished, judged
from tests.support.command_line import run_command
from tests.support.lifecycle import begin, ran
from tests.support.polling import PATIENCE, until
from tests.support.repositories import PROGRAM, UNGUARDED, make_quick


def limited(study: Study, stop: str) -> None:
    """Write the limits into program.md, as an operator does while the night runs."""
    study.workspace.program.write_text(PROGRAM.replace("keep_rule:", f"stop: {stop}\nkeep_rule:"), encoding="utf-8")


def test_a_night_that_has_come_to_a_limit_starts_no_run_and_says_so_in_every_answer(study: Study) -> None:
    ran(study, 2.0)
    limited(study, "{experiments: 1}")
    with pytest.raises(NightOver, match="No new runs: the limit of 1 experiment was reached"):
        views.start_run(study, "more", "")
    with pytest.raises(NightOver):
        sweep.begin(study, Sweep.of("rates", [{"RATE": "1"}]))
    assert study.ledger.counts() == {"baseline": 1, "kept": 1}
    status = views.status(study)
    assert status.over == "the limit of 1 experiment was reached" and status.limits.startswith("1 of 1 experiments; ")
    assert "the limit of 1 experiment was reached. Tell the user" in status.next_actions[0]
    assert not any(action.startswith("run_experiment") for action in status.next_actions)
    limited(study, "{experiments: 2}")
    assert views.status(study).over == ""


async def test_a_paused_night_starts_nothing_and_waits_for_its_operator(study: Study) -> None:
    ran(study, 2.0)
    write_request(study.workspace.state, OperatorRequest.PAUSE)
    with pytest.raises(NightOver, match="paused the study"):
        views.start_run(study, "more", "")
    async with Client(create(study)) as client:
        told: list[str] = []

        async def resume(progress: float, total: float | None, message: str | None) -> None:
            told.append(message or "")
            write_request(study.workspace.state, None)

        with anyio.fail_after(PATIENCE):
            waited = await client.call_tool("wait_experiment", {"wait_seconds": 3600}, progress_callback=resume)
        assert told == ["paused by the operator"] and not waited.is_error
        assert "paused" not in str(waited.structured_content)
        write_request(study.workspace.state, OperatorRequest.PAUSE)
        with anyio.fail_after(PATIENCE):
            waited = await client.call_tool("wait_experiment", {"wait_seconds": 0.1})
        assert "paused the study" in str(waited.structured_content)


def test_a_pause_holds_a_sweep_and_a_stop_ends_it(study: Study) -> None:
    ran(study, 2.0)
    same = SweepItem(knobs={"RATE": "1e-6"})  # as the incumbent's: nothing has to run
    study.queue.begin(Sweep(description="rates", items=[same, same, same]))
    write_request(study.workspace.state, OperatorRequest.PAUSE)
    sweep.step(study)
    assert study.queue.sweep and study.queue.sweep.next == 0 and "paused the study" in study.queue.waits
    assert "paused the study" in (views.show_run(study).why or "")
    write_request(study.workspace.state, None)
    sweep.step(study)
    assert study.queue.active and study.queue.active.next == 1 and study.queue.waits == ""
    limited(study, "{disk_gb: 1000000}")
    sweep.step(study)
    assert study.queue.active and "GB of the disk are free" in study.queue.waits
    limited(study, "{experiments: 1}")
    sweep.step(study)
    assert study.queue.sweep.ended == "the limit of 1 experiment was reached" and study.queue.sweep.next == 1


def test_a_stop_is_told_in_every_answer_of_a_run_and_outlives_the_server(study: Study) -> None:
    ran(study, 2.0)
    begin(study, 2)
    (study.runs.path(2)).mkdir()
    with (study.runs.path(2) / "lease").open("wb") as lease:  # as a supervisor holds it
        fcntl.flock(lease, fcntl.LOCK_EX)
        assert not any("no new runs after this" in action for action in views.show_run(study).next_actions)
        write_request(study.workspace.state, OperatorRequest.STOP)
        told = views.show_run(study).next_actions
        assert told[0].startswith("wait_experiment") and "stopped the study. Tell the user" in told[-1]
        assert history_views.write_note(study, "seen", idea=False, closes=0).next_actions == told
    study.close()
    after = Study(study.workspace.root, "t1", study.choices)
    with pytest.raises(NightOver, match="stopped the study"):
        views.start_run(after, "more", "")
    assert views.status(after).over == "the operator stopped the study"
    after.close()


def test_a_word_that_cannot_be_read_stops_the_night(tmp_path: Path) -> None:
    assert read_request(tmp_path) is None
    for said in OperatorRequest:
        write_request(tmp_path, said)
        assert read_request(tmp_path) is said
    StudyPaths(tmp_path).request.write_text("please wait\n", encoding="utf-8")
    assert read_request(tmp_path) is OperatorRequest.STOP
    write_request(tmp_path, None)
    write_request(tmp_path, None)
    assert read_request(tmp_path) is None


def test_only_a_run_that_goes_on_is_ended(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    begin(study, 1)  # and its supervisor is gone
    control.stop(study.workspace.root, now=True)
    assert capsys.readouterr().out == "stopped; no new runs\n"


def test_a_limit_outlives_the_word_that_is_taken_back(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    ran(study, 2.0)
    limited(study, "{experiments: 1}")
    control.resume(study.workspace.root)
    assert capsys.readouterr().out == "undone, but no new runs: the limit of 1 experiment was reached\n"


@pytest.mark.parametrize(("said", "code", "word"), [("stop", 0, OperatorRequest.STOP), ("pause", 1, None)])
def test_a_full_disk_takes_a_stop_and_tells_what_it_cannot_take(
    tmp_path: Path, said: str, code: int, word: OperatorRequest | None
) -> None:
    state = tmp_path / ".autoresearch" / "t1"
    state.mkdir(parents=True)
    Ledger(state / "ledger.sqlite3").close()
    command = [sys.executable, "-m", "server.cli", said, "--workspace", str(tmp_path)]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 0; exec "$@"', "bash", *command], capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, read_request(state)) == (code, word)
    assert "Traceback" not in done.stderr and ("Free space" in done.stderr) == (code == 1)


def test_a_plateau_is_one_of_ideas_that_had_their_trial(study: Study) -> None:
    outcomes = [Verdict.REFUSED, Verdict.LOST, Verdict.ENV_FAIL, Verdict.CONFIRMATION, Verdict.WORSE, Verdict.CRASHED]
    ran(study, 2.0)
    for number, verdict in enumerate(outcomes, 2):
        study.ledger.begin(attempt(number))
        study.ledger.finish(number, finished(3.0), judged(number, verdict))
    study.ledger.begin(attempt(8))
    assert limits.study_facts(study.workspace.state, study.ledger).since_keep == 2


def autoresearch(repository: Path, *arguments: str) -> tuple[int, str]:
    done = run_command(*arguments, "--workspace", repository)
    return done.returncode, done.stdout + done.stderr


def test_a_night_without_runs_and_a_run_without_a_supervisor_are_not_on_for_ever(study: Study) -> None:
    code, told = autoresearch(study.workspace.root, "health", "--idle", "0")
    assert code == 1 and "no run has started for" in told
    begin(study, 1)
    code, told = autoresearch(study.workspace.root, "health", "--idle", "0")
    assert code == 1 and "no run has started for" in told


def test_no_night_is_off_and_a_broken_program_md_is_one_sentence(study: Study, tmp_path: Path) -> None:
    code, told = autoresearch(tmp_path, "health")
    assert code == 2 and told.startswith("off: No study found")
    study.workspace.program.write_text("---\nbudget_seconds: soon\n---\n", encoding="utf-8")
    code, told = autoresearch(study.workspace.root, "health")
    assert code == 1 and told.startswith("program.md line 2") and "Traceback" not in told


def health_of_stopped(repository: Path, pid: int) -> tuple[int, str]:
    """What is said of a server that was stopped two minutes ago."""
    beats, stopped = Home(repository).study("t1").pulse, psutil.Process(pid)
    until(beats.exists)
    stopped.suspend()
    for path in (beats, lock_path(repository)):
        os.utime(path, (0, time.time() - 120))
    told = autoresearch(repository, "health")
    beats.touch()
    stopped.resume()
    return told


async def test_the_operator_steers_a_night_from_another_terminal(tmp_path: Path, data: Path) -> None:
    repository = make_quick(tmp_path / "work", data)
    options = ["--workspace", str(repository), "--tag", "t1", "--profile", "smoke", "--budget", "300", *UNGUARDED]
    server = StdioServerParameters(command=sys.executable, args=["-m", "server", *options])

    async def operator(*arguments: str) -> tuple[int, str]:
        return await anyio.to_thread.run_sync(autoresearch, repository, *arguments)

    async with Client(server) as client:

        async def call(tool: str, **given: Any) -> Any:
            with anyio.fail_after(PATIENCE):
                return await client.call_tool(tool, given)

        code, told = await operator("health")
        assert code == 0
        pid = int(told.split()[2])
        code, told = await anyio.to_thread.run_sync(health_of_stopped, repository, pid)
        assert code == 1 and "not reported for 2 minutes" in told
        await call("run_experiment", description="baseline", wait_seconds=0)
        assert await operator("pause") == (0, "paused; `autoresearch resume` continues\n")
        assert (await operator("health"))[0] == 0  # the run goes on
        assert (await operator("stop", "--now")) == (0, "stopped; the current run is being ended\n")
        ended = (await call("wait_experiment", wait_seconds=PATIENCE)).structured_content
        assert (ended["status"], ended["why"]) == ("cancelled", "Cancelled: the operator stopped the study")
        code, told = await operator("health")
        assert code == 1 and "over: " in told and "the operator stopped the study" in told
        refused = await call("run_experiment", description="again")
        assert refused.is_error and "the operator stopped the study" in str(refused.content)
        assert (await operator("resume"))[0] == 0
        assert (await operator("health"))[0] == 0
        code, told = await operator("health", "--idle", "0")
        assert code == 1 and "no run has started for" in told
        assert (await call("status")).structured_content["over"] == ""
    code, told = await operator("health")
    assert code == 2 and told.startswith("off: no server")
