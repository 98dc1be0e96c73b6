"""A document's sections, and its text in passages of a size that an agent can read. Pure."""

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

LINE = 2000  # characters
PASSAGE = 1200  # characters; a fence or a table is never split, however long
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*")
_FENCE = re.compile(r"[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(`{3,}(?=[^`]*$)|~{3,})")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*(?:[ \t]+\"[^\"]*\")?\)")
_NO_TITLE = re.compile(r"[ \t]*(?:[-*+>|]|\d+[.)])[ \t]|[ \t]{4}|[ \t]*\|")
_SENTENCE = re.compile(r"(?<=[.!?;:\u3002\uff01\uff1f])\s+|(?<=[\u3002\uff01\uff1f])|\n")
_BETWEEN = " > "


class Section(NamedTuple):
    """A heading with everything below it."""

    level: int
    path: tuple[str, ...]  # of headings, down to its own
    first: int  # its first line, from 0
    last: int  # the line after its last, with its subsections

    @property
    def title(self) -> str:
        return self.path[-1] if self.path else ""


class Passage(NamedTuple):
    """A piece of one section."""

    heading: str  # the path of headings
    text: str
    first: int  # the line it begins with, from 0


class _Block(NamedTuple):
    """Lines that belong together."""

    first: int
    last: int  # the line after them
    whole: bool  # a fence or a table
    level: int = 0  # of a heading
    title: str = ""


def lines_to_read(text: str) -> list[str]:
    """The lines as an agent reads them: those longer than LINE in several."""
    return [line[at : at + LINE] for line in text.split("\n") for at in range(0, max(len(line), 1), LINE)]


def places_to_read(text: str) -> list[int]:
    """For each line of a text the number of its first among the lines to read."""
    return list(accumulate((max(1, -(-len(line) // LINE)) for line in text.split("\n")), initial=0))


def heading_path(path: Sequence[str]) -> str:
    """Headings from the top, as one line."""
    return _BETWEEN.join(filter(None, path))


def outline(text: str) -> list[Section]:
    """The sections of a document, in its order. What stands before the first heading is in none."""
    lines = text.split("\n")
    heads = [(block, path) for block, path in _with_paths(lines) if block.level]
    found, ends = list[Section](), [len(lines)] * 7  # by level: where a section ends that begins above
    for block, path in reversed(heads):
        found.append(Section(block.level, path, block.first, ends[block.level]))
        ends[block.level :] = [block.first] * (7 - block.level)
    return found[::-1]


def passages(text: str) -> list[Passage]:
    """The text in pieces of about PASSAGE characters, without overlap: each within one section."""
    lines, found = text.split("\n"), list[Passage]()
    path, held, first = (), list[str](), 0

    def put() -> None:
        if body := "\n".join(held).strip("\n"):
            found.append(Passage(heading_path(path), body, first))
        held.clear()

    for block, under in _with_paths(lines):
        if under != path or block.level:
            put()
            path = under
        pieces = ["\n".join(lines[block.first : block.last])]
        if not block.whole and len(pieces[0]) > PASSAGE:
            pieces = list(_split(pieces[0]))
        for piece in pieces:
            if held and sum(map(len, held)) + len(held) + len(piece) > PASSAGE:
                put()
            first = first if held else block.first
            held.append(piece)
    put()
    return [one for one in found if not _is_heading_alone(one)] or found


def _is_heading_alone(passage: Passage) -> bool:
    rest = [line for line in passage.text.split("\n") if line.strip()]
    return len(rest) < 2 and (not rest or _HEADING.fullmatch(rest[0]) is not None)


def _with_paths(lines: list[str]) -> Iterator[tuple[_Block, tuple[str, ...]]]:
    """Each block, and the headings that it is under, its own included."""
    above = list[tuple[int, str]]()
    for block in _blocks(lines):
        if block.level:
            above = [*((level, title) for level, title in above if level < block.level), (block.level, block.title)]
        yield block, tuple(title for _, title in above)


def _blocks(lines: list[str]) -> Iterator[_Block]:
    at = 0
    while at < len(lines):
        block = _fence(lines, at) or _heading(lines, at) or _table(lines, at) or _paragraph(lines, at)
        yield block
        at = block.last


def _fence(lines: list[str], at: int) -> _Block | None:
    if not (opened := _FENCE.match(lines[at])):
        return None
    mark = opened[1]
    closing = re.compile(rf"[ \t>]*{re.escape(mark[0])}{{{len(mark)},}}[ \t]*")
    last = next((end for end in range(at + 1, len(lines)) if closing.fullmatch(lines[end])), len(lines) - 1)
    return _Block(at, last + 1, True)


def _heading(lines: list[str], at: int) -> _Block | None:
    line = lines[at]
    if found := _HEADING.fullmatch(line):
        return _Block(at, at + 1, False, len(found[1]), _plain(found[2] or ""))
    under = _UNDERLINE.fullmatch(lines[at + 1]) if at + 1 < len(lines) and line.strip() else None
    if under and len(line) < 200 and not _NO_TITLE.match(line):
        return _Block(at, at + 2, False, 1 if under[1][0] == "=" else 2, _plain(line))
    return None


def _table(lines: list[str], at: int) -> _Block | None:
    """Lines with bars: a pipe table, whatever its cells hold."""
    last = at
    while last < len(lines) and lines[last].count("|") > 1 and not _FENCE.match(lines[last]):
        last += 1
    return _Block(at, last, True) if last - at > 1 else None


def _paragraph(lines: list[str], at: int) -> _Block:
    """Lines up to a blank one, with it, or to where something else begins."""
    last = at + 1
    while last < len(lines) and lines[last - 1].strip():
        if _FENCE.match(lines[last]) or _heading(lines, last) or (lines[last].strip() and _table(lines, last)):
            break
        last += 1
    return _Block(at, last, False)


def _split(text: str) -> Iterator[str]:
    """A long paragraph in pieces: between sentences or lines, else between words, else anywhere."""
    while len(text) > PASSAGE:
        ends = [found.end() for found in _SENTENCE.finditer(text, PASSAGE // 3, PASSAGE)]
        cut = ends[-1] if ends else text.rfind(" ", PASSAGE // 3, PASSAGE) + 1 or PASSAGE
        yield text[:cut].rstrip()
        text = text[cut:]
    if text.strip():
        yield text


def _plain(title: str) -> str:
    """A heading without links and emphasis."""
    return " ".join(_LINK.sub(r"\1", title).replace("**", "").strip("*_ ").split())
