"""Which night is meant when none is named."""

import time
from contextlib import closing
from datetime import date
from pathlib import Path

from server.errors import LedgerUnavailable
from server.ledger import Ledger
from server.lock import holder
from server.word import NAME, Word, heard

GOES_ON_HOURS = 3.0  # after which a night that rests is over, and another one begins


def tonight(workspace: Path) -> str:
    """The tag to serve: the latest night's while it goes on; else today's date.

    A server or a client that is started again after midnight must not begin another night. A night goes on for as long
    as it is paused, or has a run whose result was not looked at; else for three hours after its last row, or after the
    operator's word: what is started the evening after `stop` is a new night.
    """
    try:
        path = latest(workspace, "")
    except LedgerUnavailable:
        return date.today().isoformat()
    recent = time.time() - _moment(path) < 3600 * GOES_ON_HOURS
    return path.parent.name if recent or _waits(path) else date.today().isoformat()


def latest(workspace: Path, tag: str) -> Path:
    """The ledger of `tag`, or of the night that is served here, or of the last one. Raises LedgerUnavailable."""
    served = None if tag else holder(workspace)
    if served and (path := workspace / ".autoresearch" / served.tag / "ledger.sqlite3").exists():
        return path
    found = sorted((workspace / ".autoresearch").glob(f"{tag or '*'}/ledger.sqlite3"), key=_moment)
    if not found:
        raise LedgerUnavailable(
            f"There is no history{f' under tag {tag}' if tag else ''} in {workspace.resolve()}.",
            "Name the workspace with --workspace, or start a night with `autoresearch serve` or `autoresearch demo`.",
        )
    return found[-1]


def _moment(path: Path) -> float:
    """When a night last had a row or a word, in seconds since the epoch: to open a ledger writes nothing."""
    return max(entry.stat().st_mtime for entry in (path, path.with_name(NAME)) if entry.exists())


def _waits(path: Path) -> bool:
    """Whether a night is paused, or has a run whose result was not looked at."""
    if heard(path.parent) is Word.PAUSE:
        return True
    try:
        with closing(Ledger(path, read_only=True)) as ledger:
            last = ledger.last()
    except LedgerUnavailable:
        return False
    return last is not None and last.running
