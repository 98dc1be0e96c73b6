"""Text from processes that are not trusted, made printable. Pure."""

import re

_ANSI = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, the cursor
    r"|(?:\x1b[PX\]^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90\x98\x9c-\x9f\n]*(?:\x07|\x1b\\|\x9c)"  # titles, pictures
    r"|\x1b[ -/]*[0-~]"  # character sets, and all the rest
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]+")
_NAMES = {chr(code): f"\\x{code:02x}" for code in range(0xA0)}


def clean(raw: bytes | bytearray) -> str:
    """Output as a reader should see it; every line has an end.

    >>> clean(b"10%\\r100%\\x1b[0m\\n")
    '100%\\n'
    """
    text = _ANSI.sub("", raw.decode("utf-8", errors="backslashreplace"))
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.removesuffix("\n").split("\n")]
    return _CONTROLS.sub(lambda found: "".join(map(_NAMES.__getitem__, found[0])), "\n".join(lines)) + "\n"


def without_escapes(text: str) -> str:
    """`text` without colours and all else that a terminal is told."""
    return _ANSI.sub("", text)


def plain(text: object) -> str:
    """What train.py's process says of itself, cleaned alike: it may hold half of a character, and escape sequences."""
    return clean(str(text).encode("utf-8", errors="backslashreplace")).removesuffix("\n")
