"""Unified diffs and *** Begin Patch, read into hunks: their bodies are alike. Pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from server.errors import PatchRefused
from server.source.hunks import COMES, GONE, KEPT, UNMARKED, Edit, Header, Hunk
from server.source.patch_blocks import is_marker
from server.text import clip

_HEADER = re.compile(r"@@ -([0-9]{1,9})(?:,([0-9]{1,9}))? \+([0-9]{1,9})(?:,([0-9]{1,9}))? @@")
_LINE_NUMBER = re.compile(r"@@ -([0-9]{1,9})\b")
_NO_ANCHOR = re.compile(r"[-+., 0-9]*(?: ?@@.*)?$")  # "@@ ... @@" and numbers that were left away
_BULLET = re.compile(r"[-+*] \S")
_VERSION = re.compile(r"[0-9]+\.[0-9]+(?:\.[0-9]+)?\S*$")
_MARKER = re.compile(r"\*\*\* (?:Begin Patch|End Patch|End of File|(?:Update|Add|Delete) File:|Move to:)")
_BEHIND_MORE = re.compile(r"[ \t>]+(?:@@ -[0-9]|@@$|diff --git )")  # a header that is quoted or indented
_GIT_SAYS = re.compile(r"(new file|deleted file|rename from|rename to)(?: mode [0-7]+)?(.*)$")
_GIT_FIELDS = {"new file": "adds", "deleted file": "deletes", "rename from": "old", "rename to": "new"}
_PATHS = re.compile(r"diff --git (\S+) (\S+)$")
_SPACED_PATHS = re.compile(r"diff --git (a/(.+)) (b/\2)$")

# Read outside of hunks alone: a body, or prose, may say the same.
_LINKS = (
    (
        re.compile(r"(?:index \S+|(?:(?:new|deleted) file|old|new) mode) 1[26]0000"),
        "The patch makes a symlink or a submodule.",
    ),
)
_GIT_HEADERS = (
    (re.compile(r"new file mode "), "The patch creates a file."),
    (re.compile(r"deleted file mode "), "The patch deletes a file."),
    (re.compile(r"rename (?:from|to) |similarity index "), "The patch renames a file."),
)
_MODES = (
    (re.compile(r"copy (?:from|to) "), "The patch copies a file."),
    (re.compile(r"(?:old|new) mode "), "The patch changes the mode of a file."),
)
_BINARY = ((re.compile(r"GIT binary patch|Binary files .* differ$"), "The patch is binary."),)
_HEADERS = (
    (re.compile(r"--- /dev/null\n\+\+\+ |\*\*\* Add File:"), "The patch creates a file."),
    (re.compile(r"--- .*\n\+\+\+ /dev/null|\*\*\* Delete File:"), "The patch deletes a file."),
    (re.compile(r"\*\*\* Move to:"), "The patch renames a file."),
)


@dataclass
class Section:
    """What the headers above some hunks say of their file; names as they are in the patch."""

    old: str = ""
    new: str = ""
    adds: bool = False
    deletes: bool = False
    sides: bool = False  # whether the names are those of a diff, which puts a/ and b/ before them

    @property
    def bare(self) -> bool:
        """Whether there is no header."""
        return self == Section()


_NOTHING = re.compile(r"/dev/null\b")
_MOVE = "*** Move to:"
_TAGS = ("*** Update File:", "*** Add File:", "*** Delete File:", _MOVE)


class _Body:
    """A hunk while it is read."""

    def __init__(self, header: Header | None, anchors: list[str]) -> None:
        self.edits: list[Edit] = []
        self.header, self.anchors, self.at_end = header, anchors, False
        self._old = self._new = 0
        self._empty = 0  # lines at its end without even a mark

    @property
    def full(self) -> bool:
        """Whether it has as many lines as its header says."""
        return self.header is not None and (self._old, self._new) == (self.header.old_count, self.header.new_count)

    @property
    def short(self) -> bool:
        return self.header is not None and (self._old < self.header.old_count or self._new < self.header.new_count)

    def add(self, line: str, end: str) -> None:
        """Take a line of the patch in."""
        mark, text = line[:1], line[1:]
        if mark == "\\":  # "\ No newline at end of file"
            if self.edits:
                self.edits[-1] = self.edits[-1]._replace(end="")
            return
        if mark not in (KEPT, GONE, COMES):
            mark, text = (UNMARKED, line) if line.strip() else (KEPT, "")
        self.edits.append(Edit(mark, text, end))
        self._empty = 0 if line else self._empty + 1
        self._old += mark != COMES
        self._new += mark != GONE

    def hunk(self, ends: bool) -> Hunk:
        """Without the empty lines at its end, which separate hunks more often than they belong to them."""
        blanks = next((n for n, edit in enumerate(reversed(self.edits)) if edit[:2] != (KEPT, "")), len(self.edits))
        extra = self._empty
        if self.header:
            beyond = {self._old - self.header.old_count, self._new - self.header.new_count}
            extra = beyond.pop() if len(beyond) == 1 and 0 <= max(beyond) <= blanks else self._empty
        edits = self.edits[: len(self.edits) - extra]
        return Hunk(edits, header=self.header, anchors=self.anchors, at_end=self.at_end, prose=_prose(edits), ends=ends)


def _prose(edits: list[Edit]) -> int | None:
    """The blank line below which everything may be prose: bullets and lines without a mark."""
    first = next((at for at, edit in enumerate(edits) if edit.mark in (GONE, COMES)), len(edits))
    cut = None
    for at in range(len(edits) - 1, first, -1):
        edit = edits[at]
        if edit.mark in (GONE, COMES) and not _BULLET.match(edit.mark + edit.text):
            break
        below = edits[at + 1].mark if at + 1 < len(edits) else KEPT
        cut = at if edit[:2] == (KEPT, "") and below != KEPT else cut
    return cut


class DiffReader:
    """Reads line after line. `sections` say of which file the hunks are; `paths` are all that headers name."""

    def __init__(self, lines: list[str], ends: list[str], ours: Callable[[str], bool], several: bool = False) -> None:
        """
        Args:
            ends: of each line, as the patch came. ours: whether a path is that of a file to change.
            several: whether the patch may change several files, add some and delete some.
        """
        self._lines, self._ends, self._ours, self._several = lines, ends, ours, several
        self._sections: list[list[_Body]] = [[]]
        self.sections = [Section()]  # one for each of these
        self._body: _Body | None = None
        self._git = False  # between "diff --git" and its first hunk
        self._fenced = False  # whether a fence around the patch is open
        self.paths: list[str] = []
        self._marked = [0, *accumulate(line[:1] in ("+", "-") for line in lines)]  # how many marked lines are above
        self._last = {line: at for at, line in enumerate(lines) if line.startswith("*** End ")}
        self._segment_end = [len(lines)] * (len(lines) + 1)
        for at in range(len(lines) - 1, -1, -1):
            self._segment_end[at] = at if self._is_header(at) else self._segment_end[at + 1]

    def read(self) -> list[list[Hunk]]:
        """The hunks of each section. Raises PatchRefused."""
        for at, line in enumerate(self._lines):
            if line.startswith("@@"):
                self._open(line)
            elif self._body is not None and not self._ends_body(at):
                self._body.add(line, self._ends[at])
            else:
                self._outside(at)
        seen = {edit.end for section in self._sections for body in section for edit in body.edits if edit.end}
        return [[body.hunk(len(seen) > 1) for body in section if body.edits] for section in self._sections]

    def _open(self, header: str) -> None:
        """Open a hunk; `@@` lines that follow each other directly are one header."""
        section = self._sections[-1]
        anchors = section.pop().anchors if section and not section[-1].edits and section[-1] is self._body else []
        number, counts = _LINE_NUMBER.match(header), _HEADER.match(header)
        numbers = Header(*(1 if n is None else int(n) for n in counts.groups())) if counts else None
        anchor = header.strip()[2:].removesuffix("@@").strip()
        if number:
            anchors = []  # git writes a line above the hunk behind the numbers: they say more
        elif not _NO_ANCHOR.match(anchor):
            anchors = [*anchors, anchor]
        self._begin(_Body(numbers, anchors))

    def _begin(self, body: _Body) -> None:
        self._body, self._git = body, False
        self._sections[-1].append(body)

    def _ends_body(self, at: int) -> bool:
        """Whether this line cannot belong to the body above it."""
        body, line = self._body, self._lines[at]
        assert body is not None
        if line[:1] == "+" or (line[:1] == " " and "***" not in line) or not (line or body.full):
            return False
        if line.startswith(("diff --git ", "*** ", "```")) or self._is_padded_end(at):
            return not self._is_fence_in(body, at)
        if body.short and not line.startswith("--- "):
            return False
        if self._signs(at):
            return True
        if line.startswith("--- "):  # a removed "-- x" looks like a header, but no "@@" comes after it
            return self._is_header(at) and (not body.short or self._ours(line[4:]))
        is_prose = line[:1] not in ("+", "-", " ", "\\")
        return body.full and is_prose and self._marked[self._segment_end[at]] == self._marked[at]

    def _is_fence_in(self, body: _Body, at: int) -> bool:
        """Whether this is a fence of the file, without a blank before it: none is open, and lines are still to come."""
        return (
            self._lines[at].startswith("```")
            and body.short
            and not self._fenced
            and self._marked[-1] > self._marked[at]
        )

    def _signs(self, at: int) -> bool:
        """Whether this is the "-- " above git's version."""
        following = self._lines[at + 1] if at + 1 < len(self._lines) else ""
        return self._lines[at] in ("-- ", "--") and bool(_VERSION.match(following))

    def _is_padded_end(self, at: int) -> bool:
        """Whether this is an end marker behind blanks; where the same comes without them, it is a line of the file."""
        marker = self._lines[at].strip() if self._body is None or self._body.header is None else ""
        return marker in ("*** End Patch", "*** End of File") and self._last.get(marker, at) <= at

    def _is_header(self, at: int) -> bool:
        line = self._lines[at]
        if line[:1] not in ("@", "d", "*", "`", "-"):
            return False
        following = [*self._lines[at + 1 : at + 3], "", ""]
        if line.startswith(("@@", "diff --git ", "*** ", "```")):
            return True
        if not line.startswith("--- ") or not following[0].startswith("+++ "):
            return False
        nothing = self._several and (_NOTHING.match(line[4:]) or _NOTHING.match(following[0][4:]))  # an empty file
        return following[1].startswith("@@") or bool(nothing)

    def _outside(self, at: int) -> None:
        """A header, or prose."""
        line = self._lines[at].strip() if _MARKER.match(self._lines[at].strip()) else self._lines[at]
        if line.startswith("*** End of File") and self._body is not None:
            self._body.at_end = True
        self._body = None
        self._fenced ^= line.lstrip().startswith("```")
        self._git = self._git or line.startswith("diff --git ")
        following = self._lines[at + 1] if at + 1 < len(self._lines) else ""
        _refuse_forbidden(f"{line}\n{following}", self._git, self._several)
        self._name(line, following)
        if self._several and self._note(line, following):
            return
        if line.startswith(("+++ ", "*** Update File:")):
            self._sections.append([])
            self.sections.append(Section())
            self._begin(_Body(None, []))
        elif is_marker(line) or _BEHIND_MORE.match(line) or self._is_stray(at):
            raise PatchRefused(
                f"Line {at + 1} of the patch is outside any hunk: {clip(line)}",
                "Write one format only, and '@@' above each group of changed lines.",
            )

    def _note(self, line: str, following: str) -> bool:
        """Note what a header says of its file; whether this is one."""
        tag = next((tag for tag in _TAGS if line.startswith(tag)), "")
        name = line.removeprefix(tag).strip()
        if tag == _MOVE:
            self._amend(new=name)
        elif tag:
            self._enter(Section(name, name, adds="Add" in tag, deletes="Delete" in tag))
            self._begin(_Body(None, []))
        elif line.startswith("diff --git "):
            both = _PATHS.match(line) or _SPACED_PATHS.match(line)
            self._enter(Section(both[1], both.groups()[-1], sides=True) if both else Section(sides=True))
        elif self._git and (found := _GIT_SAYS.match(line)):
            name = found[2].strip()
            self._amend(**{_GIT_FIELDS[found[1]]: name or True}, sides=not name)
        elif line.startswith("+++ ") or (line.startswith("--- ") and following.startswith(("+++ ", "@@"))):
            self._side(line, following)
        else:
            return False
        return True

    def _side(self, line: str, following: str) -> None:
        """Note a side of a diff; below "diff --git" and "rename from" the names are known already."""
        name, first = line[4:], line[0] == "-"
        nothing, below = bool(_NOTHING.match(name)), any(body.edits for body in self._sections[-1])
        if below or (first and not (self._git and self._is_of(line, following))):
            self._enter(Section(name, name, sides=True))
        section = self.sections[-1]
        if first:
            self._amend(old=name if section.sides else section.old, adds=nothing or section.adds)
            return
        self._amend(new=name if section.sides else section.new, deletes=nothing or section.deletes)
        self._begin(_Body(None, []))

    def _is_of(self, line: str, following: str) -> bool:
        """Whether two sides are of the file that "diff --git" has named: without them it may be an empty one."""
        section = self.sections[-1]
        told = [side[4:].partition("\t")[0].rstrip() for side in (line, following)]
        names = {section.old, section.new}
        return names == {""} or any(one in names or one[2:] in names for one in told)

    def _enter(self, section: Section) -> None:
        self._sections.append([])
        self.sections.append(section)

    def _amend(self, **fields: Any) -> None:
        self.sections[-1] = replace(self.sections[-1], **fields)

    def _name(self, line: str, following: str) -> None:
        """Note the paths of a header."""
        if both := _PATHS.match(line):
            self.paths += both.groups()
        elif line.startswith("*** Update File:"):
            self.paths.append(line.removeprefix("*** Update File:"))
        elif line.startswith("+++ ") or (line.startswith("--- ") and following.startswith(("+++ ", "@@"))):
            self.paths.append(line[4:])

    def _is_stray(self, at: int) -> bool:
        """Whether this line would change something in a hunk, and is no bullet of the prose around the patch."""
        line, following = self._lines[at], self._lines[at + 1] if at + 1 < len(self._lines) else ""
        if (
            self._signs(at)
            or line[:1] not in ("+", "-")
            or line.startswith("--- ")
            or (line.strip("-+") == "" and len(line) > 2)
        ):
            return False
        return not _BULLET.match(line) or (line[0] == "-" and bool(re.match(r"\+ ?\S", following)))


def _refuse_forbidden(text: str, git: bool, several: bool) -> None:
    rules = _BINARY + (_LINKS + _MODES if git else ())
    if not several:
        rules += _HEADERS + (_GIT_HEADERS if git else ())
    step = "Send a patch that changes the text of the one file and does nothing else."
    for pattern, problem in rules:
        if pattern.match(text):
            raise PatchRefused(problem, "Send a patch that changes text alone." if several else step)
