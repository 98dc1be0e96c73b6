"""Which night is meant when none is named."""

import time
from datetime import date
from pathlib import Path

from server.errors import LedgerUnavailable

_GOES_ON_HOURS = 3.0


def tonight(workspace: Path) -> str:
    """The tag to serve: the latest night's, if its ledger was written to in the last hours; else today's date.

    A server or a client that is started again after midnight must not begin another night.
    """
    try:
        path = latest(workspace, "")
    except LedgerUnavailable:
        return date.today().isoformat()
    hours = (time.time() - path.stat().st_mtime) / 3600
    return path.parent.name if hours < _GOES_ON_HOURS else date.today().isoformat()


def latest(workspace: Path, tag: str) -> Path:
    """The ledger of `tag`, or the one written last. Raises LedgerUnavailable."""
    found = sorted(
        (workspace / ".autoresearch").glob(f"{tag or '*'}/ledger.sqlite3"), key=lambda path: path.stat().st_mtime
    )
    if not found:
        raise LedgerUnavailable(
            f"There is no history{f' under tag {tag}' if tag else ''} in {workspace.resolve()}.",
            "Name the workspace with --workspace, or start a night with `autoresearch serve` or `autoresearch demo`.",
        )
    return found[-1]
