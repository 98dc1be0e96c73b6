"""The hours of a night, under clocks that jump and servers that come and go."""

import time

import anyio
import pytest
from mcp import Client

from server import curfew
from server.app import create
from server.hours import Hours, spent
from server.session import Session
from tests.steps import ran
from tests.test_steering import limited
from tests.watch import until

HOUR = 3600.0


def served(night: Session, seconds: float, ago: float) -> float:
    """The hours of a night that has had so many seconds, for the next server; the last one counted so long ago."""
    text = f'{{"seconds": {seconds}, "counted_at": {time.time() - ago}}}'
    (night.workspace.state / "hours.json").write_text(text, encoding="utf-8")
    Hours(night.workspace.state).count(night.ledger)
    return spent(night.workspace.state)


def test_hours_begin_with_the_first_run(night: Session) -> None:
    hours = Hours(night.workspace.state)
    hours.count(night.ledger)
    assert spent(night.workspace.state) == 0 and not (night.workspace.state / "hours.json").exists()
    ran(night, 2.0)
    hours.count(night.ledger)
    assert 0 < spent(night.workspace.state) < 1


@pytest.mark.parametrize(
    ("ago", "hours"),
    [(0.0, 5.0), (2 * HOUR, 7.0), (24 * HOUR, 5.0), (-24 * HOUR, 5.0)],
    ids=["at once", "a pause", "another evening, or a clock a day ahead", "a clock set back"],
)
def test_the_next_server_goes_on_with_the_count(night: Session, ago: float, hours: float) -> None:
    ran(night, 2.0)
    assert served(night, 5 * HOUR, ago) == pytest.approx(hours, abs=0.01)


@pytest.mark.parametrize("jump", [24 * HOUR, -48 * HOUR])
def test_a_clock_that_jumps_neither_ends_a_night_nor_lengthens_it(
    night: Session, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    ran(night, 2.0)
    limited(night, "{hours: 8}")
    hours, clock = Hours(night.workspace.state), time.time
    monkeypatch.setattr(time, "time", lambda: clock() + jump)
    hours.count(night.ledger)
    hours.count(night.ledger)
    assert spent(night.workspace.state) < 0.01 and curfew.ended(night) == ""
    served(night, 8 * HOUR, 0.0)
    assert curfew.ended(night) == "8 hours are over"


def test_a_count_that_cannot_be_read_ends_no_night(night: Session) -> None:
    (night.workspace.state / "hours.json").write_bytes(b"{")
    assert spent(night.workspace.state) == 0


async def test_a_server_counts_while_nobody_calls_it(night: Session) -> None:
    ran(night, 2.0)
    async with Client(create(night)):
        await anyio.to_thread.run_sync(until, lambda: spent(night.workspace.state))
