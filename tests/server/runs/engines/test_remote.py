"""A run on another machine: when its folder, and when its engine is believed. Engine and clock are stand-ins."""

import json
from pathlib import Path

import pytest

from server.records import Outcome, Result
from server.runs.engines.remote import (
    ANSWER_SECONDS,
    QUIET_SECONDS,
    SETTLE_SECONDS,
    SILENT_SECONDS,
    Job,
    Look,
    RemoteRun,
    Standing,
)
from trainer.contract import RunFile

JOB = Job(engine="stand-in", name="autoresearch-00001-x", nonce="n")
SCORED = {"name": "cost", "value": 1.0, "trust": "printed"}


class StandIn:
    """An engine that says what the test tells it to. Implements Desk."""

    def __init__(self) -> None:
        self.says: Standing | None = Standing.RUNNING
        self.now, self.unfit = 0.0, ""
        self.ended = self.closed = self.looks = 0

    def look(self, job: Job) -> Look | None:
        self.looks += 1
        return None if self.says is None else Look(self.says, self.now, "It is over (NODE_FAIL)", "n1", self.unfit)

    def end(self, job: Job) -> None:
        self.ended += 1

    def close(self, job: Job) -> None:
        self.closed += 1


class Bench:
    """A run's folder, its engine, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.engine = folder, StandIn()
        JOB.write(folder)
        self.run = RemoteRun(folder, JOB, self.engine, lambda: self.engine.now)

    def write(self, name: RunFile, text: str = "") -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def after(self, seconds: float) -> Result | None:
        self.engine.now += seconds
        return self.run.result()

    def over(self) -> Result:
        """The result once the engine has called the job over for long enough."""
        assert self.after(QUIET_SECONDS + 1) is None
        result = self.after(SETTLE_SECONDS)
        assert result
        return result


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def started(bench: Bench) -> Bench:
    bench.write(RunFile.STARTED)
    bench.write(RunFile.BEAT, "1")
    assert bench.after(0) is None
    return bench


def test_a_result_counts_whatever_the_engine_says(started: Bench) -> None:
    started.engine.says = Standing.OVER
    assert started.after(QUIET_SECONDS + 1) is None
    ended = Result.model_validate(
        {"outcome": "finished", "reason": "", "score": SCORED, "finished_at": "2026-01-01T00:00:00+00:00"}
    )
    started.write(RunFile.RESULT, ended.model_dump_json())
    assert started.after(SETTLE_SECONDS) == ended and started.engine.closed


def test_a_run_that_gives_signs_of_life_asks_nothing_of_the_engine(started: Bench) -> None:
    for beat in range(2, 40):
        started.write(RunFile.BEAT, str(beat))
        assert started.after(QUIET_SECONDS) is None
    assert started.engine.looks == 0


def test_a_run_that_the_engine_calls_over_lives_on_while_it_gives_signs_of_life(started: Bench) -> None:
    started.engine.says = Standing.OVER  # as of a node whose slurmd is dead, or of a job that was started twice
    for beat in range(2, 40):
        assert started.after(QUIET_SECONDS + 1) is None  # the engine is asked, and says so
        started.write(RunFile.BEAT, str(beat))
        assert started.after(SETTLE_SECONDS - 1) is None
    assert started.engine.looks


@pytest.mark.parametrize("says", [Standing.OVER, Standing.UNKNOWN])
def test_a_silent_run_that_the_engine_calls_over_is_lost(started: Bench, says: Standing) -> None:
    started.engine.says = says
    lost = started.over()
    assert lost.outcome is Outcome.LOST and "NODE_FAIL" in lost.reason and lost.figures.node_name == "n1"
    assert not started.run.alive(), "a seat that comes back must find that the run was given up"
    assert started.after(1) is not None


@pytest.mark.parametrize("says", [None, Standing.RUNNING, Standing.STILL, Standing.WAITING])
def test_nothing_else_makes_a_run_lost_however_long_it_is_silent(started: Bench, says: Standing | None) -> None:
    started.engine.says = says
    for _ in range(1000):
        assert started.after(QUIET_SECONDS) is None
    assert started.run.alive()
    assert bool(started.engine.ended) == (says is Standing.RUNNING), "the engine is asked to end a job that is silent"


def test_an_answer_to_an_earlier_question_proves_nothing(started: Bench) -> None:
    started.engine.says = Standing.OVER
    assert started.after(QUIET_SECONDS + 1) is None
    look = Look(Standing.OVER, started.engine.now - 1, "It is over")
    started.engine.look = lambda job: look  # type: ignore[method-assign]
    started.write(RunFile.BEAT, "2")
    assert started.after(0) is None
    assert started.after(SETTLE_SECONDS + QUIET_SECONDS + SILENT_SECONDS) is None


def test_a_job_that_waits_says_so_in_the_folder_until_it_is_started(bench: Bench) -> None:
    bench.engine.says = Standing.WAITING
    assert bench.after(1000) is None
    assert bench.run.progress().stage == "waiting for a node: It is over (NODE_FAIL)"
    bench.write(RunFile.STARTED)
    bench.write(RunFile.PROGRESS, json.dumps({"stage": "setup"}))
    assert bench.after(1) is None and bench.run.progress().stage == "setup"


def test_a_job_that_waited_for_long_is_given_time_to_begin(bench: Bench) -> None:
    bench.engine.says = Standing.WAITING
    assert bench.after(10 * SILENT_SECONDS) is None
    bench.engine.says = Standing.RUNNING  # its seat is being started
    assert bench.after(1) is None and bench.after(SILENT_SECONDS - 2) is None and not bench.engine.ended
    assert bench.after(2) is None and bench.engine.ended


def test_a_cancelled_job_that_never_began_is_cancelled(bench: Bench) -> None:
    bench.engine.says = Standing.WAITING
    bench.run.cancel("enough")
    assert bench.after(1) is None and bench.engine.ended
    bench.engine.says = Standing.OVER
    assert bench.after(1) is None
    ended = bench.after(SETTLE_SECONDS)
    assert ended and ended.outcome is Outcome.CANCELLED and ended.reason == "Cancelled: enough"


def test_a_run_that_has_begun_is_not_taken_for_one_that_waits_by_an_older_word(started: Bench) -> None:
    started.engine.says = Standing.WAITING  # as squeue said some seconds ago
    started.run.cancel("enough")
    assert started.after(ANSWER_SECONDS - 1) is None and not started.engine.ended, "its supervisor ends it"
    assert started.after(2) is None and started.engine.ended


def test_a_supervisor_that_does_not_answer_a_cancel_has_its_job_ended(started: Bench) -> None:
    started.run.cancel("enough")
    for beat in range(2, 20):
        started.write(RunFile.BEAT, str(beat))
        assert started.after(1) is None
        assert started.engine.ended == (beat > ANSWER_SECONDS + 1)


@pytest.mark.parametrize("says", [Standing.OVER, Standing.WAITING])
def test_a_node_that_is_not_fit_is_no_fault_of_the_idea(bench: Bench, says: Standing) -> None:
    bench.engine.says, bench.engine.unfit = says, "Node n1 does not see the folder."
    bench.after(1)
    ended = bench.after(SETTLE_SECONDS)
    assert ended and (ended.outcome, ended.reason) == (Outcome.ENV_FAIL, "Node n1 does not see the folder.")


def test_a_seats_word_ends_the_run_at_once(started: Bench) -> None:
    told = {"outcome": "lost", "why": "The supervisor died.", "node": "n2"}
    started.write(RunFile.GONE, json.dumps(told))
    ended = started.after(0.1)
    assert ended and (ended.outcome, ended.reason) == (Outcome.LOST, "The supervisor died.")


def test_nobody_who_looks_at_the_folder_calls_the_run_over_before(started: Bench) -> None:
    assert started.run.folder.alive() and not started.run.folder.over()
    started.write(RunFile.GONE, "damaged")
    assert started.run.folder.over()
    gone = started.run.folder.gone()
    assert gone and gone.outcome is Outcome.LOST


def test_a_job_is_written_whole_and_read_again(tmp_path: Path) -> None:
    assert Job.read(tmp_path) is None
    made = Job.of("slurm", 7)
    made.write(tmp_path)
    assert Job.read(tmp_path) == made and Job.of("slurm", 7).name != made.name
