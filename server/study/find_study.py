"""Which study is meant when none is named, and the operator's request to pause or stop it.

The request comes from another terminal: it is one small file beside the ledger.
"""

import time
from contextlib import closing
from datetime import date
from enum import StrEnum
from pathlib import Path

from server.errors import LedgerUnavailable
from server.files import write_whole
from server.history.ledger import Ledger
from server.locks import lock_holder

RESUME_HOURS = 3.0  # after which a night that rests is over, and another one begins


def tag_to_serve(workspace: Path) -> str:
    """The tag to serve: the latest night's while it goes on; else today's date.

    A server or a client that is started again after midnight must not begin another night. A night goes on for as long
    as it is paused, or has a run whose result was not looked at; else for three hours after its last row, or after the
    operator's word: what is started the evening after `stop` is a new night.
    """
    try:
        path = latest_ledger(workspace, "")
    except LedgerUnavailable:
        return date.today().isoformat()
    recent = time.time() - _last_changed(path) < 3600 * RESUME_HOURS
    return path.parent.name if recent or _is_unfinished(path) else date.today().isoformat()


def latest_ledger(workspace: Path, tag: str) -> Path:
    """The ledger of `tag`, or of the night that is served here, or of the last one. Raises LedgerUnavailable."""
    served = None if tag else lock_holder(workspace)
    if served and (path := workspace / ".autoresearch" / served.tag / "ledger.sqlite3").exists():
        return path
    found = sorted((workspace / ".autoresearch").glob(f"{tag or '*'}/ledger.sqlite3"), key=_last_changed)
    if not found:
        raise LedgerUnavailable(
            f"There is no history{f' under tag {tag}' if tag else ''} in {workspace.resolve()}.",
            "Name the workspace with --workspace, or start a night with `autoresearch serve` or `autoresearch demo`.",
        )
    return found[-1]


def _last_changed(path: Path) -> float:
    """When a night last had a row or a word, in seconds since the epoch: to open a ledger writes nothing."""
    return max(entry.stat().st_mtime for entry in (path, path.with_name(REQUEST_FILE)) if entry.exists())


def _is_unfinished(path: Path) -> bool:
    """Whether a night is paused, or has a run whose result was not looked at."""
    if read_request(path.parent) is OperatorRequest.PAUSE:
        return True
    try:
        with closing(Ledger(path, read_only=True)) as ledger:
            last = ledger.last()
    except LedgerUnavailable:
        return False
    return last is not None and last.running


REQUEST_FILE = "operator"


class OperatorRequest(StrEnum):
    """Nothing new is started after either; a run under way goes on."""

    PAUSE = "pause"
    STOP = "stop"


def write_request(state: Path, word: OperatorRequest | None) -> None:
    """Leave a word for the night in folder `state`; None takes it back. Raises OSError."""
    if word is None:
        (state / REQUEST_FILE).unlink(missing_ok=True)
        return
    try:
        write_whole(state / REQUEST_FILE, f"{word}\n")
    except (OSError, ValueError):
        if word is not OperatorRequest.STOP:
            raise
        (state / REQUEST_FILE).write_bytes(b"")  # takes no space on a full disk, and is heard as a stop


def read_request(state: Path) -> OperatorRequest | None:
    """The operator's last word; what cannot be read is a stop: somebody wanted something."""
    try:
        told = (state / REQUEST_FILE).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return OperatorRequest.STOP
    return OperatorRequest(told) if told in {word.value for word in OperatorRequest} else OperatorRequest.STOP
