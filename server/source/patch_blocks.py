"""SEARCH/REPLACE blocks, read into hunks. Pure."""

import re
from collections.abc import Callable

from server.errors import PatchRefused
from server.source.hunks import COMES, GONE, KEPT, Edit, Hunk
from server.text import clip

OPEN = re.compile(r"^(?:<{5,9}|-{5,9}) ?(?:SEARCH|ORIGINAL)>?[ \t]*$", re.MULTILINE)
EXAMPLE = """\
<<<<<<< SEARCH
learning_rate = 0.01
=======
learning_rate = 0.02
>>>>>>> REPLACE"""
_CLOSE = re.compile(r"(?:>{5,9}|\+{5,9}) ?(?:REPLACE|UPDATED)[ \t]*$")
_DIVIDER = re.compile(r"={5,9}[ \t]*$")
_HINT = re.compile(r":(start|end)_line:[ \t]*([0-9]{1,9})[ \t]*$")
_LOOSE_OPEN = re.compile(r"[ \t]*(<{3,}|-{5,9}) *(?:SEARCH|ORIGINAL)[>:]?(?:[ \t]+(\S+))?[ \t]*$", re.IGNORECASE)
_LOOSE_DIVIDER = re.compile(r"[ \t]*(={3,})[ \t]*$")
_LOOSE_CLOSE = re.compile(r"[ \t]*(?:>{3,}|\+{5,9}) *(?:REPLACE|UPDATED):?[ \t]*$", re.IGNORECASE)
_LONGEST_MARKER = 300  # characters of a line
_LIKE_A_MARKER = re.compile(r"[ \t>]*(?:<{5,}|>{5,})")
_CODE_FENCE = re.compile(r"(?:`{3,}|~{3,})\w*[ \t]*$")
_DIFF = re.compile(r"[ \t>]*@@ -[0-9]|@@(?:\s|$)|diff --git |\*\*\* (?:Begin Patch|Update File:)|--- \S.*\n\+\+\+ ")
_NAME = re.compile(r"(?:file(?:name)?: *)?([\w.~/-]+)(?: \([^()]*\))?$", re.IGNORECASE)
_PATH = re.compile(r"[\w.@+~/\\-]*\w\.[A-Za-z]\w*|[\w.@+~\\-]*/[\w.@+~/\\-]*\w")  # where nobody knows the name
_SOURCE = re.compile(
    r"\.(?:py|pyi|ipynb|md|txt|rst|json|toml|ya?ml|cfg|ini|lock|[ch]|cc|cpp|cu|cuh|hpp|[jt]sx?|css|html?|sh|rs|go|java)$"
)


def read_blocks(lines: list[str], known: Callable[[str], bool] | None = None) -> tuple[list[Hunk], list[str]]:
    """The blocks of a patch, and the file that each of them names, or "". Raises PatchRefused: a marker is misplaced.

    Args:
        known: whether a file may have this name, where a patch may have several; then a block may search for nothing.
    """
    hunks: list[Hunk] = []
    paths: list[str] = []
    start: int | None = None
    for at, line in enumerate(lines):
        if start is not None and _CLOSE.match(line):
            hunks.append(_block(lines[start:at], f"SEARCH block {len(hunks) + 1}", known is not None))
            start = None
        elif start is not None and not OPEN.match(line):
            continue
        elif start is None and OPEN.match(line):
            start = at
            paths.append(_name_above(lines, at) if known is None else _file_above(lines, at, known))
        elif (
            start is not None
            or is_marker(line)
            or _LIKE_A_MARKER.match(line)
            or _DIFF.match("\n".join(lines[at : at + 2]))
        ):
            raise _malformed(f"Line {at + 1} of the patch is out of place: {clip(line)}")
    if start is not None:
        raise _malformed(f"SEARCH block {len(hunks) + 1} has no '>>>>>>> REPLACE' line.")
    return hunks, paths


def is_marker(line: str) -> bool:
    """Whether a line is meant to open or close a block, whatever its width, case and indentation."""
    return len(line) <= _LONGEST_MARKER and bool(_LOOSE_OPEN.match(line) or _LOOSE_CLOSE.match(line))


def as_usual(text: str) -> str:
    """The text with the markers of its blocks as they should be, and without fences around the whole of both sides."""
    lines = text.split("\n")
    out: list[str] = []
    block: list[str] = []
    width = 0
    for line in lines:
        if len(line) > _LONGEST_MARKER:
            (block or out).append(line)
        elif opened := _LOOSE_OPEN.match(line):
            out += [*block, opened[2]] if opened[2] else block
            block, width = ["<<<<<<< SEARCH"], len(opened[1])
        elif block and _LOOSE_CLOSE.match(line):
            out += [*_unfenced(block), ">>>>>>> REPLACE"]
            block = []
        elif block and (divider := _LOOSE_DIVIDER.match(line)) and len(divider[1]) == width:
            block.append("=======")
        else:
            (block or out).append(line)
    return "\n".join([*out, *block])


def _unfenced(block: list[str]) -> list[str]:
    """A block without the fences that are the first and the last line of both of its sides."""
    if block.count("=======") != 1:
        return block
    at = block.index("=======")
    sides = block[1:at], block[at + 1 :]
    if any(len(side) < 2 or not (_CODE_FENCE.match(side[0]) and _CODE_FENCE.match(side[-1])) for side in sides):
        return block
    return [block[0], *sides[0][1:-1], "=======", *sides[1][1:-1]]


def _name_above(lines: list[str], at: int) -> str:
    """The file that the line above a block names, or the line above its fence, if it names one."""
    above = next((lines[i] for i in range(at - 1, max(at - 6, -1), -1) if lines[i].strip("` \t")), "")
    found = _NAME.match(above[:200].strip("#*`: \t\r"))
    return found[1] if found and _SOURCE.search(found[1]) else ""


def _file_above(lines: list[str], at: int, known: Callable[[str], bool]) -> str:
    """The same of a patch for several files: any known name, or what looks like a path. A fence may have it, too."""
    for line in lines[max(at - 6, 0) : at][::-1]:
        fence = line.lstrip().startswith("```")
        told = line.strip().strip("#*`:\"' \t\r")
        named = _NAME.match(told[:300])
        names = [told, told.partition(": ")[2], named[1] if named else ""]
        names = [told.rpartition(" ")[2], told.rpartition(":")[2]] if fence else names
        names = [name.strip("`*\"' ") for name in names]
        if found := next((name for name in names if name and (known(name) or _PATH.fullmatch(name))), ""):
            return found
        if told and not fence:
            break
    return ""


def _block(lines: list[str], name: str, may_add: bool) -> Hunk:
    """A block, given without its last line; what both of its sides share stays as the file has it."""
    width = len(lines[0]) - len(lines[0].lstrip("<-"))
    dividers = [at for at, line in enumerate(lines) if _DIVIDER.match(line)]
    if len(dividers) > 1:  # one of them underlines a heading: the real one is as wide as the first marker
        dividers = [at for at in dividers if len(lines[at].rstrip()) == width]
    if len(dividers) != 1:
        raise _malformed(f"{name} needs exactly one divider of {width} '=', it has {len(dividers)}.")
    first, line = _hint(lines)
    old, new = lines[first : dividers[0]], lines[dividers[0] + 1 :]
    if not any(line.strip() for line in old) and may_add and not old:
        return Hunk([Edit(COMES, line) for line in new], name, block=True)
    if not any(line.strip() for line in old):
        raise PatchRefused(
            f"{name} has an empty SEARCH part.",
            "Put the line above the place under SEARCH, and the same line followed by the new ones under REPLACE.",
        )
    return Hunk(_edits(old, new), name, line=line, block=True)


def _edits(old: list[str], new: list[str]) -> list[Edit]:
    head = _shared(old, new)
    tail = _shared(old[head:][::-1], new[head:][::-1])
    goes, comes = old[head : len(old) - tail], new[head : len(new) - tail]
    marked = ((KEPT, old[:head]), (GONE, goes), (COMES, comes), (KEPT, old[len(old) - tail :]))
    return [Edit(mark, line) for mark, side in marked for line in side]


def _hint(lines: list[str]) -> tuple[int, int | None]:
    """Where the lines to search for begin, below ":start_line: 12" and a rule, and the number."""
    at, line = 1, None
    while at < len(lines) and (hint := _HINT.match(lines[at])):
        line = int(hint[2]) if hint[1] == "start" else line
        at += 1
    if at > 1 and at < len(lines) and lines[at].rstrip() == "-------":
        at += 1
    return at, line


def _shared(old: list[str], new: list[str]) -> int:
    """How many lines both start with."""
    return next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))


def _malformed(problem: str) -> PatchRefused:
    return PatchRefused(problem, f"A block looks like this, each marker on a line of its own:\n{EXAMPLE}")
