"""The night that is meant when none is named."""

import os
import time
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from server.cli import control
from server.history.ledger import Ledger
from server.locks import RepositoryLock, lock_path
from server.paths import StudyPaths
from server.records import Verdict
from server.study.find_study import (
    OperatorRequest,
    latest_study,
    read_request,
    tag_to_serve,
    write_request,
)
from tests.support.builders import attempt, finished, judged


def written(workspace: Path, tag: str, hours_ago: float, running: bool = False) -> Path:
    """The state of a night with one run, whose last row is so old."""
    path = workspace / ".autoresearch" / tag / "ledger.sqlite3"
    path.parent.mkdir(parents=True)
    with closing(Ledger(path)) as ledger:
        ledger.begin(attempt(1))
        if not running:
            ledger.finish(1, finished(2.0), judged(1, Verdict.BASELINE))
    aged(path, hours_ago)
    return path.parent


def aged(path: Path, hours_ago: float) -> None:
    moment = time.time() - 3600 * hours_ago
    os.utime(path, (moment, moment))


def test_what_waits_keeps_a_night_open_until_it_is_stopped(tmp_path: Path) -> None:
    state = tmp_path / ".autoresearch" / "yesterday"
    state.mkdir(parents=True)
    with closing(Ledger(state / "ledger.sqlite3")) as ledger:
        ledger.begin(attempt(1).model_copy(update={"queued_at": "2026-01-01T12:00:00+00:00"}))
        assert ledger.unfinished()[0].queued
    aged(state / "ledger.sqlite3", 12)
    assert tag_to_serve(tmp_path) == "yesterday"
    write_request(state, OperatorRequest.STOP)
    aged(StudyPaths(state).request, 12)
    assert tag_to_serve(tmp_path) == today()


def today() -> str:
    return date.today().isoformat()


def test_a_first_night_has_the_date_of_its_evening(tmp_path: Path) -> None:
    assert tag_to_serve(tmp_path) == today()


def test_a_server_that_is_started_again_after_midnight_goes_on_with_the_night(tmp_path: Path) -> None:
    written(tmp_path, "yesterday", hours_ago=0.1)
    written(tmp_path, "long-ago", hours_ago=50)
    assert tag_to_serve(tmp_path) == "yesterday"


def test_another_evening_is_another_night(tmp_path: Path) -> None:
    written(tmp_path, "yesterday", hours_ago=12)
    assert tag_to_serve(tmp_path) == today()


def test_a_run_under_way_keeps_its_night_however_long_it_is(tmp_path: Path) -> None:
    written(tmp_path, "yesterday", hours_ago=12, running=True)
    assert tag_to_serve(tmp_path) == "yesterday"


def test_a_paused_night_is_tonights_until_it_is_resumed_and_hours_after(tmp_path: Path) -> None:
    state = written(tmp_path, "yesterday", hours_ago=12)
    write_request(state, OperatorRequest.PAUSE)
    aged(StudyPaths(state).request, 11)
    assert tag_to_serve(tmp_path) == "yesterday"
    (tmp_path / "program.md").touch()
    control.resume(tmp_path)
    assert tag_to_serve(tmp_path) == "yesterday"


@pytest.mark.parametrize(("said_hours_ago", "goes_on"), [(2.0, True), (4.0, False)])
def test_a_stopped_night_stays_stopped_for_a_server_that_is_started_again_and_not_for_the_next_evening(
    tmp_path: Path, said_hours_ago: float, goes_on: bool
) -> None:
    state = written(tmp_path, "yesterday", hours_ago=12)
    write_request(state, OperatorRequest.STOP)
    aged(StudyPaths(state).request, said_hours_ago)
    assert tag_to_serve(tmp_path) == ("yesterday" if goes_on else today())


def test_the_night_that_a_server_works_on_is_the_latest_whatever_the_clock_says(tmp_path: Path) -> None:
    served = written(tmp_path, "served", hours_ago=12)
    newer = written(tmp_path, "newer", hours_ago=-24)
    (tmp_path / ".git").mkdir()
    lock = RepositoryLock(lock_path(tmp_path), "served")
    control.stop(tmp_path)
    assert read_request(served) is OperatorRequest.STOP and read_request(newer) is None
    lock.release()
    assert latest_study(tmp_path, "").state == newer


def test_a_ledger_that_is_only_opened_does_not_become_the_latest(tmp_path: Path) -> None:
    old, new = (written(tmp_path, tag, hours_ago) for tag, hours_ago in (("old", 50), ("new", 10)))
    for read_only in (True, False):
        Ledger(old / "ledger.sqlite3", read_only).close()
    assert latest_study(tmp_path, "").state == new and tag_to_serve(tmp_path) == today()
