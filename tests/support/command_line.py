"""The command line in the tests' own process: the start of a Python and its imports cost more than most commands.

That a process of its own does the same is shown by the tests of the start, the terminal and the installed package.
"""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

from server.cli.entry import main


class Done(NamedTuple):
    """How a command has ended."""

    returncode: int
    stdout: str
    stderr: str


def run_command(*words: str | Path) -> Done:
    """What a command prints to no terminal, with nothing on its standard input, and its exit code."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    code, asked, sys.stdin = 0, sys.stdin, io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main([str(word) for word in words])
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        sys.stdin = asked
    assert isinstance(code, int), code
    return Done(code, *(_text(stream) for stream in (out, err)))


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()
