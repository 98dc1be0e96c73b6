"""The command line: which commands there are, and what an error looks like to an operator."""

import errno
import gc
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from importlib import import_module, metadata
from typing import Annotated, Any, NoReturn

import typer

from server import __version__
from server.api.json_rpc import NOT_STARTED, refuse_all
from server.cli.screens.help_words import in_plain_words
from server.cli.terminal import console, say, spell_out
from server.errors import AutoresearchError
from server.serve_words import DEFAULT_ADDRESS, after_dashes

_USAGE = 2  # exit code
_ROOM = 500  # characters that are told of an error
_REMEDIES = {  # the next step, by what the system says
    errno.ELOOP: "Remove the link that leads to itself, then call again.",
    errno.EISDIR: "Move that folder away, then call again.",
    errno.ENOTDIR: "Move away the file that is in the place of a folder, then call again.",
    errno.ENOENT: "Make the folder, or correct the link or the name, then call again.",
    errno.ENAMETOOLONG: "Use a shorter path.",
    errno.ENOTCONN: "Mount the file system there again, then call again.",
}
_OPTIONS = "`autoresearch serve --help` lists them: correct the entry in the client's configuration."

_COMMANDS = {  # in the order of the help; in which module of server.cli each one is
    "serve": "serve",
    "demo": "serve",
    "drive": "serve",
    "init": "setup",
    "adopt": "adopt",
    "prepare": "setup",
    "doctor": "setup",
    "connect": "setup",
    "install-service": "setup",
    "history": "reports",
    "export": "reports",
    "report": "reports",
    "finalize": "reports",
    "notify": "reports",
    "transfer": "reports",
    "call": "call",
    "status": "control",
    "stop": "control",
    "pause": "control",
    "resume": "control",
    "health": "control",
    "watch": "control",
    "version": "entry",
    "library": "library",
}
_WITH_OPTIONS_OF_SERVE = ("drive", "call")


def _print_versions(wanted: bool) -> None:
    if wanted:
        python = ".".join(map(str, sys.version_info[:3]))
        sys.stdout.write(f"autoresearch {__version__} (Python {python}, mcp {metadata.version('mcp')})\n")
        raise typer.Exit


def alone(
    context: typer.Context,
    version: Annotated[  # pyright: ignore[reportUnusedParameter]
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_versions, help="Print the versions of this program and Python."
        ),
    ] = False,
) -> None:
    """An MCP server that referees autonomous research. Without a command, it says what to do next in this folder."""
    if context.invoked_subcommand is None:
        from server.cli import control

        control.say_what_is_next()


def version() -> None:
    """Print the version."""
    sys.stdout.write(f"{__version__}\n")


def app_of(names: Iterable[str] = tuple(_COMMANDS)) -> typer.Typer:
    """The command line with these commands alone, so that no other's modules are loaded: a server must start fast."""
    app = typer.Typer(invoke_without_command=True, pretty_exceptions_enable=False)
    app.callback()(alone)
    for name in names:
        module = import_module(f"server.cli.{_COMMANDS[name]}")
        if name == "library":
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(getattr(module, name.replace("-", "_")))
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; errors that an operator can act on become one sentence and exit code 1."""
    if sys.platform == "win32":
        _end([], "autoresearch needs POSIX process groups and file locks.", "On Windows, run it inside WSL2.", 2)
    words = _spelt_out(sys.argv[1:] if arguments is None else arguments)
    if sys.flags.optimize:
        _start_whole(words)
    spell_out()
    _collect_garbage()
    try:
        command = in_plain_words(typer.main.get_command(app_of(_needed(words))))
        command(args=_serving_last(command, words), prog_name="autoresearch")
    except AutoresearchError as error:
        _end(words, error.problem, error.next_step)
    except OSError as error:
        _end(words, str(error), _REMEDIES.get(error.errno or 0, "Free space or restore access there, then call again."))
    except Exception as error:
        told = traceback.format_exception_only(error)[-1].strip()[:_ROOM]
        _answer(words, f"This is a bug in autoresearch: {told}", "The traceback is on stderr: please report it.")
        raise
    except SystemExit as ended:
        if ended.code == _USAGE:
            _answer(words, f"autoresearch does not understand the options {' '.join(words)!r}.", _OPTIONS)
        raise


def _needed(words: Sequence[str]) -> Iterable[str]:
    """The commands that take part in understanding these words: all, unless the first word names one."""
    if not words or words[0] not in _COMMANDS:
        return _COMMANDS
    return (words[0], "serve") if words[0] in _WITH_OPTIONS_OF_SERVE else words[:1]


def _collect_garbage() -> None:
    """Go on with what whoever has loaded this module stopped meanwhile: a command may run for days."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def _end(words: Sequence[str], problem: str, step: str, code: int = 1) -> NoReturn:
    out = console(stderr=True)
    say(out, problem, "red")
    say(out, step)
    _answer(words, problem, step)
    raise SystemExit(code) from None


def _answer(words: Sequence[str], problem: str, step: str) -> None:
    """Tell a client that has started `serve` over stdio as well."""
    http = any(word == "--http" or word.startswith("--http=") for word in words)
    if words[:1] == ["serve"] and not http:
        refuse_all(f"{NOT_STARTED}. {problem} {step}")


def _start_whole(words: list[str]) -> None:
    """Become this program with its docstrings and asserts: they describe the tools, and PYTHONOPTIMIZE drops them."""
    again = f"import sys; sys.path[:] = {sys.path!r}; from server.cli.entry import main; main({words!r})"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONOPTIMIZE"}
    os.execve(sys.executable, [sys.executable, "-P", "-c", again], environment)


def _serving_last(command: Any, words: Sequence[str]) -> list[str]:
    """Options of `serve` behind `--`, where a command that starts a server is given them among its own."""
    if not words or words[0] not in _WITH_OPTIONS_OF_SERVE:
        return list(words)
    serve, own = (
        {
            name: not one.is_flag
            for one in command.commands[which].params
            if one.param_type_name == "option"
            for name in (*one.opts, *one.secondary_opts)
        }
        for which in ("serve", words[0])
    )
    return [words[0], *after_dashes(words[1:], own, serve)]


def _spelt_out(arguments: Sequence[str]) -> list[str]:
    """`--http` may stand alone: typer knows no option whose value can be left away."""
    following = [*arguments[1:], "--"][: len(arguments)]
    pairs = zip(arguments, following, strict=True)
    return [
        word
        for one, then in pairs
        for word in ([one, DEFAULT_ADDRESS] if one == "--http" and then[:1] == "-" else [one])
    ]
