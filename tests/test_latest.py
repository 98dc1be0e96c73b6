"""The night that is meant when none is named."""

import os
import time
from datetime import date
from pathlib import Path

from server.latest import tonight


def written(workspace: Path, tag: str, hours_ago: float) -> None:
    """A night whose ledger was last written to so long ago."""
    path = workspace / ".autoresearch" / tag / "ledger.sqlite3"
    path.parent.mkdir(parents=True)
    path.touch()
    moment = time.time() - 3600 * hours_ago
    os.utime(path, (moment, moment))


def test_a_first_night_has_the_date_of_its_evening(tmp_path: Path) -> None:
    assert tonight(tmp_path) == date.today().isoformat()


def test_a_server_that_is_started_again_after_midnight_goes_on_with_the_night(tmp_path: Path) -> None:
    written(tmp_path, "yesterday", hours_ago=0.1)
    written(tmp_path, "long-ago", hours_ago=50)
    assert tonight(tmp_path) == "yesterday"


def test_another_evening_is_another_night(tmp_path: Path) -> None:
    written(tmp_path, "yesterday", hours_ago=12)
    assert tonight(tmp_path) == date.today().isoformat()
