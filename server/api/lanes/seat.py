"""Which client makes a call, and which lane the call is about."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from mcp.server.mcpserver import Context

from server.errors import UnknownLane
from server.records import MAIN
from server.study.lane import LANE
from server.study.study import Study
from server.text import clip


class Seat(NamedTuple):
    """A client in a lane."""

    lane: str = MAIN
    home: str = MAIN  # the client's own lane, which its calls are about where they name none
    agent: str = ""  # the client's name, as its token has it


HERE = Seat()
_SEAT = ContextVar("seat", default=HERE)


@contextmanager
def seated(at: Seat) -> Generator[None]:
    """Within this block, next calls are those of this seat, unless another seat is given."""
    before = _SEAT.set(at)
    try:
        yield
    finally:
        _SEAT.reset(before)


def current_seat() -> Seat:
    """The seat of the current call."""
    return _SEAT.get()


def seat(ctx: Context[Any, Any] | None, lane: str = "") -> Seat:
    """The client that makes a call, and its lane; a client without a name in its token is in main."""
    headers = (ctx.headers if ctx else None) or {}
    agent = client_name(headers.get("authorization", ""))
    return Seat(lane or agent or MAIN, agent or MAIN, agent)


def client_name(header: str) -> str:
    """The name of a client that sends `Authorization: Bearer TOKEN@NAME`; empty if it sends none."""
    token, at, name = header.strip().rpartition("@")
    return name if at and token and LANE.fullmatch(name) else ""


def require_name(seat: Seat) -> None:
    """Refuse an invalid name of a lane. Raises UnknownLane."""
    if not LANE.fullmatch(seat.lane):
        raise UnknownLane(
            f"{clip(seat.lane, 40)!r} is not a valid name of a lane.", "Use 1 to 20 characters of a-z, 0-9 and -."
        )


def require_lane(study: Study, seat: Seat) -> None:
    """Refuse a lane that does not exist; a client's own lane always exists. Raises UnknownLane."""
    require_name(seat)
    if seat.lane != seat.home:
        study.settle()
        study.lanes.require(seat.lane)
