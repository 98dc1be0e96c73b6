"""Which files of a repository another tool's prose means: those that may be changed, and those that may not."""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from server.foreign.prose import Line, items, quoted, section
from server.task import globs
from trainer.text import glob_matches

_SCOPE = re.compile(
    r"(?:the\s+)?(?:(?:files?|code|paths?|sources?)\s+(?:in|within)\s+scope|in[ -]scope(?:\s+files?)?|scope"
    r"|(?:editable|mutable|modifiable|target)\s+(?:files?|paths?)"
    r"|(?:files?|what)\s+(?:you|the agent)\s+(?:may|can)\s+(?:edit|modify|change))",
    re.IGNORECASE,
)
_OFF_LIMITS = re.compile(
    r"(?:files?\s+)?(?:off[ -]?limits?|out[ -]of[ -]scope|do\s+not\s+(?:touch|modify|edit|change)"
    r"|(?:frozen|read[ -]only|immutable|protected)\s*(?:files?|paths?)?)(?:\s+files?)?",
    re.IGNORECASE,
)
_LABEL = re.compile(r"[*_]*([A-Za-z][A-Za-z /-]{2,40}?)[*_]*:[*_]*(?:\s+(.*)|)", re.DOTALL)
_FILES = re.compile(r"files?|paths?|in[ -]scope|editable(?: files?)?|may (?:edit|change)", re.IGNORECASE)
_AFTER = re.compile(r"\s+(?:\u2014|\u2013|--?|->|→|=>)\s+|:\s+|\s+\(")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")
_BOLD = re.compile(r"(\*{1,3}|_{2})([^*]+)\1")
_WORD = re.compile(r"[^\s,;]+")
_WILD = set("*?[")
_MOST = 200  # paths of one section


class Scope(NamedTuple):
    """Globs that the prompt names, and names in it that are nothing in git, with their lines."""

    editable: list[str]
    off_limits: list[str]
    unknown: list[tuple[str, int]]
    line: int  # where the editable files are named; 0: nowhere


def read(text: str, files: Collection[str], below: str = "") -> Scope:
    """What a prompt says of the files.

    Args:
        files: of the repository. below: the folder from which the prompt's paths may be meant; empty: the top.
    """
    told = [*_labelled(section(text, _SCOPE), off=False), *_labelled(section(text, _OFF_LIMITS), off=True)]
    editable: dict[str, int] = {}
    withheld: dict[str, int] = {}
    unknown: dict[str, int] = {}
    for (number, item), off in told[:_MOST]:
        for word in _everywhere(item) if off else _leading(item):
            found = resolve(word, files, below, anywhere=off)
            (withheld if off else editable).update(dict.fromkeys(found, number))
            if not found and not off and _is_like_a_path(word):
                unknown.setdefault(word, number)
    off_limits = [glob for glob in withheld if glob not in editable]
    line = min(editable.values(), default=0)
    return Scope(list(editable), off_limits, list(unknown.items()), line)


def _labelled(lines: list[Line], off: bool) -> Iterator[tuple[Line, bool]]:
    """The items of a section, and whether each is off limits: within a section a label may say so."""
    for number, item in items(lines):
        if label := _LABEL.fullmatch(item):
            is_off, is_on = _OFF_LIMITS.fullmatch(label[1].strip()), _FILES.fullmatch(label[1].strip())
            if is_off or is_on:
                off, item = bool(is_off), label[2] or ""
        yield (number, item), off


def _leading(item: str) -> list[str]:
    """The paths in front of what an item says about them."""
    item = _LINK.sub(r"\1", item)
    return _words(_AFTER.split(item, maxsplit=1)[0]) or _words(item)


def _everywhere(item: str) -> list[str]:
    """All quoted paths of an item; without any, its first words."""
    named = [word for part in quoted(item) for word in _spread(part)]
    return named or _leading(item)


def _words(text: str) -> list[str]:
    """What is quoted, and beside it what looks like a path; without any quotes, every word."""
    named = {word for part in quoted(text) for word in _spread(part)}
    words = _spread(text.replace("`", " "))
    return [word for word in words if word in named or _is_like_a_path(word)] if named else words


def _spread(text: str) -> list[str]:
    """The words of a text that may be paths, `{a,b}` written out."""
    if braces := _BRACES.search(text):
        parts = [text[: braces.start()] + part.strip() + text[braces.end() :] for part in braces[1].split(",")]
        return [word for part in parts for word in _spread(part)]
    return [_bare(word) for word in _WORD.findall(text)]


def _bare(word: str) -> str:
    """A path without the marks around it; a star may be of a glob, and a point may begin a name."""
    word = word.lstrip("\"'(").rstrip("\"'.,:;)")
    bold = _BOLD.fullmatch(word)
    return bold[2] if bold else word


def _is_like_a_path(word: str) -> bool:
    return bool(re.fullmatch(r"[\w@.*/-]+", word)) and (
        "/" in word.strip("/") or bool(re.search(r"\w\.\w{1,6}$", word))
    )


def resolve(word: str, files: Collection[str], below: str = "", anywhere: bool = False) -> list[str]:
    """The globs for a path as people write it; empty where git has nothing of this name.

    Args:
        below: a folder from which it may be meant. anywhere: whether a pattern without a folder holds in all of them.
    """
    path = re.sub(r"(?:/\*\*|/\*\*/\*|/)$", "", re.sub(r"^(?:\./)+", "", word))
    folder = path != word.removeprefix("./")
    if not path or globs.problem(path):
        return []
    for name in dict.fromkeys((f"{below}/{path}" if below else path, path)):
        if found := _at(name, files, folder):
            return [found]
    if _WILD & set(path):
        wide = f"**/{path}"
        return [wide] if anywhere and any(glob_matches([wide], file) for file in files) else []
    return _ending_in(path, files)


def _at(path: str, files: Collection[str], folder: bool) -> str:
    """The glob for a path from the top; empty if git has nothing there."""
    if path in files and not folder:
        return path
    if _WILD & set(path):
        path = f"{path}/**" if folder else path
        return path if any(glob_matches([path], file) for file in files) else ""
    return f"{path}/**" if any(file.startswith(f"{path}/") for file in files) else ""


def _ending_in(path: str, files: Collection[str]) -> list[str]:
    """The one file, or folder, whose path ends so; empty where there are several: nobody knows which is meant."""
    ends, within = f"/{path}", f"/{path}/"
    named = {file for file in files if file.endswith(ends)}
    if len(named) == 1:
        return sorted(named)
    tops = {file[: file.index(within) + len(within)] for file in files if within in file}
    return [f"{tops.pop()}**"] if len(tops) == 1 and not named else []


def matching(patterns: Iterable[str], files: Iterable[str]) -> list[str]:
    """The files that one of the globs has."""
    known = list(patterns)
    return [file for file in files if glob_matches(known, file)]
