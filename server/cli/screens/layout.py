"""Lines of facts and commands, folded between words: a path or a command that is copied stays whole."""

import os
import re
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from server.text import printable

if TYPE_CHECKING:  # a server that has nothing to say starts without it
    from rich.console import Console, RenderableType

_BLANK = "\ue000"  # stands for one that is no place to break; no text has it
_COMMAND = re.compile(r"`[^`]*`")
_NAME = 10  # columns of the name of a fact
_LEAST = 30  # columns for what follows, in however narrow a terminal


def wrapped(text: str, width: int, indent: int = 0) -> list[str]:
    """One line of text in lines of so many columns, all but the first with `indent` blanks before them.

    Only a blank is a place to break, and none in `a command`, or in what is `whole`: that is longer than the line
    rather than in two.
    """
    room, text = max(width - indent, _LEAST), _COMMAND.sub(lambda found: whole(found[0]), text)
    found = textwrap.wrap(printable(text), room, break_long_words=False, break_on_hyphens=False) or [""]
    return [line.replace(_BLANK, " ") for line in (found[0], *(f"{'':<{indent}}{line}" for line in found[1:]))]


def whole(text: str) -> str:
    """A path, say, for `wrapped` to keep in one line, blanks and all."""
    return text.replace(" ", _BLANK)


def facts(told: Iterable[tuple[str, str]], width: int) -> list[str]:
    """A line, or some, for each fact that has something to say: its name, then the words."""
    lines: list[str] = []
    for name, words in told:
        if words:
            first, *rest = wrapped(words, width, _NAME + 2)
            lines += [f"{name:<{_NAME}}  {first}", *rest]
    return lines


def commands(told: Sequence[tuple[str, str]], width: int) -> list[str]:
    """A line for each command and what it is for; the words go below a command that is too long to share a line."""
    longest = max((len(command) for command, _ in told if len(command) < width * 3 // 5), default=0)
    lines: list[str] = []
    for command, words in told:
        first, *rest = wrapped(words, width, longest + 4)
        if len(command) > longest:
            lines += [f"  {command}", f"{'':<{longest + 4}}{first}".rstrip(), *rest]
        else:
            lines += [f"  {command:<{longest}}  {first}".rstrip(), *rest]
    return lines


def shown(out: "Console", parts: "Sequence[RenderableType]", width: int) -> None:
    """Print lines and tables, through a pager where a person looks at more of them than fit on the screen.

    A text is folded into lines of `width` columns; an empty one is left out.
    """
    from rich.console import Group
    from rich.text import Text

    lines = [line for part in parts if part for line in (wrapped(part, width) if isinstance(part, str) else [part])]
    out.width = width
    tall = out.is_terminal and len(out.render_lines(Group(*lines), pad=False)) >= out.height
    with paging(out) if tall else nullcontext():
        for line in lines:
            out.print(line, soft_wrap=isinstance(line, str | Text))


def paging(out: "Console") -> AbstractContextManager[Any]:
    """A pager around what is printed; as git does it, one that ends by itself where all fits, and shows colours."""
    os.environ.setdefault("LESS", "FRX")
    return out.pager(styles=True)
