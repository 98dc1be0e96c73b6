"""The budget ends where the weights begin to arrive, and an evaluation is judged by the work of its process."""

import re
import time
from pathlib import Path

import psutil
import pytest

from server.records import Outcome, Result
from server.runs.local_executor import LocalExecutor
from server.runs.run_spec import RunLimits
from server.source.patch import apply
from tests.attack.cases import BASE
from tests.support.builders import attempt
from tests.support.polling import ended, processes_of, until
from tests.support.repositories import QUICK
from tests.support.runs import local_executor, start_run
from trainer.contract import Spec
from trainer.run import deadline
from trainer.run.clock import RunEnded, StageClock
from trainer.run.run_folder import RunFolder

SPEC = Spec(1, "cpu", 42, 10.0, 5.0, 30.0, 30.0, "data", "imports", "cookie")
MB = 10**6


class Training:
    """A deadline whose clock is set by hand."""

    def __init__(self, folder: Path, spec: Spec = SPEC, clock: str = "cpu") -> None:
        self.now = 0.0
        self.stage = StageClock(RunFolder(folder))
        self.stage.enter("training", deadline.allowed(spec.budget_seconds), "training", lambda: self.now)
        self.deadline = deadline.Deadline(self.stage, spec, clock, lambda: self.now)

    def hand_in(self, opened: float, closed: float, size: int) -> float:
        """The seconds that count of a submission whose header and last byte come at these times."""
        self.now = opened
        self.deadline.opened("submit", size)
        self.now = closed
        self.stage.watch()
        assert self.deadline.closed() == closed
        return self.deadline.seconds


@pytest.mark.parametrize("budget", [10.0, 60.0, 300.0])
def test_a_run_may_be_late_by_less_than_four_percent(budget: float) -> None:
    assert 1.02 * budget <= deadline.allowed(budget) <= 1.04 * budget


def test_the_transfer_of_the_weights_is_free_as_far_as_their_size_explains_it(tmp_path: Path) -> None:
    assert Training(tmp_path).hand_in(10.1, 10.2, 50 * MB) == pytest.approx(10.1)
    assert Training(tmp_path).hand_in(9.0, 10.0, 50 * MB) == pytest.approx(9.9)
    assert Training(tmp_path).hand_in(10.3, 10.45, 500 * MB) == pytest.approx(10.3)


@pytest.mark.parametrize(
    ("opened", "closed", "size"),
    [
        (10.41, 10.41, 0),  # too late
        (10.0, 10.5, 0),  # in time, and slower than its size explains
        (10.0, 10.52, 50 * MB),
        (10.0, 10.7, 16000 * MB),  # weights that are large for the time that this gives
    ],
)
def test_what_is_late_or_trained_on_meanwhile_is_over_time(
    tmp_path: Path, opened: float, closed: float, size: int
) -> None:
    with pytest.raises(RunEnded, match=re.escape("took longer than its 10.4 s")):
        Training(tmp_path).hand_in(opened, closed, size)


def test_no_transfer_takes_longer_than_the_grace(tmp_path: Path) -> None:
    spec = Spec(1, "gpu", 42, 300.0, 5.0, 30.0, 30.0, "data", "imports", "cookie")
    assert Training(tmp_path, spec, "wall").hand_in(306.0, 311.0, 3000 * MB) == pytest.approx(306.0)
    with pytest.raises(RunEnded, match="took longer"):
        Training(tmp_path, spec, "wall").hand_in(306.0, 311.5, 3000 * MB)


@pytest.mark.parametrize(
    ("seconds", "budget", "clock", "words"),
    [
        ([0.08] * 64, 300.0, "cpu", ""),
        ([3.9, *[0.08] * 63], 300.0, "cpu", "3.7 s longer than"),
        ([2.9, *[0.08] * 63], 300.0, "cpu", ""),  # kernels were chosen
        ([0.0, 2.0, 0.0, 0.0], 0.8, "cpu", "2.0 s longer than"),
        ([2.0, *[0.6] * 3], 0.8, "cpu", ""),
        ([1.2] * 4, 0.8, "cpu", "took 1.2 s, and with a budget of 0.8 s it may take 1.0 s"),
        ([3.9] * 64, 300.0, "cpu", ""),  # a large model, as slow as the time for the evaluation allows
        ([4.1, *[0.1] * 15, *[4.1] * 48], 300.0, "cpu", "took 4.1 s"),  # a quarter may be short
        ([5.0, *[0.3] * 99], 300.0, "wall", ""),
        ([8.0, *[0.3] * 99], 300.0, "wall", "7.1 s longer than"),
    ],
)
def test_batches_are_alike_and_none_is_as_long_as_a_training(
    seconds: list[float], budget: float, clock: str, words: str
) -> None:
    if not words:
        return deadline.check_batches(seconds, budget, clock)
    with pytest.raises(RunEnded, match=re.escape(words)) as ended:
        deadline.check_batches(seconds, budget, clock)
    assert ended.value.outcome == "invalid"
    return None


def run(executor: LocalExecutor, text: str, budget: float, number: int = 1) -> None:
    about = attempt(number).model_copy(update={"profile": "smoke", "budget_seconds": budget})
    terms = RunLimits(setup_seconds=300, evaluation_seconds=300, grace_seconds=5, preflight=False, confine=False)
    start_run(executor, about, text, terms)


@pytest.fixture
def executor(tmp_path: Path, data: Path) -> LocalExecutor:
    return local_executor(tmp_path / "a tag", data, tmp_path)


LARGE = """
<<<<<<< SEARCH
while session.training() and session.progress < 0.8:  # a last step may take long where others work
=======
while session.training():
>>>>>>> REPLACE
<<<<<<< SEARCH
        self.head = nn.Linear(16, session.vocab_size)
=======
        self.head = nn.Linear(16, session.vocab_size)
        self.register_buffer("table", torch.ones(50_000_000))  # 200 MB
>>>>>>> REPLACE
"""


@pytest.mark.slow
def test_a_large_honest_model_keeps_back_the_time_to_write_its_weights(executor: LocalExecutor) -> None:
    """Without it none ever ends in time; where others work on the machine, one may be late."""

    def of_run(number: int) -> Result:
        run(executor, apply(BASE, LARGE, "train.py"), budget=1.5, number=number)
        return ended(executor, number)

    result = next((one for one in map(of_run, range(1, 6)) if one.outcome is Outcome.FINISHED), None)
    assert result is not None
    assert result.figures.training_seconds and result.figures.training_seconds <= deadline.allowed(1.5)


STOPS = """
<<<<<<< SEARCH
        elif frame.kind == "rows":
=======
        elif frame.kind == "rows":
            if not stopped:
                stopped.append(os.kill(os.getpid(), signal.SIGSTOP))
>>>>>>> REPLACE
<<<<<<< SEARCH
import time
=======
import signal
import time

stopped = []
>>>>>>> REPLACE
"""


def test_an_evaluation_that_gets_no_cpu_for_seconds_is_not_invalid(executor: LocalExecutor) -> None:
    run(executor, apply(QUICK, STOPS, "train.py"), budget=0.5)

    def stopped() -> list[psutil.Process]:
        return [process for process in processes_of(executor) if process.status() == psutil.STATUS_STOPPED]

    until(stopped)
    time.sleep(2.5)  # what is tested: 2 s of work in one batch would be too much
    for process in stopped():
        process.resume()
    result = ended(executor)
    assert result.outcome is Outcome.FINISHED and result.figures.evaluation_seconds, result
    assert result.figures.evaluation_seconds > 2
