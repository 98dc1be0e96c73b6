"""What ends a night: each limit of program.md, and nothing that was not set."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from server.metric import Metric
from server.task.definition import Task
from server.task.policy import StopLimits, StudyFacts

FACTS = StudyFacts(hours=3.0, experiments=20, value=1.25, since_keep=7, free_gb=50.0)
LOWER = Metric("val_bpb", "lower")
HIGHER = Metric("accuracy", "higher")


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (StopLimits(), ""),
        (StopLimits(hours=3.5, experiments=21, target=1.2, plateau=8), ""),
        (StopLimits(hours=3), "the 3-hour limit was reached"),
        (StopLimits(experiments=20), "the limit of 20 experiments was reached"),
        (StopLimits(target=1.25), "val_bpb 1.250000 has reached the target of 1.25"),
        (StopLimits(plateau=7), "nothing was kept in the last 7 experiments"),
    ],
)
def test_a_limit_that_is_reached_ends_the_night(limits: StopLimits, words: str) -> None:
    assert limits.reached(FACTS, LOWER) == words
    assert limits.full(FACTS) == ""


def test_a_target_is_not_reached_without_a_score() -> None:
    nothing = FACTS.model_copy(update={"value": None})
    assert StopLimits(target=2).reached(nothing, LOWER) == StopLimits(target=2).reached(nothing, HIGHER) == ""


@pytest.mark.parametrize(
    ("metric", "target", "words"),
    [
        (LOWER, 1.24, ""),
        (LOWER, 1.26, "val_bpb 1.250000 has reached the target of 1.26"),
        (HIGHER, 1.26, ""),
        (HIGHER, 1.25, "accuracy 1.250000 has reached the target of 1.25"),
        (HIGHER, 1.24, "accuracy 1.250000 has reached the target of 1.24"),
    ],
)
def test_a_target_is_reached_from_the_side_that_is_worse(metric: Metric, target: float, words: str) -> None:
    assert StopLimits(target=target).reached(FACTS, metric) == words
    assert f"{metric.name} 1.250000 on the way to {target}" in StopLimits(target=target).progress(FACTS, metric)


@pytest.mark.parametrize(("metric", "reached"), [(LOWER, [-2.0, -1.0]), (HIGHER, [-1.0, 0.0, 2.0])])
def test_a_target_may_be_below_zero(metric: Metric, reached: list[float]) -> None:
    for value in (-2.0, -1.0, 0.0, 2.0):
        facts = FACTS.model_copy(update={"value": value})
        assert bool(StopLimits(target=-1).reached(facts, metric)) is (value in reached)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "val_bpb"),
        ({"command": "bash bench.sh", "editable": "a", "scale": "log"}, "log scale"),
        ({"command": "bash bench.sh", "editable": "a"}, ""),
    ],
)
def test_a_target_that_no_score_can_have_is_refused(fields: dict[str, str], words: str) -> None:
    given = {**fields, "stop": {"target": 0}}
    if not words:
        assert Task.model_validate(given).stop.target == 0
        return
    with pytest.raises(ValidationError, match=words):
        Task.model_validate(given)


def test_a_full_disk_stops_everything_by_default() -> None:
    full = FACTS.model_copy(update={"free_gb": 0.4})
    assert StopLimits().full(full) == "only 0.4 GB of the disk are free, and program.md reserves 1 GB"
    assert StopLimits(disk_gb=0).full(full) == ""


def test_the_way_to_each_limit_that_was_set_is_told() -> None:
    told = StopLimits(hours=8, experiments=100, target=1.2, plateau=30).progress(FACTS, LOWER)
    assert told == (
        "3.0 of 8.0 hours; 20 of 100 experiments; val_bpb 1.250000 on the way to 1.2; "
        "7 of 30 experiments without a keep; 50 GB of the disk free, at least 1"
    )
    assert StopLimits().progress(FACTS, LOWER) == "50 GB of the disk free, at least 1"


@pytest.mark.parametrize("wrong", [{"hours": 0}, {"experiments": 0}, {"plateau": -1}, {"disk_gb": -1}, {"day": 1}])
def test_a_limit_that_means_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        StopLimits.model_validate(wrong)


@given(hours=st.floats(0.1, 100), experiments=st.integers(1, 1000), spent=st.floats(0, 200), done=st.integers(0, 2000))
def test_a_night_ends_when_the_first_limit_is_reached(hours: float, experiments: int, spent: float, done: int) -> None:
    facts = FACTS.model_copy(update={"hours": spent, "experiments": done})
    ended = bool(StopLimits(hours=hours, experiments=experiments).reached(facts, LOWER))
    assert ended == (spent >= hours or done >= experiments)
