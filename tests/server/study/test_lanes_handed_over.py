"""A slot whose run is over takes the next one before the result is imported, where that result can change nothing."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import anyio
import pytest

from server.records import Outcome, Result
from server.runs.executor import RunRequest
from server.serve_options import ServeOptions
from server.study.background import Background, dispatch, hand_over
from server.study.study import Study
from server.study.sweep_queue import Sweep, SweepItem
from tests.support.lanes import HeldExecutor, HeldRun, end, end_unseen, patched
from tests.support.lifecycle import measured
from tests.support.repositories import HARDLY_LEARNS, make_repository

CRASHED = Result(outcome=Outcome.CRASHED, reason="no", finished_at="2026-01-01T12:00:00+00:00")


class Noting(HeldExecutor):
    """Notes which runs were started, in which order."""

    started: ClassVar[list[int]] = []

    def submit(self, request: RunRequest) -> HeldRun:
        self.started.append(request.attempt.number)
        return super().submit(request)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    root = make_repository(tmp_path / "work", HARDLY_LEARNS)
    program = "---\nname: lanes\nbudget_seconds: 1\nkeep_rule: any\nstop:\n  plateau: 3\n---\nDo research.\n"
    (root / "program.md").write_text(program, encoding="utf-8")
    return root


@pytest.fixture
def study(place: Path) -> Iterator[Study]:
    """Experiment 2 runs in the one slot, 3 and 4 wait."""
    Noting.started.clear()
    with closing(Study(place, "t1", ServeOptions(profile="smoke"), Noting)) as study:
        study.run("the baseline")
        end(study, 1, 2.0)
        for lane in ("main", "b", "c"):
            patched(study, f"{lane} = 1", lane)
            study.run(lane, lane=lane)
        assert Noting.started == [1, 2]
        yield study


def result(study: Study, number: int) -> Result | None:
    row = study.ledger.get(number)
    assert row
    return row.result


def test_the_next_run_begins_before_a_score_is_imported_and_only_that_one(study: Study) -> None:
    end_unseen(study, 2, measured(2.1))
    hand_over(study)
    assert Noting.started == [1, 2, 3] and result(study, 2) is None
    end_unseen(study, 3, measured(2.1))
    hand_over(study)
    assert Noting.started == [1, 2, 3], "while imports fail, no further run begins"
    study.settle()
    assert [bool(result(study, number)) for number in (2, 3)] == [True, True]
    dispatch(study)
    assert Noting.started == [1, 2, 3, 4]


def test_what_may_matter_to_the_next_run_comes_first_and_a_server_that_ends_loses_nothing(
    study: Study, place: Path
) -> None:
    for how in (CRASHED, measured(2.1, unkillable="7"), measured(2.1, gpu_held="7")):
        end_unseen(study, 2, how)
        hand_over(study)
        assert Noting.started == [1, 2], how
    end_unseen(study, 2, measured(2.1))
    study.queue.begin(Sweep(description="rates", items=[SweepItem(knobs={"RATE": "2e-6"})]))
    hand_over(study)
    assert Noting.started == [1, 2], "its next move may be a keep"
    study.queue.end("enough")
    hand_over(study)
    study.close()
    with closing(Study(place, "t1", ServeOptions(profile="smoke"), Noting)) as after:
        assert result(after, 2) and [row.number for row in after.slots.under_way()] == [3]


async def test_a_start_that_the_machine_fails_holds_up_no_score(study: Study) -> None:
    end_unseen(study, 2, measured(2.1))
    study.runs.path(3).mkdir(parents=True)  # where the next run's folder has to be made
    imported = list[bool]()

    async def call(move: Callable[[], None]) -> None:
        try:
            move()
        finally:
            imported.append(result(study, 2) is not None)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(Background(study, call).run)
    assert imported == [True] and Noting.started == [1, 2, 3]


def test_a_limit_counts_what_is_over(study: Study) -> None:
    """Three experiments without a keep end the study: none is begun after the third."""
    end(study, 2, 2.1)
    dispatch(study)
    end(study, 3, 2.1)
    dispatch(study)
    patched(study, "d = 1", "d")
    study.run("d", lane="d")
    end_unseen(study, 4, measured(2.1))
    hand_over(study)
    row = study.ledger.get(5)
    assert Noting.started == [1, 2, 3, 4] and row and row.verdict == "refused"
