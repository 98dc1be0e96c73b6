"""What an agent is told of the library: the catalogue, passages that answer a question, a document in pages.

Every word of a document, its title and its headings included, stands in a fence that names it as quoted; so does its
id, unless it is a plain name. What to call next holds no word of it. An answer is at most some 20,000 tokens.
"""

import difflib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from server.errors import UnknownDocument
from server.library.reading import document_files
from server.library.reading.document_files import Entry, File, Text
from server.library.reading.index import Hit, Index
from server.library.reading.passages import Section, lines_to_read, outline
from server.library.reading.visible import one_line
from server.records import Value
from server.text import fence_quotation

_ROOM = 44_000  # bytes of an answer's quoted text as JSON: 20,000 tokens of the densest text that is usual
_OUTLINE_ROOM = 6_000
_PASSAGE = 5_000  # characters that are shown of one: more is a long table, or code
_CATALOGUE = "library(): the documents"
_NEAR = 5
_PLAIN = re.compile(r"[A-Za-z0-9_.@/+-]{1,100}")  # a name without blanks; others are quoted like a text
_MARKS = dict.fromkeys(map(ord, '"“”„‟'), "'")


class Asked(NamedTuple):
    """What an agent asks for: the catalogue; with a query passages, of all documents or of one; else that document."""

    query: str = ""
    id: str = ""
    section: str = ""  # its number or title
    limit: int = 8  # of passages
    offset: int = 0  # passages, lines of the document or lines of the catalogue to skip


class Answer(Value):
    """A part of the library for an agent."""

    documents: int  # in the library
    text: str  # quoted material
    next_offset: int = 0  # where the next call reads on; 0: this is the end
    calls: tuple[str, ...] = ()  # what to call next


class ReferenceLibrary:
    """The documents beside a program.md, read anew with each call. It needs no network."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._index = folder, Index(folder)
        self._entries: dict[str, tuple[File, Entry]] = {}

    def count(self) -> int:
        """How many documents there are."""
        return document_files.count(self._folder)

    def exists(self) -> bool:
        """Whether there is a document."""
        return document_files.has_documents(self._folder)

    def answer(self, asked: Asked) -> Answer:
        """What is asked for. Raises UnknownDocument, LibraryUnavailable."""
        query, name, section, limit, offset = asked
        found = document_files.files(self._folder)
        if not found:
            raise UnknownDocument(
                "There is no reference library.", "Continue without it; the operator may add documents."
            )
        if section and not name:
            raise UnknownDocument(f"Of which document is section {section[:80]!r}?", f"Give its id. {_CATALOGUE}.")
        if name:
            file = self._file(found, name)
            if not query.strip():
                return self._document(found, file, section, offset)
            return self._passages(found, query, limit, offset, file.id)
        return self._passages(found, query, limit, offset) if query.strip() else self._catalogue(found, offset)

    def document(self, name: str) -> str:
        """A document from its beginning, fenced, as much as an answer holds. Raises UnknownDocument."""
        return self.answer(Asked(id=name or " ")).text

    def told(self, source: str) -> str:
        """The source of an idea as an agent has told it, and title and address of each document that it names.

        A title is quoted: somebody else wrote it, and it may read like words of ours.
        """
        if not source:
            return ""
        known = {file.id: file for file in document_files.files(self._folder)}
        names = dict.fromkeys(word.strip("<>()[]\"'`.") for word in re.split(r"[\s,;]+", source))
        entries = [self._entry(known[name]) for name in names if name in known]
        cited = "; ".join(", ".join(filter(None, (_title(entry), one_line(entry.source)))) for entry in entries)
        return f"{source} ({cited})" if cited else source

    def _catalogue(self, found: list[File], offset: int) -> Answer:
        lines = (_told(self._entry(file)) for file in found[offset:])
        shown = _fitting(lines, _ROOM)
        after = offset + len(shown)
        calls = ["library(query=...): passages that answer a question", "library(id=...): one document"]
        if after < len(found):
            calls.insert(0, f"library(offset={after}): the other {len(found) - after} documents")
        return Answer(
            documents=len(found),
            text=fence_quotation("\n".join(shown), "documents of the library: id, title, what it is"),
            next_offset=after if after < len(found) else 0,
            calls=tuple(calls),
        )

    def _passages(self, found: list[File], query: str, limit: int, offset: int, name: str = "") -> Answer:
        hits = self._index.search(query, limit + 1, offset, name)
        shown = _fitting(map(_quoted, hits[:limit], range(offset + 1, offset + limit + 1)), _ROOM)
        calls = [
            f"library(id of passage {number}, offset={hit.line}): reads on where that passage begins"
            for number, hit in enumerate(hits[: min(len(shown), 3)], offset + 1)
        ]
        after = offset + len(shown) if len(hits) > len(shown) else 0
        if after:
            calls.append(f"library with the same query and offset={after}: more passages")
        if hits and not name:
            calls.append("library with the same query and an id: more passages of that document")
        if not hits:
            calls = ["no passage has these words: try other words", f"{_CATALOGUE}; library(id=...) reads one"]
        return Answer(documents=len(found), text="\n".join(shown), next_offset=after, calls=tuple(calls))

    def _document(self, found: list[File], file: File, section: str, offset: int) -> Answer:
        text = self._read(file)
        sections = outline(text.body)
        lines = lines_to_read(text.body)
        chosen = None
        if section:
            chosen = _section(sections, section)
            lines = lines_to_read("\n".join(text.body.split("\n")[chosen.first : chosen.last]))
        parts, room = list[str](), _ROOM
        if not offset and not chosen:
            about = _told(text.entry) + (" Tables and formulas are lost or damaged in it." if text.entry.lossy else "")
            told = "\n".join([about, *_outline(sections)] if len(sections) > 1 else [about])
            parts.append(fence_quotation(told, f"{_labelled(file.id)} in short"))
            room -= _size(parts[0])
        shown = _fitting(lines[offset:], room)
        after = offset + len(shown) if offset + len(shown) < len(lines) else 0
        what = f"lines {min(offset + 1, len(lines))} to {offset + len(shown)} of {len(lines)}"
        of = f"section {sections.index(chosen) + 1} of " if chosen else ""
        parts.append(fence_quotation("\n".join(shown), f"{of}{_labelled(file.id)}, {what}"))
        same = "id and section" if chosen else "id"
        on = [f"library with the same {same} and offset={after}: reads on"] if after else []
        calls = [*on, "library with the same id and section=...: one section"] if len(sections) > 1 else on
        return Answer(
            documents=len(found), text="\n".join(filter(None, parts)), next_offset=after, calls=(*calls, _CATALOGUE)
        )

    def _file(self, found: list[File], name: str) -> File:
        """The document of an id; also as the operator may call it. Raises UnknownDocument."""
        asked = one_line(name, 300)
        known = {file.id: file for file in found}
        for form in (asked, asked.removesuffix(".md"), asked.removeprefix("library/").removesuffix(".md")):
            if form in known:
                return known[form]
        same = [file for file in found if asked == self._entry(file).known_as]
        if len(same) == 1:
            return same[0]
        near = difflib.get_close_matches(asked, filter(_PLAIN.fullmatch, known), n=_NEAR, cutoff=0.4)
        hint = f"Similar ids: {', '.join(map(json.dumps, near))}. " if near else ""
        raise UnknownDocument(f"There is no document {json.dumps(asked[:80])}.", f"{hint}{_CATALOGUE}.")

    def _entry(self, file: File) -> Entry:
        """What a document says of itself; read again once its file has changed."""
        if (before := self._entries.get(file.id)) and before[0] == file:
            return before[1]
        try:
            entry = document_files.read(file).entry
        except OSError as error:
            return Entry(file.id, f"(cannot be read: {error.strerror or error})")
        self._entries[file.id] = (file, entry)
        return entry

    def _read(self, file: File) -> Text:
        try:
            return document_files.read(file)
        except OSError as error:
            why = error.strerror or str(error)
            raise UnknownDocument(f"That document cannot be read: {why}.", f"{_CATALOGUE}.") from error


def _labelled(name: str) -> str:
    """A document in the line that opens a quotation. A stranger may have named it: a name like a text stays inside."""
    return f"library document {json.dumps(name)}" if _PLAIN.fullmatch(name) else "library document"


def _title(entry: Entry) -> str:
    """In quotation marks that nothing in it can close; empty where there is none."""
    title = one_line(entry.title).translate(_MARKS)
    return f"“{title}”" if title else ""


def _told(entry: Entry) -> str:
    """A document in one line."""
    facts = [entry.kind, f"{entry.words:,} words", entry.author, entry.published or entry.fetched[:10], entry.tags]
    return f"{entry.id}: {entry.title} ({', '.join(filter(None, facts))}) {entry.source}".rstrip()


def _quoted(hit: Hit, number: int) -> str:
    """A passage in its fence, under the title of its document and the headings above it."""
    headings = hit.heading if hit.heading.startswith(hit.title) else " > ".join(filter(None, (hit.title, hit.heading)))
    text = hit.text
    if len(text) > _PASSAGE:
        text = text[: text.rfind("\n", 0, _PASSAGE) + 1] or text[:_PASSAGE]
        text = f"{text.rstrip()}\n[{hit.text.count(chr(10), len(text)) + 1} more lines]"
    above = [one_line(headings, 300)] if _PLAIN.fullmatch(hit.id) else [f"id: {hit.id}", one_line(headings, 300)]
    return fence_quotation("\n".join([*above, text]), f"passage {number}, {_labelled(hit.id)}")


def _outline(sections: list[Section]) -> list[str]:
    """The sections with their numbers: down to the depth that fits, or else as many as fit."""
    told = list[str]()
    for deepest in range(6, 0, -1):
        shown = [(number, one) for number, one in enumerate(sections, 1) if one.level <= deepest]
        if len(shown) > _OUTLINE_ROOM:  # however short they are, they do not fit
            continue
        told = [f"{'  ' * (one.level - 1)}{number}. {one_line(one.title, 120)}" for number, one in shown]
        if told and _size("\n".join(told)) <= _OUTLINE_ROOM:
            return told
    every = (f"{number}. {one_line(one.title, 120)}" for number, one in enumerate(sections, 1))
    fitting = _fitting(every, _OUTLINE_ROOM)
    return [*fitting, f"[{len(sections) - len(fitting)} more sections]"]


def _section(sections: list[Section], asked: str) -> Section:
    """A section by its number, or by its title, the whole of it or a part. Raises UnknownDocument."""
    plain = " ".join(asked.lower().split()).strip("#. ")
    if plain.isdecimal() and len(plain) < 9 and 0 < int(plain) <= len(sections):
        return sections[int(plain) - 1]
    titles = [(" ".join(one.title.lower().split()), one) for one in sections]
    paths = [(" > ".join(one.path).lower(), one) for one in sections]
    for fits in (
        *(one for title, one in [*titles, *paths] if plain == title),
        *(one for title, one in titles if plain and title.startswith(plain)),
        *(one for path, one in paths if plain and plain in path),
    ):
        return fits
    count = f"It has sections 1 to {len(sections)}" if sections else "It has no sections"
    raise UnknownDocument(
        f"The document has no section {json.dumps(one_line(asked, 80))}.",
        f"{count}: library with that id alone shows its outline.",
    )


def _fitting(lines: Iterable[str], room: int) -> list[str]:
    """As many of the first lines as fit, and one at least."""
    told = list[str]()
    for line in lines:
        room -= _size(line) + 4  # a bar, a blank, a line feed as JSON writes it
        if told and room < 0:
            break
        told.append(line)
    return told


def _size(text: str) -> int:
    """Bytes in an answer."""
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", "replace"))
