"""Text from processes that are not trusted, made printable; and which paths a glob of program.md has. Pure."""

import re
from collections.abc import Iterable
from functools import lru_cache

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


# Globs, in one reading for the server, which lets files be changed, and for the trainer, which withholds them.
_STEP = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]/]*\]|.", re.DOTALL)
_WILD = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def glob_matches(globs: Iterable[str], path: str) -> bool:
    """Whether one of the globs has this path.

    `**` is any number of folders; `*`, `?` and a set as `[ab]` or `[!a-c]` stay within one part. A glob without these
    is a file, or a folder with all that is in it. Each also has the very path that it is.

    >>> glob_matches(["src/**"], "src/a/b.c"), glob_matches(["*.c"], "src/b.c"), glob_matches(["src"], "src/b.c")
    (True, False, True)
    """
    return any(_glob_pattern(glob).fullmatch(path) for glob in globs)


@lru_cache(maxsize=256)
def _glob_pattern(glob: str) -> re.Pattern[str]:
    glob = glob.removeprefix("./")
    glob += "**" if glob.endswith("/") else ""
    if not set("*?[") & set(glob):
        return re.compile(re.escape(glob) + "(?:/.*)?", re.DOTALL)
    steps = (_WILD.get(step) or _literal_or_set(step) for step in _STEP.findall(glob))
    return re.compile(f"{re.escape(glob)}|{''.join(steps)}", re.DOTALL)


def _literal_or_set(step: str) -> str:
    if len(step) > 2 and step[0] == "[":
        inner = step[1:-1].replace("\\", "\\\\").replace("[", "\\[")
        inner = f"^{inner[1:]}" if inner.startswith("!") else f"\\{inner}" if inner.startswith("^") else inner
        try:
            re.compile(f"[{inner}]")
        except re.error:
            return re.escape(step)
        return f"(?!/)[{inner}]"
    return re.escape(step)
