"""The hours of a night, under clocks that jump and servers that come and go."""

import time

import anyio
import pytest
from mcp import Client

from server.api.app import create
from server.study import limits
from server.study.limits import HoursCounter, hours_spent
from server.study.study import Study
from tests.server.cli.test_control import limited
from tests.support.lifecycle import ran
from tests.support.polling import until

HOUR = 3600.0


def served(study: Study, seconds: float, ago: float) -> float:
    """The hours of a night that has had so many seconds, for the next server; the last one counted so long ago."""
    text = f'{{"seconds": {seconds}, "counted_at": {time.time() - ago}}}'
    (study.workspace.state / "hours.json").write_text(text, encoding="utf-8")
    HoursCounter(study.workspace.state).count(study.ledger)
    return hours_spent(study.workspace.state)


def test_hours_begin_with_the_first_run(study: Study) -> None:
    hours = HoursCounter(study.workspace.state)
    hours.count(study.ledger)
    assert hours_spent(study.workspace.state) == 0 and not (study.workspace.state / "hours.json").exists()
    ran(study, 2.0)
    hours.count(study.ledger)
    assert 0 < hours_spent(study.workspace.state) < 1


@pytest.mark.parametrize(
    ("ago", "hours"),
    [(0.0, 5.0), (2 * HOUR, 7.0), (24 * HOUR, 5.0), (-24 * HOUR, 5.0)],
    ids=["at once", "a pause", "another evening, or a clock a day ahead", "a clock set back"],
)
def test_the_next_server_goes_on_with_the_count(study: Study, ago: float, hours: float) -> None:
    ran(study, 2.0)
    assert served(study, 5 * HOUR, ago) == pytest.approx(hours, abs=0.01)


@pytest.mark.parametrize("jump", [24 * HOUR, -48 * HOUR])
def test_a_clock_that_jumps_neither_ends_a_night_nor_lengthens_it(
    study: Study, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    ran(study, 2.0)
    limited(study, "{hours: 8}")
    hours, clock = HoursCounter(study.workspace.state), time.time
    monkeypatch.setattr(time, "time", lambda: clock() + jump)
    hours.count(study.ledger)
    hours.count(study.ledger)
    assert hours_spent(study.workspace.state) < 0.01 and limits.why_study_over(study) == ""
    served(study, 8 * HOUR, 0.0)
    assert limits.why_study_over(study) == "the 8-hour limit was reached"


def test_a_count_that_cannot_be_read_ends_no_night(study: Study) -> None:
    (study.workspace.state / "hours.json").write_bytes(b"{")
    assert hours_spent(study.workspace.state) == 0


async def test_a_server_counts_while_nobody_calls_it(study: Study) -> None:
    ran(study, 2.0)
    async with Client(create(study)):
        await anyio.to_thread.run_sync(until, lambda: hours_spent(study.workspace.state))
