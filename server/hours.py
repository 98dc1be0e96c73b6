"""How many hours a night has had since its first run: counted by its server, on a clock that nobody can set.

A wall clock that jumps, after a boot or by hand, neither ends a night nor lengthens it. Between two servers it is
believed for as long as a night rests without becoming another; a longer gap is none of the night's time, or no gap.
"""

import time
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from server.experiment import Value
from server.files import write_whole
from server.latest import GOES_ON_HOURS
from server.ledger import Ledger

_NAME = "hours.json"


class _Count(Value):
    seconds: float = 0.0
    counted_at: float = 0.0  # seconds since the epoch


class Hours:
    """The count of the night that this process serves."""

    def __init__(self, state: Path) -> None:
        """Go on with the count in folder `state`."""
        self._path, self._counted = state / _NAME, time.monotonic()
        known = _read(state)
        gap = time.time() - known.counted_at
        self._seconds = known.seconds + (gap if 0 <= gap <= 3600 * GOES_ON_HOURS else 0.0)

    def count(self, ledger: Ledger) -> None:
        """Add the time since the last call; before the first run there is none. Raises LedgerUnavailable."""
        now = time.monotonic()
        passed, self._counted = now - self._counted, now
        if ledger.last() is None:
            return
        self._seconds += passed
        with suppress(OSError):  # a full disk: this process knows it
            write_whole(self._path, _Count(seconds=self._seconds, counted_at=time.time()).model_dump_json())


def spent(state: Path) -> float:
    """The hours of the night in folder `state`, as they were last counted."""
    return _read(state).seconds / 3600


def _read(state: Path) -> _Count:
    try:
        return _Count.model_validate_json((state / _NAME).read_bytes())
    except (OSError, ValidationError):
        return _Count()
