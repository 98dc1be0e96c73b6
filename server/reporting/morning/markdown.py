"""Text for Markdown pages that others show: nothing that an agent or a log wrote can become markup. Pure."""

import re

_MARKUP = re.compile(r"([\\`*_\[\]<>#|~$&:])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SHOWN = "\N{REPLACEMENT CHARACTER}"
_NO_BREAK = "\N{ZERO WIDTH SPACE}"


def plain(text: str) -> str:
    """One line of it without controls, or marks that turn the direction of what follows."""
    return _CONTROLS.sub(_SHOWN, " ".join(text.split()))


def escaped(text: str) -> str:
    """One line that is shown as it is; a name behind @ calls nobody.

    >>> escaped("<b>*x*")
    '\\\\<b\\\\>\\\\*x\\\\*'
    """
    return _MARKUP.sub(r"\\\1", plain(text)).replace("@", "@" + _NO_BREAK)


def fenced(text: str, language: str = "") -> str:
    """A block of code, behind a fence that is longer than any in it."""
    body = _CONTROLS.sub(_SHOWN, text.replace("\r\n", "\n").replace("\r", "\n"))
    longest = max((len(run) for run in re.findall(r"`+", body)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{body.rstrip(chr(10))}\n{fence}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Cells are Markdown already, each of one line."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
