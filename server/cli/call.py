"""`autoresearch call`: one tool call from a shell. It imports what it needs when it runs."""

import sys
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import typer

from server.cli.screens.layout import commands
from server.cli.terminal import columns, console, print_json, say

_out = console()
_err = console(stderr=True)


class Exit(IntEnum):
    """Exit codes of `autoresearch call`."""

    ANSWERED = 0
    REFUSED = 1  # by the tool
    MISSPELT = 2
    UNREACHABLE = 3


def call(
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="Name of the tool, as --list shows it.")] = "",
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Arguments: key=value, read as the tool's type; key:=JSON; key=@FILE; key=@- for stdin. Options of "
            "`serve` apply to a server started for this call.",
        ),
    ] = None,
    given: Annotated[
        str, typer.Option("--json", metavar="JSON", help="All arguments as one JSON object, @FILE or @-.")
    ] = "",
    workspace: Annotated[Path, typer.Option(metavar="FOLDER", help="A git repository with a program.md.")] = Path(),
    url: Annotated[
        str, typer.Option(metavar="URL", help="URL of a server over HTTP; default: the workspace's server.")
    ] = "",
    token: Annotated[
        str, typer.Option(help="Token of the server; default: AUTORESEARCH_TOKEN, or the workspace's token.")
    ] = "",
    listed: Annotated[bool, typer.Option("--list", help="List the tools, and call none.")] = False,
    schema: Annotated[str, typer.Option(metavar="TOOL", help="Print the JSON schema of a tool's arguments.")] = "",
) -> None:
    """Call one tool, and print its answer as JSON.

    The call goes to --url, or to the workspace's server over HTTP. If there is none, a server is started for this
    call. A run that the call starts goes on, and the next call finds it.

    Exit code 0: an answer; 1: the tool refused, and stderr says why; 2: the call is misspelt; 3: no server answers.
    """
    from server.clients.call_words import CallMisspelt, read_arguments, schema_of
    from server.clients.tool_call import answer, described, server_of
    from server.errors import AutoresearchError
    from server.library.reading.document_files import has_documents
    from server.paths import Home

    try:
        if listed:
            hidden = set[str]() if has_documents(Home(workspace).library) else {"library"}
            known = {name: text for name, (text, _) in described().items() if name not in hidden}
            tools = [(name, text.partition(". ")[0].rstrip(".")) for name, text in known.items()]
            for line in commands(tools, columns(_out)):
                _out.print(line)
            return
        if schema:
            print_json(schema_of(schema, {name: told for name, (_, told) in described().items()}))
            return
        options = words or []
        first = next((at for at, word in enumerate(options) if word.startswith("-")), len(options))
        server = server_of(workspace.resolve(), url, token, options[first:])
        arguments = read_arguments(tool, schema_of(tool, server.schemas()), options[:first], given, _read)
        result = server.call(tool, arguments, _progress)
    except CallMisspelt as error:
        raise _ended(error, Exit.MISSPELT) from None
    except AutoresearchError as error:
        raise _ended(error, Exit.UNREACHABLE) from None
    told, refusal = answer(result)
    print_json(told)
    if refusal:
        say(_err, refusal)
        raise typer.Exit(Exit.REFUSED)


def _ended(error: Exception, code: Exit) -> typer.Exit:
    say(_err, str(error))
    return typer.Exit(code)


def _read(name: str) -> str:
    """The text of a file, its line ends as they are; "-" is stdin. Raises CallMisspelt."""
    from server.clients.call_words import CallMisspelt

    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CallMisspelt(f"{name} cannot be read: {error}.", "Name a file of UTF-8 text, or - for stdin.") from None


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{line}\r")
