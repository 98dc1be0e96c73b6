"""A hunk: lines of a file, and what becomes of them. Pure."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

KEPT = " "
GONE = "-"
COMES = "+"
UNMARKED = "?"  # a line without a mark: context that lost its blank, or prose below the patch


class Edit(NamedTuple):
    """What becomes of one line."""

    mark: str  # KEPT, GONE, COMES or UNMARKED
    text: str  # the line without its end
    end: str = "\n"  # as the patch has it; "" where it says that the file has no last line end

    @property
    def old(self) -> bool:
        """Whether the line must be there already."""
        return self.mark != COMES

    @property
    def blank(self) -> bool:
        return not self.text.strip()


class Header(NamedTuple):
    """The numbers of "@@ -12,3 +12,4 @@"."""

    old: int
    old_count: int
    new: int
    new_count: int


@dataclass(frozen=True)
class Hunk:
    """A place in the file, known by its text, and what becomes of it."""

    edits: list[Edit]
    name: str = ""  # what a refusal calls it
    header: Header | None = None
    line: int | None = None  # where a block starts, from 1, if it says so
    anchors: list[str] = field(default_factory=list[str])  # lines somewhere above it, outermost first
    at_end: bool = False  # the patch says that it ends the file
    prose: int | None = None  # from this edit on, what follows may be prose
    block: bool = False  # from a SEARCH/REPLACE block, whose lines have no marks
    ends: bool = False  # whether the ends of its lines are meant, or the way that the patch came

    @cached_property
    def before(self) -> list[str]:
        """The lines that must be there."""
        return [edit.text for edit in self.edits if edit.old]

    @cached_property
    def after(self) -> list[str]:
        """The lines that are there then."""
        return [edit.text for edit in self.edits if edit.mark != GONE]

    @property
    def changes(self) -> bool:
        return any(edit.mark in (GONE, COMES) for edit in self.edits)

    @cached_property
    def counted(self) -> bool:
        """Whether the header's counts fit the body, and so its numbers were not made up."""
        counts = (self.header.old_count, self.header.new_count) if self.header else None
        return counts == (len(self.before), len(self.after))

    @property
    def start(self) -> int | None:
        """The index where the header says that the hunk starts; None if it says nothing that can be trusted."""
        if self.header is None:
            return None if self.line is None else self.line - 1
        if not self.counted:
            return None
        return self.header.old - (self.header.old_count > 0)


class Line(NamedTuple):
    """A line of the file."""

    text: str  # without its end
    end: str  # "\n", "\r\n", or "" of a last line without one
    origin: int | None = None  # its index before the patch; None of a line that the patch brought


def split_lines(text: str) -> list[Line]:
    """The lines of a text, split at "\\n" alone: a form feed or a U+2028 is part of its line."""
    parts = text.split("\n")
    ended = [Line(part.removesuffix("\r"), "\r\n" if part.endswith("\r") else "\n") for part in parts[:-1]]
    lines = [*ended, Line(parts[-1], "")] if parts[-1] else ended
    return [Line(line.text, line.end, at) for at, line in enumerate(lines)]
