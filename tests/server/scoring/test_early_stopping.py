"""Saving time honestly: a run is given up when its loss is higher than in every good run, never without good ones."""

from pathlib import Path

import pytest

from server.records import Outcome, Point
from server.runs.run_spec import RunLimits
from server.scoring.early_stopping import loss_ceiling
from tests.support.builders import attempt
from tests.support.polling import ended
from tests.support.runs import local_executor, start_run
from trainer.run.early_stop import EarlyStop


def curve(level: float, seconds: float = 100.0) -> list[Point]:
    """A loss that falls from `level` + 1 to `level`."""
    return [Point(seconds=second, step=second, loss=level + 1 - second / seconds) for second in range(int(seconds))]


def test_the_ceiling_is_the_worst_good_run_at_equal_time() -> None:
    assert loss_ceiling([curve(2.0), curve(2.1)], 100) == []  # two tell nothing
    points = loss_ceiling([curve(2.0), curve(2.1), curve(2.2)], 100)
    assert len(points) == 59 and points[29][0] == 50.0
    assert points[29][1] == pytest.approx(2.2 + 0.5 + 0.025)  # a mean of what was told just before


def test_a_run_is_hopeless_when_it_stays_above_and_not_before_a_third_of_its_time() -> None:
    points = loss_ceiling([curve(2.0)] * 3, 100)
    above, below = EarlyStop(points, 100), EarlyStop(points, 100)
    gave_up = [second for second in range(100) if above.hopeless(second, 3.1 - second / 100)]
    assert gave_up and 30 <= gave_up[0] <= 40
    assert not any(below.hopeless(second, 2.9 - second / 100) for second in range(100))
    assert not any(EarlyStop([], 100).hopeless(second, 99.0) for second in range(100))


# Frames by hand: importing torch takes longer than all the rest of such a run.
HOPELESS = """
import time
from trainer.run.protocol import inherited
channel = inherited()
channel.send("hello")
channel.receive("config")
channel.send("start")
channel.receive("tokens")
while True:
    channel.send("step", steps=1, loss=5.0)
    until = time.process_time() + 0.02
    while time.process_time() < until:
        pass
"""


def test_a_hopeless_run_ends_early_without_a_score(tmp_path: Path, data: Path) -> None:
    executor = local_executor(tmp_path / "a tag", data, tmp_path)
    started = attempt(1).model_copy(update={"profile": "smoke", "budget_seconds": 1})
    terms = RunLimits(
        setup_seconds=300, evaluation_seconds=300, grace_seconds=1, preflight=False, confine=False, ceiling=[(0.0, 1.0)]
    )
    start_run(executor, started, HOPELESS, terms)
    result = ended(executor)
    assert result.outcome is Outcome.STOPPED_EARLY and "higher than in every good run" in result.reason
    assert result.score is None
