"""Real runs of tiny train.py's, honest and not: how each one ends, and that nothing of it is left."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from server.records import Attempt, Outcome, Result, Score
from server.runs.executor import RunRequest
from server.runs.local_executor import LocalExecutor
from server.runs.run_spec import RunLimits
from tests.support.builders import attempt
from tests.support.polling import ended, is_gone, processes_of, until
from tests.support.repositories import QUICK, STAND_INS
from tests.support.runs import local_executor, start_run
from trainer import contract
from trainer.contract import RunResult

# Without torch, whose import takes longer than such a run: claims that are no numbers, a child that works while its
# parent rests.
FRAMES = {
    "diverged": QUICK.replace("[-weights[token] for", "[math.nan for"),
    "workers": QUICK.replace("time.sleep(0.01)", "time.sleep(60)").replace(
        "    counts =", "    if not os.fork():\n        while True:\n            pass\n    counts ="
    ),
}


@pytest.fixture
def executor(tmp_path: Path, data: Path) -> LocalExecutor:
    return local_executor(tmp_path / "a tag", data, tmp_path)


def start(executor: LocalExecutor, stand_in: str, budget: float = 0.5, number: int = 1, **limits: Any) -> Attempt:
    """A run without guards, if `limits` say nothing else: looking after 70,000 readable files costs half of it."""
    started = attempt(number).model_copy(update={"profile": "smoke", "budget_seconds": budget})
    unguarded = RunLimits(setup_seconds=300, evaluation_seconds=300, grace_seconds=0.5, preflight=False, confine=False)
    terms = unguarded.model_copy(update=limits)
    text = FRAMES.get(stand_in) or (STAND_INS / f"{stand_in}.py").read_text(encoding="utf-8")
    start_run(executor, started, text, terms)
    return started


def test_an_honest_run_has_a_score_and_figures(executor: LocalExecutor) -> None:
    start(executor, "honest", budget=1.0, confine=True, grace_seconds=60)  # the wall time that it may take as well
    result = ended(executor)
    assert result.outcome is Outcome.FINISHED, result
    assert result.score is not None
    assert 2.0 < result.score.value < 3.4  # log2(4096) / 3.57 bytes a token is where an untrained model stands
    assert len(executor.runs.of(1).curve(60)) > 1
    figures = result.figures
    assert figures.steps and figures.steps > 10 and figures.tokens and figures.tokens >= figures.steps * 512 - 512
    assert figures.training_seconds and 0.5 < figures.training_seconds < 1.4
    assert figures.parameters == 4096 * 16 + 16 * 4096 + 4096
    assert figures.threads == 1 and figures.device == "cpu" and figures.peak_memory_mb and figures.torch
    curve = executor.runs.of(1).curve(60)
    assert 3 <= len(curve) <= 60 and curve[-1].loss < curve[0].loss
    assert curve[-1].lr == 0.03 and curve[-1].grad_norm is None
    assert figures.ms_per_step and figures.epochs and figures.mfu is None  # nobody knows a CPU's peak
    assert not processes_of(executor)


@pytest.mark.thorough
def test_a_busy_machine_costs_wall_time_and_hardly_any_steps(executor: LocalExecutor) -> None:
    start(executor, "honest", budget=1.5, number=1)
    quiet = ended(executor, 1).figures
    with ExitStack() as stack:
        for _ in range(2 * (os.cpu_count() or 1)):
            spin = [sys.executable, "-c", "while True: pass"]
            busy = stack.enter_context(subprocess.Popen(spin, start_new_session=True))  # Linux shares by session
            stack.callback(busy.kill)
        start(executor, "honest", budget=1.5, number=2)
        busy_run = ended(executor, 2)
    loud = busy_run.figures
    assert quiet.steps and loud.steps and loud.training_wall_seconds and loud.training_seconds, busy_run
    assert loud.training_seconds < 2.1 and loud.training_wall_seconds > 1.2 * loud.training_seconds
    assert loud.steps > 0.5 * quiet.steps  # caches are shared all the same


@pytest.mark.parametrize(
    ("stand_in", "outcome", "cause", "words"),
    [
        ("crash", Outcome.CRASHED, "exception", "ValueError: shapes 3 and 4 do not match"),
        ("leave", Outcome.CRASHED, "left_early", "without session.submit(model)"),
        pytest.param("out_of_memory", Outcome.OOM, "oom", "raised", marks=pytest.mark.slow),
        ("garbage", Outcome.INVALID, "", "broke the protocol"),
        pytest.param("late", Outcome.TIMEOUT, "", "with a budget of 0.5 s", marks=pytest.mark.thorough),
        ("workers", Outcome.TIMEOUT, "", "with a budget of 0.5 s"),
        ("diverged", Outcome.INVALID, "nan", "not finite"),
        ("wrong_shape", Outcome.INVALID, "", "RuntimeError in the evaluation. What it said is withheld"),
    ],
)
def test_a_run_that_goes_wrong_says_how(
    executor: LocalExecutor, stand_in: str, outcome: Outcome, cause: str, words: str
) -> None:
    start(executor, stand_in)
    result = ended(executor)
    assert (result.outcome, result.score, result.cause) == (outcome, None, cause), result
    assert words in result.reason
    assert not processes_of(executor)


def test_a_traceback_shows_train_py_and_not_our_own_frames(executor: LocalExecutor) -> None:
    start(executor, "crash")
    traceback = ended(executor).traceback
    assert 'File "train.py", line 3' in traceback
    assert "runpy" not in traceback and str(executor.runs.path(1)) not in traceback


def test_a_hang_is_killed_at_its_limit(executor: LocalExecutor) -> None:
    start(executor, "hang", setup_seconds=1)
    result = ended(executor)
    assert (result.outcome, result.score) == (Outcome.TIMEOUT, None)
    assert "Set-up" in result.reason and "1 s" in result.reason
    assert not processes_of(executor)


def test_a_daemon_that_escaped_is_found(executor: LocalExecutor) -> None:
    start(executor, "orphan")
    result = ended(executor)
    assert result.outcome is Outcome.CRASHED
    daemon = int(executor.runs.of(1).log_tail(1000).split()[1])
    assert is_gone(daemon)


def test_a_flood_costs_a_bounded_file(executor: LocalExecutor) -> None:
    start(executor, "flood", setup_seconds=1.5)
    assert ended(executor).outcome is Outcome.TIMEOUT
    assert (executor.runs.path(1) / "run.log").stat().st_size < 600_000
    assert len(executor.runs.of(1).log_tail(4096)) <= 4096


def test_the_end_of_a_log_is_shown_also_of_a_line_that_is_longer(executor: LocalExecutor) -> None:
    executor.runs.path(1).mkdir(parents=True)
    (executor.runs.path(1) / "run.log").write_text(f"short\n{'long ' * 1000}\n", encoding="utf-8")
    folder = executor.runs.of(1)
    assert folder.log_tail(100).endswith("long long \n") and folder.log_tail(5003).startswith("long")


def test_a_cancelled_run_ends_with_the_reason(executor: LocalExecutor) -> None:
    start(executor, "unigram", budget=300)
    until(lambda: executor.handle(1).progress().stage == "training")
    assert executor.handle(1).result() is None
    executor.handle(1).cancel("the human said so")
    result = ended(executor)
    assert result.outcome is Outcome.CANCELLED and "the human said so" in result.reason
    assert not processes_of(executor)


def test_a_run_whose_supervisor_is_killed_is_lost_and_leaves_nothing(executor: LocalExecutor) -> None:
    start(executor, "unigram", budget=300)
    until(lambda: executor.handle(1).progress().stage == "training")
    candidate = processes_of(executor)[0]
    supervisor = candidate.parent()
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    result = ended(executor)
    assert (result.outcome, result.score) == (Outcome.LOST, None)
    until(lambda: not processes_of(executor))
    assert not [path for path in executor.runs.path(1).iterdir() if path.is_dir()]  # scratch folders


def test_an_older_run_of_the_same_number_is_set_aside(executor: LocalExecutor) -> None:
    (executor.runs.path(1)).mkdir(parents=True)
    (executor.runs.path(1) / "run.log").write_text("of another history", encoding="utf-8")
    start(executor, "leave")
    ended(executor)
    (aside,) = executor.runs.path(1).parent.glob("00001.*.damaged")
    assert (aside / "run.log").read_text(encoding="utf-8") == "of another history"


def test_a_damaged_curve_costs_the_damaged_points(executor: LocalExecutor) -> None:
    executor.runs.path(1).mkdir(parents=True)
    whole, lines = b'{"seconds": 1, "step": 2, "loss": 3}', [b"\xff\x00garbage}", b'{"seconds": 2, "st']
    (executor.runs.path(1) / "curve.jsonl").write_bytes(b"\n".join([lines[0], whole, lines[1]]))
    assert [point.step for point in executor.runs.of(1).curve(60)] == [2]


def test_a_run_outlives_the_server_that_started_it(executor: LocalExecutor, tmp_path: Path, data: Path) -> None:
    start(executor, "unigram")
    adopted = local_executor(tmp_path / "a tag", data, tmp_path)
    assert ended(adopted).outcome is Outcome.FINISHED
    assert ended(executor) == ended(adopted)


@pytest.mark.slow
def test_train_py_has_a_private_home_and_nothing_of_our_environment(
    executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    text = "import os, sys\nprint(sorted(os.environ), os.environ['HOME'], os.getcwd())\n"
    text += "print(*os.environ.values(), sys.argv, sys.path, __file__)\n"
    text += "print(open('/proc/self/cmdline').read(), open('/proc/self/environ').read())\n" * (sys.platform == "linux")
    started = attempt(1).model_copy(update={"profile": "smoke"})
    text += "import parts.knobs\nprint(parts.knobs.A)\n"
    modules = {"parts/knobs.py": b"A = 'from the commit'\n"}
    limits = RunLimits(setup_seconds=300, evaluation_seconds=300, grace_seconds=1, preflight=False)
    executor.submit(RunRequest(attempt=started, text=text, limits=limits, modules=modules))
    ended(executor)
    printed = executor.runs.of(1).log_tail(4000)
    assert "from the commit" in printed
    assert "SECRET_TOKEN" not in printed
    place = (executor.runs.path(1) / "place").resolve()
    assert printed.splitlines()[0].count(str(place / "candidate-")) == 2
    assert str(place / "train.py") in printed and "00001" not in printed
    assert not place.exists() and not [path for path in executor.runs.path(1).iterdir() if path.is_dir()]


def test_what_the_supervisor_writes_is_what_the_server_reads() -> None:
    assert {field.name for field in fields(RunResult)} == set(Result.model_fields)
    assert {field.name for field in fields(contract.Score)} == set(Score.model_fields)
    told = contract.Score("val_bpb", 2.5, "bits per byte", "sealed", {"val_tokens": 10, "val_bytes": 30})
    read = Score.model_validate(asdict(told))
    assert read.model_dump() == {"val_bpb": 2.5, "val_tokens": 10, "val_bytes": 30}, "as earlier versions wrote it"
