"""Text of which nothing is known, as a candidate: compared by its bytes, measured in words and signs. Pure."""

import hashlib
import re
import zlib
from collections import Counter

from server.errors import PatchRefused
from server.source.language import Change

_TOKEN = re.compile(r"\w+|[^\w\s]")
_MOST = 64  # places remembered of one attempt


class Text:
    """The language of every file that no other is for."""

    unit = "tokens"

    def check(self, text: str, file: str) -> None:
        """Any text is valid."""

    def fingerprint(self, text: str) -> str:
        """The sha256 of the bytes; line ends, white space at the end of lines and empty lines at the end aside."""
        return hashlib.sha256("\n".join(_lines(text)).encode()).hexdigest()

    def size(self, text: str) -> tuple[int, ...]:
        """Words, and signs beside them."""
        return (len(_TOKEN.findall(text)),)

    def change(self, before: str, after: str) -> Change:
        """The lines that came and went, white space aside."""
        old, new = (Counter(" ".join(line.split()) for line in _lines(text) if line) for text in (before, after))
        places = sorted({f"{zlib.crc32(line.encode()):08x}" for line in (old - new) + (new - old)})
        return Change(knobs={}, places=places[:_MOST], category="simplification" if old > new else "other")

    def set_knob(self, text: str, file: str, name: str, value: str) -> str:
        """Refused: there are no constants to be told from other words."""
        raise PatchRefused(
            f"{file} has no constants that the server can set: it is no Python.",
            "Change it with apply_patch(patch).",
        )


def _lines(text: str) -> list[str]:
    return "\n".join(line.rstrip() for line in text.splitlines()).rstrip("\n").split("\n")
