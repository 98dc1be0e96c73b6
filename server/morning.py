"""The commands after a night. A command imports what it needs when it runs: only a chart pays for matplotlib."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from server.errors import LedgerUnavailable

_out, _err = Console(), Console(stderr=True)
_Workspace = Annotated[Path, typer.Option(help="A git repository with a program.md and a train.py.")]
_Tag = Annotated[str, typer.Option(help="Name of the night; default: the latest one.")]


class Format(StrEnum):
    """What `export` writes."""

    TSV = "tsv"
    JSONL = "jsonl"
    PNG = "png"


def history(workspace: _Workspace = Path(), tag: _Tag = "", limit: Annotated[int, typer.Option(min=1)] = 50) -> None:
    """Show what was tried, newest first."""
    from server.ledger import Ledger
    from server.table import table

    ledger = Ledger(_find_ledger(workspace, tag), read_only=True)
    _out.print(table(ledger.page(limit, 0)))
    ledger.close()


def export(
    format: Annotated[Format, typer.Argument(help="results.tsv, one JSON object a line, or the progress chart.")],
    workspace: _Workspace = Path(),
    tag: _Tag = "",
    output: Annotated[
        Path | None, typer.Option(help="File to write; default: standard output, or progress.png")
    ] = None,
) -> None:
    """Write the history for other tools."""
    from server.export import jsonl, tsv
    from server.files import write_whole
    from server.ledger import Ledger

    ledger = Ledger(_find_ledger(workspace, tag), read_only=True)
    experiments = list(ledger.all())
    ledger.close()
    if format is Format.PNG:
        from server.chart import draw

        target = output or Path("progress.png")
        draw(experiments, target)
        _err.print(f"wrote {target}", highlight=False)
        return
    text = tsv(experiments) if format is Format.TSV else jsonl(experiments)
    if output is None:
        sys.stdout.write(text)
    else:
        write_whole(output, text)


def _find_ledger(workspace: Path, tag: str) -> Path:
    """The ledger of `tag`, or the one written last."""
    found = sorted(
        (workspace / ".autoresearch").glob(f"{tag or '*'}/ledger.sqlite3"), key=lambda path: path.stat().st_mtime
    )
    if not found:
        raise LedgerUnavailable(
            f"There is no history{f' under tag {tag}' if tag else ''} in {workspace.resolve()}.",
            "Name the workspace with --workspace, or start a night with `autoresearch serve` or `autoresearch demo`.",
        )
    return found[-1]
