"""Real runs of tiny train.py's, honest and not: how each one ends, and that nothing of it is left."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, fields
from pathlib import Path

import psutil
import pytest

from server.records import Attempt, Outcome, Result, Score
from server.runs.run_spec import RunLimits
from server.runs.runner import Runner
from tests.support.builders import attempt
from tests.support.polling import ended, processes_of, stretched, until
from tests.support.repositories import STAND_INS
from trainer import contract
from trainer.contract import RunResult


@pytest.fixture
def runner(tmp_path: Path, data: Path) -> Runner:
    return Runner(tmp_path / "a tag", data, tmp_path)


def start(runner: Runner, stand_in: str, budget: float = 0.5, setup: float = 300, number: int = 1) -> Attempt:
    started = attempt(number).model_copy(update={"profile": "smoke", "budget_seconds": budget})
    terms = RunLimits(setup_seconds=setup, evaluation_seconds=300, grace_seconds=0.5, preflight=False)
    runner.start(started, (STAND_INS / f"{stand_in}.py").read_text(encoding="utf-8"), terms)
    return started


def test_an_honest_run_has_a_score_and_figures(runner: Runner) -> None:
    start(runner, "honest", budget=1.5)
    result = ended(runner)
    assert result.outcome is Outcome.FINISHED, result
    assert result.score is not None
    assert 2.0 < result.score.value < 3.4  # log2(4096) / 3.57 bytes a token is where an untrained model stands
    figures = result.figures
    assert figures.steps and figures.steps > 10 and figures.tokens and figures.tokens >= figures.steps * 512 - 512
    assert figures.training_seconds and 1.0 < figures.training_seconds < 2.1
    assert figures.parameters == 4096 * 16 + 16 * 4096 + 4096
    assert figures.threads == 1 and figures.device == "cpu" and figures.peak_memory_mb and figures.torch
    curve = runner.curve(1, 60)
    assert 3 <= len(curve) <= 60 and curve[-1].loss < curve[0].loss
    assert curve[-1].lr == 0.03 and curve[-1].grad_norm is None
    assert figures.ms_per_step and figures.epochs and figures.mfu is None  # nobody knows a CPU's peak
    assert not processes_of(runner)


@pytest.mark.thorough
def test_a_busy_machine_costs_wall_time_and_hardly_any_steps(runner: Runner) -> None:
    start(runner, "honest", budget=1.5, number=1)
    quiet = ended(runner, 1).figures
    with ExitStack() as stack:
        for _ in range(2 * (os.cpu_count() or 1)):
            spin = [sys.executable, "-c", "while True: pass"]
            busy = stack.enter_context(subprocess.Popen(spin, start_new_session=True))  # Linux shares by session
            stack.callback(busy.kill)
        start(runner, "honest", budget=1.5, number=2)
        busy_run = ended(runner, 2)
    loud = busy_run.figures
    assert quiet.steps and loud.steps and loud.training_wall_seconds and loud.training_seconds, busy_run
    assert loud.training_seconds < 2.1 and loud.training_wall_seconds > 1.2 * loud.training_seconds
    assert loud.steps > 0.5 * quiet.steps  # caches are shared all the same


@pytest.mark.parametrize(
    ("stand_in", "outcome", "cause", "words"),
    [
        ("crash", Outcome.CRASHED, "exception", "ValueError: shapes 3 and 4 do not match"),
        ("leave", Outcome.CRASHED, "left_early", "without session.submit(model)"),
        ("out_of_memory", Outcome.OOM, "oom", "raised"),
        ("garbage", Outcome.INVALID, "", "broke the protocol"),
        ("late", Outcome.TIMEOUT, "", "with a budget of 0.5 s"),
        ("workers", Outcome.TIMEOUT, "", "with a budget of 0.5 s"),
        ("diverged", Outcome.INVALID, "nan", "not finite"),
        ("wrong_shape", Outcome.INVALID, "", "RuntimeError in the evaluation. What it said is withheld"),
    ],
)
def test_a_run_that_goes_wrong_says_how(
    runner: Runner, stand_in: str, outcome: Outcome, cause: str, words: str
) -> None:
    start(runner, stand_in)
    result = ended(runner)
    assert (result.outcome, result.score, result.cause) == (outcome, None, cause), result
    assert words in result.reason
    assert not processes_of(runner)


def test_a_traceback_shows_train_py_and_not_our_own_frames(runner: Runner) -> None:
    start(runner, "crash")
    traceback = ended(runner).traceback
    assert 'File "train.py", line 3' in traceback
    assert "runpy" not in traceback and str(runner.folder(1)) not in traceback


def test_a_hang_is_killed_at_its_limit(runner: Runner) -> None:
    limit = round(stretched(1))
    start(runner, "hang", setup=limit)
    result = ended(runner)
    assert (result.outcome, result.score) == (Outcome.TIMEOUT, None)
    assert "Set-up" in result.reason and f"{limit} s" in result.reason
    assert not processes_of(runner)


def test_a_daemon_that_escaped_is_found(runner: Runner) -> None:
    start(runner, "orphan")
    result = ended(runner)
    assert result.outcome is Outcome.CRASHED
    daemon = int(runner.log_tail(1, 1000).split()[1])
    assert not psutil.pid_exists(daemon) or psutil.Process(daemon).status() == psutil.STATUS_ZOMBIE


def test_a_flood_costs_a_bounded_file(runner: Runner) -> None:
    start(runner, "flood", setup=stretched(1.5))
    assert ended(runner).outcome is Outcome.TIMEOUT
    assert (runner.folder(1) / "run.log").stat().st_size < 600_000
    assert len(runner.log_tail(1, 4096)) <= 4096


def test_the_end_of_a_log_is_shown_also_of_a_line_that_is_longer(runner: Runner) -> None:
    runner.folder(1).mkdir(parents=True)
    (runner.folder(1) / "run.log").write_text(f"short\n{'long ' * 1000}\n", encoding="utf-8")
    assert runner.log_tail(1, 100).endswith("long long \n") and runner.log_tail(1, 5003).startswith("long")


def test_a_cancelled_run_ends_with_the_reason(runner: Runner) -> None:
    start(runner, "unigram", budget=300)
    until(lambda: runner.progress(1).stage == "training")
    assert runner.result(1) is None
    runner.cancel(1, "the human said so")
    result = ended(runner)
    assert result.outcome is Outcome.CANCELLED and "the human said so" in result.reason
    assert not processes_of(runner)


def test_a_run_whose_supervisor_is_killed_is_lost_and_leaves_nothing(runner: Runner) -> None:
    start(runner, "unigram", budget=300)
    until(lambda: runner.progress(1).stage == "training")
    candidate = processes_of(runner)[0]
    supervisor = candidate.parent()
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    result = ended(runner)
    assert (result.outcome, result.score) == (Outcome.LOST, None)
    until(lambda: not processes_of(runner))
    assert not [path for path in runner.folder(1).iterdir() if path.is_dir()]  # scratch folders


def test_an_older_run_of_the_same_number_is_set_aside(runner: Runner) -> None:
    (runner.folder(1)).mkdir(parents=True)
    (runner.folder(1) / "run.log").write_text("of another history", encoding="utf-8")
    start(runner, "leave")
    ended(runner)
    (aside,) = runner.folder(1).parent.glob("00001.*.damaged")
    assert (aside / "run.log").read_text(encoding="utf-8") == "of another history"


def test_a_damaged_curve_costs_the_damaged_points(runner: Runner) -> None:
    runner.folder(1).mkdir(parents=True)
    whole, lines = b'{"seconds": 1, "step": 2, "loss": 3}', [b"\xff\x00garbage}", b'{"seconds": 2, "st']
    (runner.folder(1) / "curve.jsonl").write_bytes(b"\n".join([lines[0], whole, lines[1]]))
    assert [point.step for point in runner.curve(1, 60)] == [2]


def test_a_run_outlives_the_runner_that_started_it(runner: Runner, tmp_path: Path, data: Path) -> None:
    start(runner, "unigram")
    adopted = Runner(tmp_path / "a tag", data, tmp_path)
    assert ended(adopted).outcome is Outcome.FINISHED
    assert ended(runner) == ended(adopted)


def test_train_py_has_a_private_home_and_nothing_of_our_environment(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    text = "import os\nprint(sorted(os.environ), os.environ['HOME'], os.getcwd())\n"
    started = attempt(1).model_copy(update={"profile": "smoke"})
    runner.start(started, text, RunLimits(setup_seconds=300, evaluation_seconds=300, grace_seconds=1, preflight=False))
    ended(runner)
    printed = runner.log_tail(1, 4000)
    assert "SECRET_TOKEN" not in printed
    assert printed.count(str(runner.folder(1) / "candidate-")) == 2
    assert not [path for path in runner.folder(1).iterdir() if path.is_dir()]


def test_what_the_supervisor_writes_is_what_the_server_reads() -> None:
    assert {field.name for field in fields(RunResult)} == set(Result.model_fields)
    assert {field.name for field in fields(contract.Score)} == set(Score.model_fields)
    told = contract.Score("val_bpb", 2.5, "bits per byte", "sealed", {"val_tokens": 10, "val_bytes": 30})
    read = Score.model_validate(asdict(told))
    assert read.model_dump() == {"val_bpb": 2.5, "val_tokens": 10, "val_bytes": 30}, "as earlier versions wrote it"
