"""The three ways in which models write a change, read into hunks; telling them apart is our work, not theirs."""

import re
from dataclasses import dataclass, field

from server.errors import PatchRefused

Edit = tuple[str, str]  # what becomes of a line ("-" goes, "+" comes, " " or nothing: stays), the line with its "\n"

_SIGN = re.compile(
    r"^(?:(?P<blocks><{5,9} ?SEARCH[ \t]*$)"
    r"|@@|diff --git |--- \S|GIT binary patch|\*\*\* (?:Begin Patch|(?:Update|Add|Delete) File:))",
    re.MULTILINE,
)
_OPEN = re.compile(r"<{5,9} ?SEARCH[ \t]*$")
_CLOSE = re.compile(r">{5,9} ?REPLACE[ \t]*$")
_DIVIDER = re.compile(r"={5,9}[ \t]*$")
_FILE_NAME = re.compile(r"[#*`\s]*([\w.~-]*[./][\w./-]*\w)[*`:\s]*$")
_LINE_NUMBER = re.compile(r"@@ -([0-9]{1,9})\b")
_STRAY = re.compile(r"[+-](?!-- |\+\+ |--$)|<{5,9} ?SEARCH")

# Lines of a diff's body start with a mark, so these can only be headers.
_FORBIDDEN = (
    (r"^(?:GIT binary patch|Binary files )", "The patch is binary."),
    (r"^(?:index \S+|(?:(?:new|deleted) file|old|new) mode) 1[26]0000", "The patch makes a symlink or a submodule."),
    (r"^(?:new file mode|--- /dev/null\n\+\+\+ |\*\*\* Add File:)", "The patch creates a file."),
    (r"^(?:deleted file mode|--- .*\n\+\+\+ /dev/null|\*\*\* Delete File:)", "The patch deletes a file."),
    (r"^(?:rename (?:from|to) |similarity index |\*\*\* Move to:)", "The patch renames a file."),
    (r"^copy (?:from|to) ", "The patch copies a file."),
    (r"^(?:old|new) mode ", "The patch changes the mode of a file."),
)

_EXAMPLE = """\
<<<<<<< SEARCH
learning_rate = 0.01
=======
learning_rate = 0.02
>>>>>>> REPLACE"""


@dataclass
class Hunk:
    """A place in the file, known by its text, and what becomes of it."""

    edits: list[Edit] = field(default_factory=list[Edit])
    line: int | None = None  # where it starts, from 1, if the patch says so; a hint
    anchors: list[str] = field(default_factory=list[str])  # lines somewhere above it, outermost first
    name: str = ""  # what a refusal calls it

    @property
    def before(self) -> list[str]:
        """The lines that must be there, each with its "\\n"."""
        return [text for mark, text in self.edits if mark != "+"]


def parse_patch(patch: str, file: str) -> list[list[Hunk]]:
    """The hunks of a patch, in rounds: the hunks of one round all speak of the same text, the next of its result.

    A diff is one round; each SEARCH/REPLACE block is a round of its own.

    Raises:
        PatchRefused: it is in none of the formats, is malformed, or does more than change the text of `file`.
    """
    lines = [line.rstrip("\r") for line in patch.split("\n")]
    text = "\n".join(lines)
    sign = _SIGN.search(text)
    if sign is None:
        raise PatchRefused(
            "The patch is in none of the formats: unified diff, SEARCH/REPLACE blocks, or *** Begin Patch.",
            f"Write it for example like this, with lines copied from {file}:\n{_EXAMPLE}",
        )
    if not sign["blocks"]:
        _refuse_forbidden(text, file)
    hunks, paths = _read_blocks(lines) if sign["blocks"] else _read_marked(lines)
    _refuse_other_files(paths, file)
    if not hunks:
        raise PatchRefused(
            "The patch has a header and no hunk.",
            "Add the lines to change: '-' before each old line, '+' before each new one, ' ' before the others.",
        )
    return [[hunk] for hunk in hunks] if sign["blocks"] else [hunks]


def _refuse_forbidden(text: str, file: str) -> None:
    for pattern, problem in _FORBIDDEN:
        if re.search(pattern, text, re.MULTILINE):
            raise PatchRefused(problem, f"Send a patch that changes the text of {file} and does nothing else.")


def _refuse_other_files(paths: list[str], file: str) -> None:
    only = f"Only {file} can be changed: send a patch for {file} alone."
    names = {path if path == file else re.sub(r"^(?:[abciow]|\.)/", "", path) for path in paths}
    listed = ", ".join(sorted(names))[:200]
    if any(name.startswith(("/", "~")) or ".." in name.split("/") for name in names):
        raise PatchRefused(f"The patch has a path that is absolute or climbs with '..': {listed}.", only)
    if len(names) > 1:
        raise PatchRefused(f"The patch changes more than one file: {listed}.", only)
    if names - {file}:
        raise PatchRefused(f"The patch changes another file: {listed}.", only)


def _read_marked(lines: list[str]) -> tuple[list[Hunk], list[str]]:
    """The hunks and paths of a unified diff or a Begin Patch block: their bodies are alike.

    The counts in a header are not looked at: models get them wrong, and the next header ends a hunk as well.
    """
    hunks: list[Hunk] = []
    paths: list[str] = []
    inside = False
    for at, line in enumerate(lines):
        if line.startswith("@@"):
            _begin_hunk(hunks, line)
            inside = True
        elif inside and not _ends_hunk(lines, at):
            _add_line(hunks[-1], line, at + 1)
        else:
            paths += _paths(line)
            inside = line.startswith(("+++ ", "*** Update File:"))
            if inside:
                hunks.append(Hunk())
            elif _STRAY.match(line):
                raise PatchRefused(
                    f"Line {at + 1} of the patch is outside any hunk: {line[:160]}",
                    "Write one format only, and '@@' above each group of changed lines.",
                )
    return _finished(hunks), paths


def _begin_hunk(hunks: list[Hunk], header: str) -> None:
    """Open a hunk; `@@` lines that follow each other directly are one header."""
    anchors = hunks.pop().anchors if hunks and not hunks[-1].edits else []
    number = _LINE_NUMBER.match(header)
    anchor = "" if number else header.rpartition("@@")[2].strip()
    line = int(number[1]) if number else None
    hunks.append(Hunk(line=line, anchors=[*anchors, anchor] if anchor else anchors))


def _ends_hunk(lines: list[str], at: int) -> bool:
    """Whether this line cannot belong to the body above it."""
    if lines[at].startswith(("diff --git ", "*** ", "```")):
        return True
    following = [*lines[at + 1 : at + 3], "", ""]  # a removed "-- x" looks like a header, but no "@@" comes after it
    return lines[at].startswith("--- ") and following[0].startswith("+++ ") and following[1].startswith("@@")


def _add_line(hunk: Hunk, line: str, number: int) -> None:
    mark = line[:1]
    if mark == "\\" and hunk.edits:  # "\ No newline at end of file"
        mark, text = hunk.edits.pop()
        hunk.edits.append((mark, text.removesuffix("\n")))
    elif mark in ("", " ", "+", "-"):
        hunk.edits.append((mark, line[1:] + "\n"))
    else:
        raise PatchRefused(
            f"Line {number} of the patch has no mark: {line[:160]}",
            "Start every line of a hunk with ' ', '-' or '+', followed by the line exactly as it is in the file.",
        )


def _finished(hunks: list[Hunk]) -> list[Hunk]:
    """Without the blank lines at their ends, which separate hunks more often than they belong to them."""
    for hunk in hunks:
        while hunk.edits and hunk.edits[-1][0] == "":
            hunk.edits.pop()
    hunks = [hunk for hunk in hunks if hunk.edits]
    for number, hunk in enumerate(hunks, 1):
        hunk.name = f"Hunk {number} of {len(hunks)}"
    return hunks


def _paths(header: str) -> list[str]:
    """The paths that a header names, as written, without quotes and time stamps."""
    both = re.match(r"diff --git (\S+) (\S+)$", header)
    one = re.match(r"(?:---|\+\+\+|\*\*\* Update File:) ([^\t]+)", header)
    found = both.groups() if both else one.groups() if one else ()
    return [path.strip().strip('"') for path in found]


def _read_blocks(lines: list[str]) -> tuple[list[Hunk], list[str]]:
    hunks: list[Hunk] = []
    paths: list[str] = []
    start: int | None = None
    for at, line in enumerate(lines):
        if start is not None and _CLOSE.match(line):
            hunks.append(_block(lines[start:at], f"SEARCH block {len(hunks) + 1}"))
            start = None
        elif start is not None and not _OPEN.match(line):
            continue
        elif start is None and _OPEN.match(line):
            start = at
            paths += _name_above(lines[:at])
        elif _OPEN.match(line) or _CLOSE.match(line) or _SIGN.match(line):
            raise _malformed(f"Line {at + 1} of the patch is out of place: {line[:160]}")
    if start is not None:
        raise _malformed(f"SEARCH block {len(hunks) + 1} has no '>>>>>>> REPLACE' line.")
    return hunks, paths


def _name_above(lines: list[str]) -> list[str]:
    """The file that the line above a block names, or the line above its fence, if it names one."""
    above = next((line for line in reversed(lines) if line.strip() and not line.startswith("```")), "")
    found = _FILE_NAME.match(above)
    return [found[1]] if found else []


def _block(lines: list[str], name: str) -> Hunk:
    """A block, given without its last line; what both of its sides share stays as the file has it."""
    width = len(lines[0]) - len(lines[0].lstrip("<"))
    dividers = [at for at, line in enumerate(lines) if _DIVIDER.match(line)]
    if len(dividers) > 1:  # one of them underlines a heading: the real one is as wide as the first marker
        dividers = [at for at in dividers if len(lines[at].rstrip()) == width]
    if len(dividers) != 1:
        raise _malformed(f"{name} needs exactly one divider of {width} '=', it has {len(dividers)}.")
    old, new = ([line + "\n" for line in side] for side in (lines[1 : dividers[0]], lines[dividers[0] + 1 :]))
    if not any(line.strip() for line in old):
        raise PatchRefused(
            f"{name} searches for nothing.",
            "Put the line above the place under SEARCH, and the same line followed by the new ones under REPLACE.",
        )
    head = _shared(old, new)
    tail = _shared(old[head:][::-1], new[head:][::-1])
    goes, comes = old[head : len(old) - tail], new[head : len(new) - tail]
    marked = ((" ", old[:head]), ("-", goes), ("+", comes), (" ", old[len(old) - tail :]))
    return Hunk([(mark, line) for mark, side in marked for line in side], name=name)


def _shared(old: list[str], new: list[str]) -> int:
    """How many lines both start with."""
    return next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))


def _malformed(problem: str) -> PatchRefused:
    return PatchRefused(problem, f"A block looks like this, each marker on a line of its own:\n{_EXAMPLE}")
