"""The three ways in which models write a change, read into hunks; telling them apart is our work, not theirs."""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import NamedTuple

from server.errors import PatchRefused
from server.source.editable import malformed
from server.source.hunks import Hunk
from server.source.patch_blocks import EXAMPLE, OPEN, as_usual, is_marker, read_blocks
from server.source.patch_diffs import DiffReader, Section
from server.text import clip

_DIFF = re.compile(
    r"^(?:@@|diff --git |--- \S|GIT binary patch|[ \t]*\*\*\* (?:Begin Patch|(?:Update|Add|Delete) File:))",
    re.MULTILINE,
)
_ESCAPED = re.compile(r"(?:--- |@@|<{5,9} ?SEARCH|\*\*\* |diff --git ).*\\n(?:\+\+\+|@@|[-+ ]|=====|\*\*\*|\w)")
_FEW_LINES = 3  # no patch has fewer
_MOST_READ = 64 * 1024  # characters of a patch that is read in other ways; the file itself has no more
_ENTITIES = {"lt": "<", "gt": ">", "quot": '"', "apos": "'", "#39": "'", "#x27": "'", "#34": '"', "amp": "&"}
_ENTITY = re.compile(rf"&({'|'.join(_ENTITIES)});", re.IGNORECASE)
_ESCAPED_ESCAPE = re.compile(
    rf"&amp;(?:{'|'.join(_ENTITIES)});|^[ \t]*(?:&lt;){{3,}} ?SEARCH", re.IGNORECASE | re.MULTILINE
)
_BEHIND = re.compile(  # what stands before a patch that is quoted, or that is indented as a whole
    r"^([ \t>]{0,32})(?=@@(?:[ \n]|\Z)|diff --git |--- \S|\*\*\* (?:Begin|Update)|<{3,} ?SEARCH)",
    re.MULTILINE | re.IGNORECASE,
)
_LONGEST_PATH = 300
_STAMP = re.compile(r"(?:\t|\s+[0-9]{4}-[0-9]{2}-[0-9]{2}|\s+[A-Z][a-z]{2} [A-Z][a-z]{2} ).*$")
_SIDES = "old|new|orig|original|modified|updated|before|after|current|left|right"
_PREFIX = re.compile(rf"(?:[abciow]|{_SIDES})/")
_SIDE = re.compile(r"^[abciow]/")  # as git has them
_ESCAPE = re.compile(r"\\([0-7]{3}|.)")
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_SUFFIX = re.compile(rf"(?:\.(?:{_SIDES}|bak)|~| \([^()]*\)| (?:{_SIDES}))$")


def parse_patch(patch: str, file: str) -> list[list[Hunk]]:
    """The hunks of a patch, in rounds: the hunks of one round all speak of the same text, the next of its result.

    A section of a diff, below a header that names the file, is a round; so is each SEARCH/REPLACE block.

    Raises:
        PatchRefused: it is in none of the formats, is malformed, or does more than change the text of `file`.
    """
    sections, paths = _sections(patch, lambda path: _names(path, file), None, file)
    _refuse_other_files(paths, file)
    return _named([hunks for _, hunks in sections])


class FileHunks(NamedTuple):
    """What a patch does to one file. The names are "" where the patch has none."""

    old: str
    new: str
    adds: bool
    deletes: bool
    hunks: list[Hunk]


def parse_files(patch: str, known: Callable[[str], bool], old: Collection[str]) -> list[FileHunks]:
    """What a patch does to each of several files, in its order.

    Args:
        known: whether a file may have this name. old: the files that there are.

    Raises:
        PatchRefused: as of `parse_patch`; also that a name is none below the top.
    """
    sections, _ = _sections(patch, lambda path: any(map(known, _cleaned(path))), known)
    made: list[FileHunks] = []
    for section, hunks in sections:
        names = _resolved(section, known, old)
        if hunks or not section.bare:
            made.append(FileHunks(*names, section.adds, section.deletes, hunks))
    whole = [one for one in made if one.adds or one.deletes or one.old != one.new]
    named = iter(_named([one.hunks for one in made], bool(whole)))
    return [one._replace(hunks=next(named)) if any(h.changes for h in one.hunks) else _emptied(one) for one in made]


def _emptied(one: FileHunks) -> FileHunks:
    if one.adds or one.deletes or one.old != one.new:
        return one._replace(hunks=[])
    raise PatchRefused(
        f"The patch has a header for {one.new} and no change below it.",
        "Add the lines to change: '-' before each old line, '+' before each new one, ' ' before the others.",
    )


def _sections(
    patch: str, ours: Callable[[str], bool], known: Callable[[str], bool] | None, file: str = "the file"
) -> tuple[list[tuple[Section, list[Hunk]]], list[str]]:
    """The hunks below each header, and all paths that are named. `known`: as of `read_blocks`."""
    raw = patch.split("\n")
    lines = [line.removesuffix("\r") for line in raw]
    text = "\n".join(lines)
    _refuse_escaped(lines)
    if OPEN.search(text):
        hunks, named = read_blocks(lines, known)
        sections: list[tuple[Section, list[Hunk]]] = []
        file = ""
        for name, hunk in zip(named, hunks, strict=True):
            file = name or file  # without a name it is the file of the block before
            sections.append((Section(file, file), [hunk]))
        return sections, [name for name in named if name]
    if _DIFF.search(text):
        ends = ["\r\n" if line.endswith("\r") else "\n" for line in raw]
        ends[-1] = ends[0] if len(set(ends[:-1])) == 1 else ends[-1]  # the last one may have lost its end
        reader = DiffReader(lines, ends, ours, known is not None)
        rounds = reader.read()
        return list(zip(reader.sections, rounds, strict=True)), reader.paths
    raise PatchRefused(
        "The patch is in none of the formats: unified diff, SEARCH/REPLACE blocks, or *** Begin Patch.",
        f"Write it for example like this, with lines copied from {file}:\n{EXAMPLE}",
    )


def _resolved(section: Section, known: Callable[[str], bool], old: Collection[str]) -> tuple[str, str]:
    """The old and the new name that the headers mean. Raises PatchRefused: one is none below the top."""
    if section.adds:
        before = after = _meant(section.new, section, known)
    else:
        before = _meant(section.old, section, lambda name: name in old)
        after = before if section.deletes or section.new == section.old else _meant(section.new, section, known)
    if section.sides and before != after and _SIDE.sub("", before) == _SIDE.sub("", after):
        before = after = before if before in old else after  # a/x and b/x, one of which is a real folder's
    for name in {before, after} - {""}:
        if why := malformed(name):
            raise PatchRefused(f"The patch has a path that cannot be used: {clip(name)}: {why}.", "Correct the path.")
    return before, after


def _meant(raw: str, section: Section, known: Callable[[str], bool]) -> str:
    """A name without what diff tools and models put around one; the first form that is known, if there is one."""
    stamped = _STAMP.sub("", _unquoted(raw.strip())).strip()
    plain = stamped.removeprefix("./")
    bare = _SIDE.sub("", plain)
    paired = section.sides and section.old[:2] != section.new[:2]
    nothing = section.sides and (section.adds or section.deletes)
    forms = [bare, plain] if (paired or nothing) and bare != plain else [plain]
    forms += [] if section.adds else [form.removeprefix("./") for form in _cleaned(raw)]
    return next(filter(known, forms), forms[0])


def _unquoted(name: str) -> str:
    """As git quotes a name with odd letters: "a/\\303\\274"."""
    if not (len(name) > 1 and name[0] == name[-1] == '"'):
        return name
    try:
        return _ESCAPE.sub(_unescaped, name[1:-1].encode().decode("latin-1")).encode("latin-1").decode()
    except UnicodeError:
        return name[1:-1]


def _unescaped(found: re.Match[str]) -> str:
    told = found[1]
    return chr(int(told, 8) & 255) if told.isdecimal() else _LETTERS.get(told, told)


def with_line_feeds(patch: str, text: str) -> str:
    """The patch with lines that end as a patch's do: some come with "\\r" alone, or with one "\\r" too many."""
    if "\n" not in patch:
        return patch.replace("\r", "\n")
    if "\r\r\n" in patch and "\r\r\n" not in text and patch.count("\r\r\n") == patch.count("\n"):
        return patch.replace("\r\r\n", "\r\n")
    return patch


def readings(patch: str, file: str, text: str) -> Iterator[str]:
    """What else a patch may mean that fits nowhere as it is written: the ways in which it may have been changed since.

    Escaped for HTML, quoted with ">", indented as a whole, or with markers that are indented or of another width. Only
    readings that look for other lines of the file are worth a try. Escapes are those of the `text` if it has some,
    unless they are escaped once more.
    """
    if len(patch) > _MOST_READ:
        return
    texts, seen = [patch], [_sought(patch, file)]
    escaped = not _ENTITY.search(text) or bool(_ESCAPED_ESCAPE.search(patch))
    unescape = (_without_entities, _without_entities) if escaped else ()
    for step in (*unescape, _without_quotes, as_usual):
        texts += [other for known in texts if (other := step(known)) not in texts]
    for other in texts[1:]:
        looked_for = _sought(other, file)
        if looked_for is None or looked_for not in seen:
            seen.append(looked_for)
            yield other


def is_in_a_format(patch: str) -> bool:
    """Whether a line of it begins as a patch does."""
    return bool(OPEN.search(patch) or _DIFF.search(patch))


def _sought(patch: str, file: str) -> list[list[str]] | None:
    """The lines that each hunk looks for; None if the patch cannot be read."""
    try:
        return [hunk.before for hunks in parse_patch(patch, file) for hunk in hunks]
    except PatchRefused:
        return None


def _without_entities(text: str) -> str:
    """Without HTML's escapes, if all of it is escaped."""
    lines = "\n".join(line for line in text.split("\n") if not is_marker(line))
    if "<" in lines or "&" in _ENTITY.sub("", lines):
        return text
    return _ENTITY.sub(lambda found: _ENTITIES[found[1].lower()], text)


def _without_quotes(text: str) -> str:
    """Without what stands before each line of the patch."""
    found = [marker[1] for marker in _BEHIND.finditer(text)]
    before = found[0] if found and all(other.startswith(found[0]) for other in found) else ""
    if not before:
        return text
    lines, only = text.split("\n"), before.rstrip()
    marked = [at for at, line in enumerate(lines) if is_marker(line)]
    inside = lines[marked[0] : marked[-1]] if marked and not only else []
    if any(line.strip() and not line.startswith(before) for line in inside):
        return text  # only the markers are indented
    return "\n".join("" if line.rstrip() == only else line.removeprefix(before) for line in lines)


def _refuse_escaped(lines: list[str]) -> None:
    written = [line for line in lines if line.strip()]
    if len(written) < _FEW_LINES and any(_ESCAPED.search(line[:4096]) for line in written):
        raise PatchRefused(
            "The patch is one line: it has the two characters \\n where its lines should end.",
            "Send real line breaks: in JSON a line ends with \\n, not with \\\\n.",
        )


def _named(rounds: list[list[Hunk]], may_be_none: bool = False) -> list[list[Hunk]]:
    """Without the hunks that change nothing, the others with a name. Raises PatchRefused: none is left."""
    changing = [[hunk for hunk in hunks if hunk.changes] for hunks in rounds]
    count = sum(map(len, changing))
    if not count and any(rounds) and not may_be_none:
        raise PatchRefused(
            "The patch changes nothing: the old and the new lines are equal.",
            "Mark each old line with '-' and each new one with '+'.",
        )
    if not count and not may_be_none:
        raise PatchRefused(
            "The patch has a header and no hunk.",
            "Add the lines to change: '-' before each old line, '+' before each new one, ' ' before the others.",
        )
    number = iter(range(1, count + 1))
    return [
        [replace(h, name=h.name or f"Hunk {next(number)} of {count}") for h in hunks] for hunks in changing if hunks
    ]


def _refuse_other_files(paths: list[str], file: str) -> None:
    only = f"Only {file} can be changed: send a patch for {file} alone."
    names = {file if _names(path, file) else _cleaned(path)[-1] for path in paths}
    listed = ", ".join(sorted(names))[:200]
    if any(name.startswith(("/", "~")) or ".." in name.split("/") for name in names):
        raise PatchRefused(f"The patch has a path that is absolute or climbs with '..': {listed}.", only)
    if len(names) > 1:
        raise PatchRefused(f"The patch changes more than one file: {listed}.", only)
    if names - {file}:
        raise PatchRefused(f"The patch changes another file: {listed}.", only)


def _names(path: str, file: str) -> bool:
    """Whether a header's path means the file: as it is, or with what diff tools and models put around a name."""
    return file in _cleaned(path)


def _cleaned(path: str) -> list[str]:
    """The path, and what is left of it without time stamp, suffix and prefix, step by step."""
    found = [path.strip()[:_LONGEST_PATH].strip('"')]
    for pattern in (_STAMP, _SUFFIX, _SUFFIX):
        found.append(pattern.sub("", found[-1]).strip().strip('"'))
    return [*found, *(_without_side(name) for name in found)]


def _without_side(name: str) -> str:
    name = name.removeprefix("./")
    side = _PREFIX.match(name)
    return name[side.end() :] if side else name
