"""What Markdown that was written for another tool says of a task: its sections, the metric and its direction. Pure."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

Line = tuple[int, str]  # its number from 1, and its text

_HEADING = re.compile(r"(#{1,6})\s+(.*?)[\s#:]*")
_BULLET = re.compile(r"(\s*)(?:[-*+]|\d+[.)])\s+(.*)")
_QUOTED = re.compile(r"`([^`]+)`")
_PRIMARY = re.compile(r"\bprimary\b(?:\s+metric)?[\s*_]*[:\u2014\u2013-]+[\s*_]*(.*)", re.IGNORECASE)
_NAME = re.compile(r"[\w.\-µ]{1,60}")
_IN_BRACKETS = re.compile(r"\(([^()]*)\)")
_BOTH = re.compile(
    r"\b(?:lower\W{1,3}higher|higher\W{1,3}lower|lower\s+or\s+higher|higher\s+or\s+lower)\b", re.IGNORECASE
)
_WORDS = {
    "lower": re.compile(r"\b(?:lower|smaller|less|fewer|shorter|faster)\s+is\s+better\b|\bminimi[sz]e", re.IGNORECASE),
    "higher": re.compile(r"\b(?:higher|larger|bigger|greater|more)\s+is\s+better\b|\bmaximi[sz]e", re.IGNORECASE),
}


class Told(NamedTuple):
    """Something that a line of prose says."""

    value: str
    line: int


class Primary(NamedTuple):
    """The metric that a session is about, as its prompt names it; what is not said is empty."""

    name: str
    unit: str
    line: int


def title(text: str) -> str:
    """The first heading, without the tool's name in front; empty if there is none."""
    for line in text.splitlines():
        if found := _HEADING.fullmatch(line):
            return re.sub(r"^auto\s?-?research\s*[:\u2014\u2013-]\s*", "", found[2], flags=re.IGNORECASE).strip("*_` ")
    return ""


def section(text: str, names: re.Pattern[str]) -> list[Line]:
    """The lines below each heading of one of these names, sections within included."""
    found: list[Line] = []
    depth, fenced = 0, False
    for number, line in enumerate(text.splitlines(), 1):
        fenced ^= line.lstrip().startswith(("```", "~~~"))
        heading = None if fenced else _HEADING.fullmatch(line)
        if heading and (not depth or len(heading[1]) <= depth):
            depth = len(heading[1]) if names.fullmatch(heading[2].strip("*_` ")) else 0
        elif depth:
            found.append((number, line))
    return found


def items(lines: Iterable[Line]) -> list[Line]:
    """Each bullet or row of a table with the lines that go on with it; without any, each line that says something."""
    told = [line for line in lines if line[1].strip()]
    found: list[Line] = []
    for number, line in told:
        if bullet := _BULLET.fullmatch(line):
            found.append((number, bullet[2]))
        elif line.lstrip().startswith("|"):
            found.append((number, line.strip().strip("|").partition("|")[0]))
        elif found and line[:1] in " \t":
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
    return found or told


def quoted(text: str) -> list[str]:
    """What stands between back quotes."""
    return [part.strip() for part in _QUOTED.findall(text)]


_METRICS = re.compile(r"(?:the\s+)?(?:primary\s+)?(?:metrics?|goal metric|optimi[sz]ation target)", re.IGNORECASE)
_PRIMARY_SECTION = re.compile(r"(?:the\s+)?primary\s+metrics?", re.IGNORECASE)


def primary(text: str) -> Primary | None:
    """The primary metric, from its line in the prompt or from a section of that name."""
    for number, line in enumerate(text.splitlines(), 1):
        if (found := _PRIMARY.search(line)) and (name := _first_name(found[1])):
            return Primary(name, _unit(found[1]), number)
    for number, line in items(section(text, _PRIMARY_SECTION)):
        if name := _first_name(line):
            return Primary(name, _unit(line), number)
    return None


def _first_name(text: str) -> str:
    """The metric's name in what follows "Primary:": in back quotes, or the first word where that can be a name."""
    for word in [*quoted(text), text.split(" ")[0].strip("*_`:,.;()")]:
        if _NAME.fullmatch(word) and not word.isdecimal():
            return word
    return ""


def _unit(text: str) -> str:
    """What stands in brackets before the direction: `(ms, lower is better)`."""
    if not (found := _IN_BRACKETS.search(text)):
        return ""
    word = re.split(r"[,;]", found[1])[0].strip(" `")
    return "" if any(_directions(word)) or re.search(r"<|\b(?:lower|higher|better)\b", word) or len(word) > 20 else word


def direction(text: str, others: Iterable[str] = ()) -> Told | None:
    """Which numbers are better, from the first part of a prompt that says exactly one thing.

    Asked are the line of the primary metric, the section about metrics without its secondary ones, then the whole.

    Args:
        others: further texts, each asked where the one before said nothing; their line is 0.
    """
    lines = list(enumerate(text.splitlines(), 1))
    about = [line for line in section(text, _METRICS) if "secondary" not in line[1].lower()]
    parts = [[line for line in lines if _PRIMARY.search(line[1])], section(text, _PRIMARY_SECTION), about, lines]
    for part in parts:
        if told := _only_one(part):
            return told
    return next((told for other in others if (told := _only_one([(0, line) for line in other.splitlines()]))), None)


def _only_one(lines: list[Line]) -> Told | None:
    told = [Told(way, number) for number, line in lines for way in _directions(line)]
    return told[0] if len({one.value for one in told}) == 1 else None


def _directions(line: str) -> Iterator[str]:
    bare = _BOTH.sub("", line)
    return (way for way, words in _WORDS.items() if words.search(bare))
