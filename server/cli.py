"""The command line. A command imports what it needs when it runs: `serve` must not pay for matplotlib."""

import sys
from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from server import __version__
from server.errors import AutoresearchError, LedgerUnavailable

app = typer.Typer(
    help="An MCP server that referees autonomous research on one file, train.py.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
_out, _err = Console(), Console(stderr=True)


class Profile(StrEnum):
    """Classes of machines that the trainer knows."""

    SMOKE = "smoke"
    CPU = "cpu"
    MPS = "mps"
    GPU_SMALL = "gpu-small"
    GPU = "gpu"


class Require(StrEnum):
    """What an operator may insist on."""

    SEALED = "sealed"
    NOTHING = "nothing"


class Format(StrEnum):
    """What `export` writes."""

    TSV = "tsv"
    JSONL = "jsonl"
    PNG = "png"


_Workspace = Annotated[Path, typer.Option(help="A git repository with a program.md and a train.py.")]
_Tag = Annotated[str, typer.Option(help="Name of the night; default: the latest one.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; errors that an operator can act on become one sentence and exit code 1."""
    if sys.platform == "win32":
        _err.print("autoresearch needs POSIX process groups and file locks: on Windows, run it inside WSL2.")
        raise SystemExit(2)
    try:
        app(args=list(arguments) if arguments is not None else None)
    except AutoresearchError as error:
        _err.print(f"[red]{error.problem}[/red]\n{error.next_step}", highlight=False)
        raise SystemExit(1) from None


@app.command()
def serve(
    workspace: Annotated[Path, typer.Option(help="A git repository with a program.md and a train.py.")] = Path(),
    tag: Annotated[str, typer.Option(help="Name of the night; default: today's date. An old one is resumed.")] = "",
    budget: Annotated[
        float | None, typer.Option(min=0.1, help="Training seconds a run; default: program.md's.")
    ] = None,
    profile: Annotated[Profile | None, typer.Option(help="Class of machine; default: what is found.")] = None,
    require: Annotated[
        Require | None,
        typer.Option(
            help="Guards around train.py. Default: all that the machine has. "
            "sealed: run nothing that lacks one; nothing: put on none, and say so with every result."
        ),
    ] = None,
) -> None:
    """Serve MCP on stdin and stdout."""
    import anyio

    from server.app import create
    from server.app import serve as speak
    from server.choices import Choices
    from server.session import Session

    choices = Choices(
        budget_seconds=budget,
        profile=profile.value if profile else None,
        confine=require is not Require.NOTHING,
        require_sealed=require is Require.SEALED,
    )
    session = Session(workspace, tag or date.today().isoformat(), choices)
    try:
        anyio.run(speak, create(session))
    finally:
        session.close()


@app.command()
def demo(
    workspace: _Workspace = Path(),
    budget: Annotated[float, typer.Option(min=0.1, help="Training seconds a run.")] = 15.0,
    profile: Annotated[Profile, typer.Option(help="Class of machine; the script's ideas are about cpu.")] = Profile.CPU,
) -> None:
    """Drive a short night without any LLM: the real server, a real client, real training on the CPU."""
    import anyio

    from server.demo import Demo

    anyio.run(Demo(_out, workspace, budget, profile.value).run)


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="The new workspace; made if it does not exist.")]) -> None:
    """Make a workspace from nothing: program.md, train.py, a git repository, a first commit."""
    from server.scaffold import create

    for line in create(folder):
        _out.print(line, highlight=False)


@app.command()
def doctor(workspace: _Workspace = Path()) -> None:
    """Check the machine and the workspace; exit code 1 if something must be fixed."""
    from server.doctor import examine

    marks = {"ok": "[green]ok[/green]", "warning": "[yellow]warning[/yellow]", "fix": "[red]fix[/red]"}
    checks = examine(workspace)
    for check in checks:
        _out.print(f"{marks[check.state]:<28} [bold]{check.name}[/bold]: {check.detail}", highlight=False)
        if check.remedy:
            _out.print(f"{'':<8} → {check.remedy}", highlight=False)
    if any(check.state == "fix" for check in checks):
        raise SystemExit(1)


@app.command()
def history(workspace: _Workspace = Path(), tag: _Tag = "", limit: Annotated[int, typer.Option(min=1)] = 50) -> None:
    """Show what was tried, newest first."""
    from server.ledger import Ledger
    from server.table import table

    ledger = Ledger(_find_ledger(workspace, tag), read_only=True)
    _out.print(table(ledger.page(limit, 0)))
    ledger.close()


@app.command()
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


@app.command()
def connect(
    client: Annotated[str, typer.Argument(help="claude-code, claude-desktop, codex, cursor, vscode, gemini, opencode")],
    workspace: _Workspace = Path(),
    write: Annotated[bool, typer.Option("--write", help="Install it instead of printing it.")] = False,
) -> None:
    """Print, or install, the configuration that lets a client use this workspace."""
    from server.connect import configuration, target
    from server.connect import write as install

    folder, home = workspace.resolve(), Path.home()
    if write:
        _err.print(f"wrote {install(client, folder, sys.executable, home)}", highlight=False)
        return
    text = configuration(client, folder, sys.executable)
    _err.print(f"Put this into {target(client, folder, home)}, or call again with --write:", highlight=False)
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


@app.command()
def version() -> None:
    """Print the version."""
    _out.print(__version__, highlight=False)


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


if __name__ == "__main__":
    main()
