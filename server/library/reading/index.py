"""The index of a library: SQLite's full-text search over its passages, in a file that is made again at will.

The file is a cache beside the documents. Each search first takes in what was added, changed or removed. Where the file
is damaged it is made anew, and where it cannot be written the index is in memory.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from server.errors import LibraryUnavailable
from server.library.reading import document_files, query
from server.library.reading.document_files import File
from server.library.reading.passages import passages, places_to_read
from server.paths import LIBRARY_INDEX

_FORMAT = 2
_BUSY_SECONDS = 5.0
_RECENT_NS = 2 * 10**9  # a file that was changed so shortly before it was read may change again within its time stamp
_EACH = 2  # passages of one document in an answer about all of them
_POOL = 60  # passages that are ranked
_LEAST_SHARE = 0.5  # of a word's trigrams, for a passage to be taken as like it
_WEIGHTS = "4.0, 3.0, 1.0"  # of a word in the document's title, in the headings, in the text
_SCHEMA = """
CREATE TABLE files (
    id TEXT PRIMARY KEY, changed_ns INTEGER, size INTEGER, digest TEXT, first INTEGER, last INTEGER
) WITHOUT ROWID;
CREATE TABLE places (number INTEGER PRIMARY KEY, id TEXT, line INTEGER);
CREATE VIRTUAL TABLE stems USING fts5(title, heading, text, tokenize = 'porter unicode61');
"""
_TRIGRAMS = "CREATE VIRTUAL TABLE trigrams USING fts5(title, heading, text, tokenize = 'trigram')"
_TABLES = ("stems", "trigrams")
_T = TypeVar("_T")


class Hit(NamedTuple):
    """A passage that was found."""

    id: str
    title: str  # of its document
    heading: str  # the headings that it is under
    text: str
    line: int  # of the lines to read that it begins with, from 0


class Index:
    """The index of one folder of documents. Safe for several threads, and beside other processes."""

    def __init__(self, library: Path) -> None:
        self._library, self._path = library, library / LIBRARY_INDEX
        self._lock = threading.Lock()
        self._memory: sqlite3.Connection | None = None

    def search(self, question: str, limit: int, offset: int = 0, document: str = "") -> list[Hit]:
        """The passages that answer a question best, of all documents or of one.

        Raises:
            LibraryUnavailable: this Python has no full-text search.
        """
        return self._with(lambda connection: _found(connection, question, limit, offset, document))

    def refresh(self) -> int:
        """Take in what has changed; returns how many passages there are. Raises LibraryUnavailable."""
        return self._with(lambda connection: int(_one(connection, "SELECT count(*) FROM places")[0]))

    def _with(self, asked: Callable[[sqlite3.Connection], _T]) -> _T:
        """Ask the index as the documents are now: the file, the file made anew, or the one in memory."""
        with self._lock:
            for _ in range(2):
                if not self._can_be_a_file():
                    break
                try:
                    with closing(_open(self._path)) as connection:
                        _take_in(connection, self._library)
                        return asked(connection)
                except sqlite3.Error as error:
                    if not _is_damaged(error):  # locked, read-only, a full disk, or no full-text search
                        break
                    for name in (
                        f"{LIBRARY_INDEX}-journal",
                        LIBRARY_INDEX,
                    ):  # the journal first: it must not be played into a new file
                        with suppress(OSError):
                            (self._library / name).unlink()
            return self._from_memory(asked)

    def _can_be_a_file(self) -> bool:
        """Whether the file may be written: it is no link to elsewhere, and its folder can be written to."""
        return not self._path.is_symlink() and os.access(self._library, os.W_OK)

    def _from_memory(self, asked: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            if self._memory is None:
                self._memory = _open(":memory:")
            _take_in(self._memory, self._library)
            return asked(self._memory)
        except sqlite3.Error as error:
            self._memory = None
            raise LibraryUnavailable(
                f"The library cannot be searched: {error}.",
                "library() lists the documents, and library(id=...) reads one.",
            ) from error


def _is_damaged(error: sqlite3.Error) -> bool:
    """Whether the file is no index of ours any more, in form or in content."""
    if not isinstance(error, sqlite3.OperationalError):
        return True
    return str(error).startswith(("no such table", "no such column", "table "))


def _open(path: Path | str) -> sqlite3.Connection:
    """The index, with its tables. Raises sqlite3.Error."""
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        for setting in ("trusted_schema = OFF", "cell_size_check = ON", "synchronous = OFF", "temp_store = MEMORY"):
            connection.execute(f"PRAGMA {setting}")
        if _format(connection) != _FORMAT:
            with _writing(connection):
                if _format(connection) != _FORMAT:
                    _make(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _format(connection: sqlite3.Connection) -> int:
    return int(_one(connection, "PRAGMA user_version")[0])


def _make(connection: sqlite3.Connection) -> None:
    """Make the tables. Raises sqlite3.Error: DatabaseError where there are other ones already."""
    if connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise sqlite3.DatabaseError("it is of another version")
    for statement in _SCHEMA.split(";\n"):
        connection.execute(statement)
    with suppress(sqlite3.OperationalError):  # SQLite before 3.34 has none: less is found, and nothing fails
        connection.execute(_TRIGRAMS)
    connection.execute(f"PRAGMA user_version = {_FORMAT}")


@contextmanager
def _writing(connection: sqlite3.Connection) -> Generator[None]:
    """All of it or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _take_in(connection: sqlite3.Connection, library: Path) -> None:
    """Bring the index up to date. Another process may be doing the same: who comes second finds nothing to do."""
    if _changes(connection, library):
        with _writing(connection):
            for name, file in _changes(connection, library).items():
                _replace(connection, name, file)


def _changes(connection: sqlite3.Connection, library: Path) -> dict[str, File | None]:
    """The documents that may have changed, by id; None: it is gone."""
    rows = connection.execute("SELECT id, changed_ns, size FROM files")
    known = {name: (changed, size) for name, changed, size in rows}
    there = {file.id: file for file in document_files.files(library)}
    changed = {name: file for name, file in there.items() if known.get(name) != (file.changed_ns, file.size)}
    return {**changed, **dict.fromkeys(known.keys() - there.keys())}


def _replace(connection: sqlite3.Connection, name: str, file: File | None) -> None:
    now = time.time_ns()
    try:
        raw = document_files.data(file.path) if file else b""
    except OSError:  # gone, or not to be read: the next search looks again
        raw = b""
    digest, old = sha256(raw).hexdigest(), _known(connection, name)
    stamp = file.changed_ns if file and raw and abs(now - file.changed_ns) > _RECENT_NS else -1
    if file and old and old[0] == digest:
        connection.execute("UPDATE files SET changed_ns = ?, size = ? WHERE id = ?", (stamp, file.size, name))
        return
    if old:
        for table in ("places", *_tables(connection)):
            key = "number" if table == "places" else "rowid"
            connection.execute(f"DELETE FROM {table} WHERE {key} BETWEEN ? AND ?", old[1:])
        connection.execute("DELETE FROM files WHERE id = ?", (name,))
    if file:
        first, last = _enter(connection, document_files.parse(name, raw.decode("utf-8", "replace")))
        row = (name, stamp, file.size, digest, first, last)
        connection.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?, ?)", row)


def _known(connection: sqlite3.Connection, name: str) -> tuple[str, int, int] | None:
    """(digest, first and last number of its passages) of a document."""
    return connection.execute("SELECT digest, first, last FROM files WHERE id = ?", (name,)).fetchone()


def _enter(connection: sqlite3.Connection, document: document_files.Text) -> tuple[int, int]:
    """Write the passages of a document down; returns the first of their numbers, and the last."""
    first = int(_one(connection, "SELECT coalesce(max(number), 0) FROM places")[0]) + 1
    entry, last, places = document.entry, first - 1, places_to_read(document.body)
    for last, one in enumerate(passages(document.body), first):
        connection.execute("INSERT INTO places VALUES (?, ?, ?)", (last, entry.id, places[one.first]))
        for table in _tables(connection):
            row = (last, entry.title, one.heading, one.text)
            connection.execute(f"INSERT INTO {table} (rowid, title, heading, text) VALUES (?, ?, ?, ?)", row)
    return first, last


def _tables(connection: sqlite3.Connection) -> tuple[str, ...]:
    made = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'trigrams'").fetchone()
    return _TABLES if made else _TABLES[:1]


def _found(connection: sqlite3.Connection, question: str, limit: int, offset: int, document: str) -> list[Hit]:
    """Passages by words; of scripts without blanks, and where no word is found, by three characters in a row."""
    terms = query.words(question)
    if not terms:
        return []
    runs, pool = query.unspaced(terms), _POOL + offset + limit
    numbers = list[int]()
    has_trigrams = len(_tables(connection)) > 1
    if runs and has_trigrams:
        numbers = _alike(connection, runs, pool, document)
    numbers += [number for number in _matching(connection, "stems", terms, pool, document) if number not in numbers]
    if not numbers and has_trigrams:
        numbers = _alike(connection, terms, pool, document)
    if not document:
        numbers = _spread(connection, numbers)
    return [_hit(connection, number) for number in numbers[offset : offset + limit]]


def _matching(connection: sqlite3.Connection, table: str, terms: list[str], limit: int, document: str) -> list[int]:
    """Numbers of the passages that have any of the terms, the best first."""
    inside, values = "", list[Any]()
    if document:
        inside = "AND rowid BETWEEN (SELECT first FROM files WHERE id = ?) AND (SELECT last FROM files WHERE id = ?)"
        values = [document, document]
    rows = connection.execute(
        f"SELECT rowid FROM {table} WHERE {table} MATCH ? {inside} ORDER BY bm25({table}, {_WEIGHTS}) LIMIT ?",
        (query.any_of(terms), *values, limit),
    )
    return [number for (number,) in rows]


def _alike(connection: sqlite3.Connection, terms: list[str], limit: int, document: str) -> list[int]:
    """Numbers of the passages that have much of a term in them, the best first."""
    parts = query.trigrams(terms)
    numbers = _matching(connection, "trigrams", parts, limit, document) if parts else []
    found = [number for number in numbers if _share(connection, number, terms) >= _LEAST_SHARE]
    short = [term for term in terms if len(term) < 3]  # too short for a trigram
    rest = _holding(connection, short, limit, document) if query.unspaced(short) else []
    return [*found, *(number for number in rest if number not in found)]


def _share(connection: sqlite3.Connection, number: int, terms: list[str]) -> float:
    """How much of the term that a passage has most of is in it."""
    text = "\n".join(_texts(connection, number)).lower()
    parts = [query.trigrams([term]) for term in terms if len(term) > 2]
    return max((sum(part in text for part in one) / len(one) for one in parts if one), default=0.0)


def _holding(connection: sqlite3.Connection, terms: list[str], limit: int, document: str) -> list[int]:
    """Numbers of the passages that have one of the terms as it is, in the order of the library."""
    any_of = " OR ".join(["instr(text, ?) OR instr(heading, ?) OR instr(title, ?)"] * len(terms))
    rows = connection.execute(
        f"SELECT stems.rowid FROM stems JOIN places ON number = stems.rowid WHERE ({any_of}) AND ? IN ('', id) LIMIT ?",
        [*(term for term in terms for _ in range(3)), document, limit],
    )
    return [number for (number,) in rows]


def _spread(connection: sqlite3.Connection, numbers: list[int]) -> list[int]:
    """The same without what is more than a few passages of one document."""
    seen: dict[str, int] = {}
    kept = list[int]()
    for number in numbers:
        name = str(_one(connection, "SELECT id FROM places WHERE number = ?", number)[0])
        seen[name] = seen.get(name, 0) + 1
        if seen[name] <= _EACH:
            kept.append(number)
    return kept


def _hit(connection: sqlite3.Connection, number: int) -> Hit:
    name, line = _one(connection, "SELECT id, line FROM places WHERE number = ?", number)
    return Hit(str(name), *_texts(connection, number), int(line))


def _texts(connection: sqlite3.Connection, number: int) -> tuple[str, str, str]:
    """Title, headings and text of a passage."""
    title, heading, text = _one(connection, "SELECT title, heading, text FROM stems WHERE rowid = ?", number)
    return str(title), str(heading), str(text)


def _one(connection: sqlite3.Connection, question: str, *values: int) -> tuple[Any, ...]:
    """The row that there must be. Raises sqlite3.DatabaseError."""
    row = connection.execute(question, values).fetchone()
    if row is None:
        raise sqlite3.DatabaseError("a row is missing")
    return row
