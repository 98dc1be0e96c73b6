"""The command line: which commands there are, and what an error looks like to an operator."""

import sys
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.markup import escape

from server import __version__
from server.cli import call, control, reports, serve, setup
from server.errors import AutoresearchError
from server.serve_options import DEFAULT_ADDRESS

app = typer.Typer(
    help="An MCP server that referees autonomous research on one file, train.py.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def version() -> None:
    """Print the version."""
    sys.stdout.write(f"{__version__}\n")


for command in (
    serve.serve,
    serve.demo,
    serve.drive,
    setup.init,
    setup.prepare,
    setup.doctor,
    setup.connect,
    reports.history,
    reports.export,
    reports.report,
    reports.transfer,
    call.call,
    control.stop,
    control.pause,
    control.resume,
    control.health,
    version,
):
    app.command()(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; errors that an operator can act on become one sentence and exit code 1."""
    console = Console(stderr=True)
    if sys.platform == "win32":
        console.print("autoresearch needs POSIX process groups and file locks: on Windows, run it inside WSL2.")
        raise SystemExit(2)
    try:
        app(args=_spelt_out(sys.argv[1:] if arguments is None else arguments))
    except AutoresearchError as error:
        console.print(f"[red]{escape(error.problem)}[/red]\n{escape(error.next_step)}", highlight=False, soft_wrap=True)
        raise SystemExit(1) from None
    except OSError as error:
        told = f"[red]{escape(str(error))}[/red]\nFree space or restore access there, then call again."
        console.print(told, highlight=False, soft_wrap=True)
        raise SystemExit(1) from None


def _spelt_out(arguments: Sequence[str]) -> list[str]:
    """`--http` may stand alone: typer knows no option whose value can be left away."""
    following = [*arguments[1:], "--"]
    pairs = zip(arguments, following, strict=True)
    return [
        word
        for one, then in pairs
        for word in ([one, DEFAULT_ADDRESS] if one == "--http" and then[:1] == "-" else [one])
    ]
