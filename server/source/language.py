"""What a kind of source text knows about itself: whether it is valid, the same, smaller, and what its constants are.

`Text` is the language of which nothing is known: it is compared by its bytes, and measured in words and signs.
"""

import hashlib
import re
import zlib
from collections import Counter
from typing import Protocol

from server.errors import PatchRefused
from server.records import Value

_TOKEN = re.compile(r"\w+|[^\w\s]")
_LINE_END = re.compile(r"\r\n|\r|\n")
_MOST = 64  # places remembered of one attempt


class Change(Value):
    """The difference between two texts. A place is a line of code without its constants, hashed."""

    knobs: dict[str, str]  # constant at the top level → "before → after"
    places: list[str]  # where else something changed
    category: str  # knob, simplification, optimiser, architecture, data order or other

    @property
    def features(self) -> dict[str, str]:
        """Everything that a similar attempt has in common with this one, and the values where there are some."""
        return {**{f"knob {name}": value for name, value in self.knobs.items()}, **dict.fromkeys(self.places, "")}


class Language(Protocol):
    """The hooks. Each raises PatchRefused for a text that it cannot read, and no other error."""

    unit: str  # what `size` counts

    def check(self, text: str, file: str) -> None:
        """Refuse a text that is not valid, or that another hook could not read."""
        ...

    def fingerprint(self, text: str) -> str:
        """The same, hex, for texts that do the same for certain."""
        ...

    def size(self, text: str) -> tuple[int, ...]:
        """How much there is to read, in units of the language; layout and comments do not count.

        A text is smaller where the first is, and no other is larger.
        """
        ...

    def change(self, before: str, after: str) -> Change:
        """What was done to `before` to make `after`."""
        ...

    def set_knob(self, text: str, file: str, name: str, value: str) -> str:
        """The text with a constant at another value. Raises PatchRefused: there is none, or the value is none."""
        ...


class Text:
    """The language of every file that no other is for."""

    unit = "tokens"

    def check(self, text: str, file: str) -> None:
        """Any text is valid."""

    def fingerprint(self, text: str) -> str:
        """The sha256 of the bytes; line ends, white space at the end of lines and empty lines at the end aside."""
        return hashlib.sha256("\n".join(_lines(text)).encode(errors="surrogatepass")).hexdigest()

    def size(self, text: str) -> tuple[int, ...]:
        """Words, and signs beside them."""
        return (len(_TOKEN.findall(text)),)

    def change(self, before: str, after: str) -> Change:
        """The lines that came and went, white space aside."""
        old, new = (Counter(" ".join(line.split()) for line in _lines(text) if line) for text in (before, after))
        lines = (line.encode(errors="surrogatepass") for line in (old - new) + (new - old))
        places = sorted({f"{zlib.crc32(line):08x}" for line in lines})
        return Change(knobs={}, places=places[:_MOST], category="simplification" if old > new else "other")

    def set_knob(self, text: str, file: str, name: str, value: str) -> str:
        """Refused: there are no constants to be told from other words."""
        raise PatchRefused(
            f"{file} has no constants that the server can set: it is not Python.",
            "Change it with apply_patch(patch).",
        )


def _lines(text: str) -> list[str]:
    """Lines as editors count them: a form feed, or a Unicode separator, is a character like others."""
    return "\n".join(line.rstrip(" \t") for line in _LINE_END.split(text)).rstrip("\n").split("\n")
