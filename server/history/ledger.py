"""The history: one SQLite file, one writer, one row an experiment.

A row is written before a branch moves, so that whatever dies, the next call can finish the move. `synchronous=FULL`
and a rollback journal: a night writes a few rows a minute, and an acknowledged row must survive a power cut. (WAL has a
corruption bug before SQLite 3.51.3, sqlite.org/wal.html#walresetbug.) Each write adds an entry to a chain of hashes.
"""

import os
import sqlite3
from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from server.errors import LedgerDamaged, LedgerUnavailable
from server.history import chain
from server.history import ledger_schema as tables
from server.history.chain import Chain, Entry, Mark
from server.history.ledger_schema import Answers
from server.records import MAIN, Attempt, Decision, Experiment, Judgement, Purpose, Result, Revocation, Verdict
from server.source.language import Change

_DURABLE = "PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL; PRAGMA cache_size = -256;"  # KiB: rows are few
_PAGE = 100  # rows read at once
_RECENT = 100  # repeated runs that tell the noise: older ones may be of another day's machine


class Ledger:
    """All experiments of one tag, in the order they were started."""

    def __init__(self, path: Path, read_only: bool = False) -> None:
        """Open or create the ledger at `path`. Raises LedgerUnavailable.

        Args:
            read_only: look at a ledger that a server may be writing to. Nothing is written but what a server that was
                killed has left half done: SQLite takes it back before it lets anybody read.
        """
        self._path, self.mark = path, Mark.WRITTEN  # mark: how the rows that are written come into the chain
        self._file: tuple[int, int] | None = None
        self._answers = Answers()
        address = f"{path.absolute().as_uri()}?mode={'rw' if read_only else 'rwc'}"
        self._barred = False
        with self._speaking():
            # Calls come from worker threads, one at a time: the app's lock sees to that.
            self._connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
            made = self._check()
            if read_only:
                self._connection.execute("PRAGMA query_only = ON")
            else:
                # Opened again, a ledger stays as old as its last row: that tells nights apart.
                before = path.stat()
                self._connection.executescript(_DURABLE + tables.SCHEMA)  # indexes that it was made without, too
                if not made:
                    self._begin_chain()
                if path.stat().st_mtime_ns != before.st_mtime_ns:
                    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            self._version, self._file = self._data_version(), _identity(path)

    def close(self) -> None:
        self._connection.close()

    @property
    def gone(self) -> bool:
        """Whether the file has to be opened again.

        It was deleted, or another one put in its place, so that what is written now is read by nobody; or nothing can
        be written: SQLite opens a file for reading alone when a disk fails at that moment.
        """
        return self._barred or _identity(self._path) != self._file

    @property
    def foreign(self) -> bool:
        """Whether another process has written to the file since it was opened."""
        with self._speaking():
            return self._data_version() != self._version

    @property
    def written_ns(self) -> int:
        """When a row was last written, in ns since the epoch. Raises OSError."""
        return self._path.stat().st_mtime_ns

    def one_call(self) -> AbstractContextManager[None]:
        """What is asked again in here, or was in the last call, is not read again until somebody writes."""
        return self._answers.one_call(self._state)

    def begin(self, attempt: Attempt, made: Change | None = None) -> None:
        """Add the row of a run that is about to start, and what it changes. Raises LedgerUnavailable."""
        row, features = Experiment(attempt=attempt), {**made.features, tables.CATEGORY: made.category} if made else {}
        with self._writing(), self._connection:  # all of it or nothing
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(f"INSERT INTO experiments VALUES {tables.MARKS}", tables.columns(row))
            self._link(row)
            places = [(feature, row.number, value) for feature, value in features.items()]
            self._connection.executemany("INSERT INTO changes VALUES (?, ?, ?)", places)

    def finish(self, number: int, result: Result, judgement: Judgement) -> Experiment:
        """Write down how a run ended and what that means. Raises LedgerUnavailable."""
        return self._replace(number, result=result, judgement=judgement)

    def start(self, attempt: Attempt) -> Experiment:
        """Write down that a run which waited starts now, and with what. Raises LedgerUnavailable."""
        return self._replace(attempt.number, attempt=attempt)

    def decide(self, number: int, decision: Decision) -> Experiment:
        """Write down what became of an experiment. Raises LedgerUnavailable."""
        return self._replace(number, decision=decision)

    def revoke(self, revocations: dict[int, Revocation]) -> None:
        """Write down which keeps do not stand, all or none. Raises LedgerUnavailable."""
        rows = [row for number in revocations if (row := self.get(number))]
        revoked = [row.model_copy(update={"revocation": revocations[row.number]}) for row in rows]
        with self._writing(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            for row in revoked:
                self._require_ours(row.number)
                self._connection.execute(f"REPLACE INTO experiments VALUES {tables.MARKS}", tables.columns(row))
                self._link(row)

    def put_back(self, number: int, row: Experiment | None) -> None:
        """Write a row as it was before somebody else edited it; None removes what they have added."""
        with self._writing(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute("DELETE FROM experiments WHERE number = ?", (number,))
            if row:
                self._connection.execute(f"INSERT INTO experiments VALUES {tables.MARKS}", tables.columns(row))
            self._link(row, number, Mark.RESTORED)

    def chain(self, copies: set[tuple[int, str]] | None = None) -> Chain | None:
        """The chain over the rows, as chain.read; None of a ledger that no server with a chain has opened yet."""
        if not self._ask("SELECT 1 FROM sqlite_master WHERE name = 'chain'"):
            return None
        with self._speaking():
            return chain.read(self._connection.execute(tables.ENTRIES), copies)

    def edited(self) -> list[int]:
        """Numbers of the rows that are not as a server wrote them; none where a chain that is broken cannot tell."""
        with self._speaking(), self._connection:  # rows and chain as they are between the same two writes
            self._connection.execute("BEGIN")
            found = self.chain()
            if found is None or found.broken:
                return []
            stored = {number: (chain.copy_name(text), told) for number, text, told in self.documents()}
            return chain.differing(found, stored)

    def marked(self, mark: Mark) -> list[int]:
        """Numbers of the rows that came into the chain like this, ascending."""
        if not self._rows("SELECT 1 FROM sqlite_master WHERE name = 'marked'"):
            return []
        rows = self._rows("SELECT DISTINCT number FROM chain WHERE mark = ? AND mark != '' ORDER BY number", str(mark))
        return [number for (number,) in rows]

    def get(self, number: int) -> Experiment | None:
        return next(self._select("WHERE number = ?", number), None)

    def last(self, lane: str = "") -> Experiment | None:
        """The last row, of one lane or of all."""
        where, values = tables.in_lane(lane)
        return next(self._select(f"WHERE {where} ORDER BY number DESC LIMIT 1", *values), None)

    def measured(self, lane: str = "") -> Experiment | None:
        """The last run of a train.py that was new, in one lane or in all: what a decision is about."""
        where, values = tables.in_lane(lane)
        clause = f"{'+' if values else ''}purpose = 'measure' AND {where}"  # +: by the index of lanes
        return next(self._select(f"WHERE {clause} ORDER BY number DESC LIMIT 1", *values), None)

    def lanes(self) -> list[str]:
        """The lanes that have a row."""
        return [name or MAIN for (name,) in self._rows(tables.LANES)]

    def unfinished(self) -> list[Experiment]:
        """The runs under way and those that wait for a slot, oldest first."""
        return list(self._select("WHERE verdict IN ('running', 'queued') ORDER BY number"))

    def repeats(self, number: int, purpose: Purpose) -> list[Experiment]:
        """The later runs of experiment `number`'s train.py, oldest first."""
        return list(self._select("WHERE of = ? AND purpose = ? ORDER BY number", number, purpose.value))

    def recent_repeats(self) -> list[Experiment]:
        """The last hundred runs of a train.py that was not new, by their index: few need no search of the study."""
        numbers = "SELECT number FROM experiments INDEXED BY repeats WHERE of IS NOT NULL ORDER BY number DESC LIMIT ?"
        return list(self._select(f"WHERE number IN ({numbers}) ORDER BY number DESC", _RECENT))

    def same_code(self, fingerprint: str) -> Experiment | None:
        """The last experiment with this code that was measured."""
        rows = self._select("WHERE fingerprint = ? AND purpose = 'measure' ORDER BY number DESC LIMIT 5", fingerprint)
        return next((row for row in rows if row.score is not None), None)

    def failed(self, code: str = "") -> list[int]:
        """Numbers of the runs that ended `invalid`, ascending; with a fingerprint, those of this code."""
        which, value = ("fingerprint", code) if code else ("verdict", "invalid")
        return sorted(number for (number,) in self._rows(f"{tables.FAILED} AND {which} = ?", value))

    def baseline(self) -> Experiment | None:
        """The experiment that was kept first."""
        return next(self._select("WHERE kept ORDER BY number LIMIT 1"), None)

    def incumbent(self) -> Experiment | None:
        """The experiment that was kept last, of those that stand."""
        return next(self._select("WHERE kept ORDER BY number DESC LIMIT 1"), None)

    def revoked(self) -> list[Experiment]:
        """The experiments that were kept and do not stand any more, oldest first."""
        return list(self._select(f"{tables.REVOKED} ORDER BY number"))

    def page(self, limit: int, offset: int, verdict: str = "") -> list[Experiment]:
        """`limit` experiments, newest first, of one verdict or of all."""
        if verdict:
            return list(self._select("WHERE verdict = ? ORDER BY number DESC LIMIT ? OFFSET ?", verdict, limit, offset))
        return list(self._select("ORDER BY number DESC LIMIT ? OFFSET ?", limit, offset))

    def all(self, after: int = 0, of_agents: bool = False) -> Iterator[Experiment]:
        """Every experiment after number `after`, or of those with the name of a client, oldest first, in pages."""
        also = tables.OF_AGENTS if of_agents else ""
        query = f"SELECT number, document FROM experiments WHERE number > ? {also} ORDER BY number LIMIT ?"
        while rows := self._ask(query, after, _PAGE):
            yield from [self._read(document) for _, document in rows]
            after = rows[-1][0]  # a row that somebody else has added may say another number

    def documents(self) -> Iterator[tuple[int, str, str]]:
        """(number, text, columns) of every row as it is written, oldest first, in pages: the texts are not read."""
        after, query = -1, "SELECT * FROM experiments WHERE number > ? ORDER BY number LIMIT ?"
        while rows := self._ask(query, after, _PAGE):
            yield from ((row[0], str(row[-1]), tables.beside(row)) for row in rows)
            after = rows[-1][0]

    def experiments(self) -> int:
        """How many experiments there are: without what the preflight refused, and without repeated runs."""
        query = "SELECT count(*) FROM experiments WHERE verdict != ? AND of IS NULL"
        return int(self._ask(query, str(Verdict.REFUSED))[0][0])

    def counts(self, after: int = 0) -> dict[str, int]:
        """How many experiments after number `after` have each verdict, and under `kept` how many were kept."""
        rows = self._rows("SELECT verdict, count(*) FROM experiments WHERE number > ? GROUP BY verdict", after)
        kept = self._rows("SELECT count(*) FROM experiments WHERE kept AND number > ?", after)
        return {**dict(rows), "kept": kept[0][0]}

    def kept(self, last: int = -1) -> list[Experiment]:
        """The last so many that were kept, oldest first; -1: all."""
        return list(self._select("WHERE kept ORDER BY number DESC LIMIT ?", last))[::-1]

    def sharing(self, features: Iterable[str], limit: int, least: int = 1) -> list[tuple[int, int, int]]:
        """(number, how many of `features` it has, how many it has in all), most alike and newest first.

        Args:
            least: how many of them it must have.
        """
        wanted = list(features)
        # What an experiment has in all is counted once, of those that have enough.
        having = (
            f"SELECT number, count(*) AS shared FROM changes WHERE feature IN ({','.join('?' * len(wanted))}) "
            "GROUP BY number HAVING shared >= ?"
        )
        count = f"SELECT count(*) FROM changes AS b WHERE b.number = a.number AND feature != '{tables.CATEGORY}'"
        counted = f"SELECT number, shared, ({count}) AS whole FROM ({having}) AS a LIMIT -1 OFFSET 0"
        order = f"1.0 * shared / ({len(wanted)} + whole - shared) DESC, number DESC"
        return self._rows(f"SELECT * FROM ({counted}) ORDER BY {order} LIMIT ?", *wanted, least, limit)

    def features(self, number: int) -> dict[str, str]:
        """What experiment `number` changed."""
        query = "SELECT feature, value FROM changes WHERE number = ? AND feature != ?"
        return dict(self._rows(query, number, tables.CATEGORY))

    def category_of(self) -> dict[int, str]:
        """The kind of idea of each experiment that has one, by number."""
        return dict(self._rows("SELECT number, value FROM changes WHERE feature = ?", tables.CATEGORY))

    def gains(self, task: str | None = None) -> list[tuple[str, float]]:
        """(kind of idea, delta) of each that was kept by this task and has both, oldest first."""
        rows = self._rows(
            "SELECT value, json_extract(document, '$.judgement.delta') FROM experiments JOIN changes USING (number) "
            "WHERE kept AND feature = ? AND json_extract(document, '$.attempt.task') IS ? ORDER BY number",
            *(tables.CATEGORY, task),
        )
        return [(kind, delta) for kind, delta in rows if delta is not None]

    def values(self, limit: int) -> list[tuple[int, str, str]]:
        """(number, knob, "before → after") of the last attempts that turned a knob, newest first."""
        return self._rows(
            "SELECT number, substr(feature, 6), value FROM changes INDEXED BY changed WHERE feature GLOB 'knob *' "
            "ORDER BY number DESC, feature LIMIT ?",
            limit,
        )

    def _rows(self, query: str, *values: Any) -> list[Any]:
        return self._answers.get((query, *values), lambda: self._ask(query, *values))

    def _ask(self, query: str, *values: Any) -> list[Any]:
        with self._speaking():
            return self._connection.execute(query, values).fetchall()

    def _check(self) -> bool:
        """Whether the file holds a ledger; False of a new one, or of one that was not made to the end."""
        if self._connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("the file is damaged")
        found, ours = self._connection.execute("PRAGMA user_version").fetchone()[0], tables.FORMAT
        if found not in (0, tables.UNCHAINED, ours):
            raise sqlite3.NotSupportedError(f"written by another version (format {found}, this server knows {ours})")
        return found == ours

    def _replace(self, number: int, **parts: Any) -> Experiment:
        row = self.get(number)
        assert row is not None, number
        after = row.model_copy(update=parts)
        with self._writing(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._require_ours(number)
            self._connection.execute(f"REPLACE INTO experiments VALUES {tables.MARKS}", tables.columns(after))
            self._link(after)
        return after

    def _require_ours(self, number: int) -> None:
        """Refuse to go on with a row that somebody else has edited: its copy in git would be overwritten."""
        stored = self._connection.execute("SELECT * FROM experiments WHERE number = ?", (number,)).fetchone()
        query = "SELECT copy, columns FROM chain WHERE number = ? ORDER BY place DESC LIMIT 1"
        said = self._connection.execute(query, (number,)).fetchone()
        if said != (chain.copy_name(stored[-1]), tables.beside(stored)):
            raise sqlite3.DatabaseError(f"somebody else edited experiment {number}")

    def _begin_chain(self) -> None:
        """Enter what is there, all of it or nothing. A new ledger has nothing."""
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            begun = self._connection.execute("SELECT 1 FROM chain").fetchone()  # a number that is set begins no other
            rows: list[Any] = [] if begun else self._connection.execute("SELECT * FROM experiments").fetchall()
            for row in rows:
                self._enter(Entry(row[0], chain.copy_name(row[-1]), tables.beside(row), Mark.BEFORE))
            self._connection.execute(tables.VERSION)

    def _link(self, row: Experiment | None, number: int = 0, mark: Mark | None = None) -> None:
        mark = self.mark if mark is None else mark
        if row is None:
            return self._enter(Entry(number, "", "", mark))
        stored = tables.columns(row)
        self._enter(Entry(row.number, chain.copy_name(stored[-1]), tables.beside(stored), mark))

    def _enter(self, entry: Entry) -> None:
        last = self._connection.execute("SELECT link FROM chain ORDER BY place DESC LIMIT 1").fetchone()
        entry = chain.linked(entry, last[0] if last else "")
        self._connection.execute("INSERT INTO chain (number, copy, columns, mark, link) VALUES (?, ?, ?, ?, ?)", entry)

    def _data_version(self) -> int:
        """Another number once another connection has written."""
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def _state(self) -> tuple[int, ...] | None:
        """Another one once anybody has written to the file, in whatever way; None if that cannot be told."""
        try:
            found, version = self._path.stat(), self._data_version()
        except (OSError, sqlite3.Error):
            return None
        return version, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def _select(self, clause: str, *values: Any) -> Iterator[Experiment]:
        rows = self._rows(f"SELECT document FROM experiments {clause}", *values)
        return (self._read(document) for (document,) in rows)

    def _read(self, document: str) -> Experiment:
        try:
            return tables.read_row(document)
        except ValueError as error:
            with self._speaking():
                raise sqlite3.DatabaseError(f"a row cannot be read: {str(error).splitlines()[0]}") from error

    @contextmanager
    def _writing(self) -> Generator[None]:
        """Forget what was read, whether the write succeeds or not."""
        try:
            with self._speaking():
                yield
        finally:
            self._answers.forget()

    @contextmanager
    def _speaking(self) -> Generator[None]:
        """The one place where sqlite3's errors become ours."""
        try:
            yield
        except sqlite3.Error as error:
            # DatabaseError itself, not one of its subclasses: malformed, or no database at all.
            code: int = getattr(error, "sqlite_errorcode", 0)
            self._barred = code & 0xFF == sqlite3.SQLITE_READONLY  # whatever the reason is in particular
            if type(error) is sqlite3.DatabaseError or (self._file and _identity(self._path) != self._file):
                raise LedgerDamaged(
                    f"The ledger {self._path} is damaged: {error}.",
                    "A server moves it aside and rebuilds it from git, at its next call or start.",
                ) from error
            raise LedgerUnavailable(
                f"The ledger {self._path} cannot be used: {error}.",
                "The operator must start the version that wrote it, or begin a new --tag."
                if type(error) is sqlite3.NotSupportedError
                else "The operator must free space or restore write access; then status() says what was done.",
            ) from error


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
