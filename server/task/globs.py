"""Paths and globs of program.md: which ones can be meant. `trainer.text` says what they have."""

import re

from server.paths import HOME

_WILD = set("*?[")
_PROBLEMS = [
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), why)
    for pattern, why in (
        (r"|\s.*|.*\s", "is empty, or has spaces around it"),
        (r".*[\x00-\x1f\x7f].*", "has a control character"),
        (r"[a-z]:.*|.*\\.*", "is a Windows path: write it with /, from the top of the repository"),
        (
            r"[/~].*|(.*/)?\.\.(/.*)?",
            "is outside the repository: write it from the top of the repository, as src/main.c",
        ),
        (r"(.*/)?\.(/.*)?|.*//.*", "has an empty part, or a part that is a dot: leave it out"),
        (rf"(.*/)?(\.git|{re.escape(HOME)})(/.*)?", f"is in a folder of git or of the server ({HOME})"),
    )
]
_SET = re.compile(r"\[[^\]/]+\]")
_RANGE = re.compile(r"(.)-(.)")


def problem(path: str, *, wild: bool = True) -> str:
    """Why a path cannot be meant; empty if it can. `wild`: whether it may be a glob."""
    found = next((why for wrong, why in _PROBLEMS if wrong.fullmatch(path)), "")
    if not found and path.endswith("/"):
        return f"is a folder: write {path}** for all files below it" if wild else "ends in /: leave that out"
    if not found and not wild and _WILD & set(path):
        return "is a glob: name one file or folder"
    if not found and any(low > high for one in _SET.findall(path) for low, high in _RANGE.findall(one[1:-1])):
        return "is not a glob: a range in [ ] goes from low to high"
    return found
