"""What people read in a terminal: texts that are not ours appear as they are, in whatever the terminal can show."""

import codecs
import json
import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING

from server.cli.screens.layout import wrapped

if TYPE_CHECKING:  # a server that has nothing to say starts without it
    from rich.console import Console

_LEAST_COLUMNS = 20
_SPELT = {"→": "->", "±": "+-", "−": "-", "…": "...", "σ": "sigma", "Δ": "delta", "·": "-"}


def console(stderr: bool = False) -> "Console":
    """A console that takes no text for markup: a path or a description may hold [brackets]."""
    from rich.console import Console

    _forget_narrow()
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)


def columns(out: "Console") -> int:
    """How many columns a line may take. What is no terminal has room for all, unless COLUMNS says how much."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal():
        out.width = int(told)  # what the console took when it was made may be another
        return out.width
    return out.width if out.is_terminal else 1000


def say(out: "Console", text: str, style: str = "", indent: int = 0) -> None:
    """Print sentences. In a terminal, their lines are folded between words, and all but the first one indented."""
    from rich.text import Text

    width = columns(out) if out.is_terminal else sys.maxsize
    for part in (part for line in text.split("\n") for part in wrapped(line, width, indent)):
        out.print(Text(part, style))


def _forget_narrow() -> None:
    """Take the terminal's own width where COLUMNS names one in which nothing can be read: rich prints nothing at 0."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and len(told) < 9 and int(told) < _LEAST_COLUMNS:
        del os.environ["COLUMNS"]


def print_json(told: object) -> None:
    """Print a value for programs, in whatever the output's encoding can hold."""
    plain = (sys.stdout.encoding or "").lower() not in ("utf-8", "utf8")
    sys.stdout.write(json.dumps(told, indent=2, ensure_ascii=plain) + "\n")


def folded(told: str, columns: int = 80) -> list[str]:
    """A text in lines that are shorter than so many columns, where it has "; " to be parted at."""
    lines: list[str] = []
    for part in told.split("; "):
        if lines and len(lines[-1]) + len(part) + 3 <= columns:
            lines[-1] += f"; {part}"
        else:
            lines.append(part)
    return [f"{line};" for line in lines[:-1]] + lines[-1:]


def spell_out() -> None:
    """Print what the terminal's encoding lacks in other words, and never fail for it."""
    _forget_narrow()
    codecs.register_error("autoresearch", _spelt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # None, where a program has none
            stream.reconfigure(errors="autoresearch")


def _spelt(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letter, end = error.object[error.start], error.start + 1
    if "\udc80" <= letter <= "\udcff":  # a byte of a file's name that is no UTF-8
        return os.fsencode(letter), end
    return _SPELT.get(letter) or letter.encode("ascii", "backslashreplace").decode("ascii"), end
