"""Paths and globs of program.md: which ones can be meant, and what they match."""

import re
from collections.abc import Sequence
from functools import lru_cache

from server.paths import HOME

_WILD = set("*?[")
_PROBLEMS = [
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), why)
    for pattern, why in (
        (r"|\s.*|.*\s", "is empty, or has blanks around it"),
        (r".*[\x00-\x1f\x7f].*", "has a control character"),
        (r"[a-z]:.*|.*\\.*", "is a path of Windows: write it with / between its parts, from the top of the repository"),
        (r"[/~].*|(.*/)?\.\.(/.*)?", "is not below the top of the repository: write it from there, as src/main.c"),
        (r"(.*/)?\.(/.*)?|.*//.*", "has an empty part, or one that is a dot: leave it out"),
        (rf"(.*/)?(\.git|{re.escape(HOME)})(/.*)?", f"is in a folder of git's, or of the server's ({HOME})"),
    )
]
_STEPS = re.compile(r"\*\*/|\*\*|\*|\?|\[!?[^\]/]+\]|.", re.DOTALL)


def problem(path: str, *, wild: bool = True) -> str:
    """Why a path cannot be meant; empty if it can. `wild`: whether it may be a glob."""
    found = next((why for wrong, why in _PROBLEMS if wrong.fullmatch(path)), "")
    if not found and path.endswith("/"):
        return f"is a folder: write {path}** for all files below it" if wild else "ends in /: leave that out"
    if not found and not wild and _WILD & set(path):
        return "is a glob: name one file or folder"
    try:
        _pattern(path)
    except re.error:
        return "is no glob: a range in [ ] goes from low to high"
    return found


def matches(globs: Sequence[str], path: str) -> bool:
    """Whether one of the globs matches: `**` is any number of folders, `*` and `?` stay within one part.

    >>> matches(["src/**"], "src/a/b.c"), matches(["*.c"], "src/b.c"), matches(["**/*.c"], "b.c")
    (True, False, True)
    """
    return any(_pattern(glob).fullmatch(path) for glob in globs)


@lru_cache(maxsize=256)
def _pattern(glob: str) -> re.Pattern[str]:
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    steps = (known.get(step) or _literal(step) for step in _STEPS.findall(glob))
    return re.compile("".join(steps), re.DOTALL)


def _literal(step: str) -> str:
    if len(step) > 1:  # a set of characters
        inner = step[1:-1].replace("\\", "\\\\")
        return f"[^{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"
    return re.escape(step)
