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


class Caller(NamedTuple):
    """A client in a lane."""

    lane: str = MAIN
    home: str = MAIN  # the client's own lane, which its calls are about where they name none
    agent: str = ""  # the client's name, as its token has it


UNNAMED = Caller()
_CALLER = ContextVar("caller", default=UNNAMED)


@contextmanager
def calling_as(at: Caller) -> Generator[None]:
    """Within this block, `next_actions` are those of this caller, where no other one is given."""
    before = _CALLER.set(at)
    try:
        yield
    finally:
        _CALLER.reset(before)


def current_caller() -> Caller:
    """Who makes the current call."""
    return _CALLER.get()


def caller_of(ctx: Context[Any, Any] | None, lane: str = "") -> Caller:
    """The client that makes a call, and its lane; a client without a name in its token is in main."""
    headers = (ctx.headers if ctx else None) or {}
    agent = client_name(headers.get("authorization", ""))
    return Caller(lane or agent or MAIN, agent or MAIN, agent)


def client_name(header: str) -> str:
    """The name of a client that sends `Authorization: Bearer TOKEN@NAME`; empty if it sends none."""
    token, at, name = header.strip().rpartition("@")
    return name if at and token and LANE.fullmatch(name) else ""


def require_name(caller: Caller) -> None:
    """Refuse an invalid name of a lane. Raises UnknownLane."""
    if not LANE.fullmatch(caller.lane):
        raise UnknownLane(
            f"{clip(caller.lane, 40)!r} is not a valid name of a lane.", "Use 1 to 20 characters of a-z, 0-9 and -."
        )


def require_lane(study: Study, caller: Caller) -> None:
    """Refuse a lane that does not exist; a client's own lane always exists. Raises UnknownLane."""
    require_name(caller)
    if caller.lane != caller.home:
        study.settle()
        study.lanes.require(caller.lane)
