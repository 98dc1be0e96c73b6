"""Which night is meant when none is named: the latest."""

from pathlib import Path

from server.errors import LedgerUnavailable


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
