"""The tables of a ledger, the formats that were written, and what was read of them. Pure."""

from collections.abc import Callable, Generator, Hashable, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from server.records import MAIN, Experiment

FORMAT = 3
UNCHAINED = 2  # the format before the chain
# The name of a row's lane, empty of main. (json_extract would refuse a text that somebody has damaged.)
_LANE = """instr(document, '"lane":"')"""
_NAMED = f"substr(document, {_LANE} + 8)"
_LANE_OF = f"""CASE WHEN {_LANE} THEN substr({_NAMED}, 1, instr({_NAMED}, '"') - 1) ELSE '' END"""
LANES = f"SELECT DISTINCT {_LANE_OF} FROM experiments"
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS experiments (
    number INTEGER PRIMARY KEY,
    verdict TEXT NOT NULL,
    kept INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    of INTEGER,
    fingerprint TEXT NOT NULL,
    document TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_verdict ON experiments (verdict, number);
CREATE INDEX IF NOT EXISTS by_purpose ON experiments (purpose, number);
CREATE INDEX IF NOT EXISTS repeats ON experiments (of, number) WHERE of IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_code ON experiments (fingerprint, number);
CREATE TABLE IF NOT EXISTS changes (
    feature TEXT NOT NULL,
    number INTEGER NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (feature, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS changed ON changes (number);
CREATE INDEX IF NOT EXISTS kept_last ON experiments (number) WHERE kept;
CREATE INDEX IF NOT EXISTS by_lane ON experiments ({_LANE_OF}, number);
CREATE TABLE IF NOT EXISTS chain (
    place INTEGER PRIMARY KEY,
    number INTEGER NOT NULL,
    copy TEXT NOT NULL,
    columns TEXT NOT NULL,
    mark TEXT NOT NULL,
    link TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS linked ON chain (number, place);
CREATE INDEX IF NOT EXISTS marked ON chain (mark, number) WHERE mark != '';
"""
VERSION = f"PRAGMA user_version = {FORMAT}"
CATEGORY = "category"
_KEPT = 2000  # rows that were read, between two calls: about 2 MB
MARKS = "(?, ?, ?, ?, ?, ?, ?)"
ENTRIES = "SELECT number, copy, columns, mark, link FROM chain ORDER BY place"
FAILED = """SELECT number FROM experiments WHERE instr(document, '"outcome":"invalid"')"""  # quotes in a text: escaped
OF_AGENTS = """AND instr(document, '"agent":"')"""
# Only such a verdict is ever kept, and the index by it leaves few rows to be read.
REVOKED = """WHERE verdict IN ('improved', 'simpler') AND NOT kept AND instr(document, '"revocation":')"""


def in_lane(lane: str) -> tuple[str, tuple[str, ...]]:
    """The condition for rows of a lane, and its values; of "" for all rows."""
    if not lane:
        return "1", ()
    return f"{_LANE_OF} = ?", ("" if lane == MAIN else lane,)


@lru_cache(maxsize=128)  # a call asks for the same few rows several times, and so does the next one
def read_row(document: str) -> Experiment:
    """The row that a text stands for. Nobody changes it. Raises ValueError."""
    return Experiment.model_validate_json(document)


def columns(row: Experiment) -> tuple[int, str, int, str, int | None, str, str]:
    """A row as the table has it."""
    attempt, document = row.attempt, row.model_dump_json(exclude_none=True)
    return row.number, row.verdict, int(row.kept), attempt.purpose.value, attempt.of, attempt.fingerprint, document


def beside(stored: Sequence[Any]) -> str:
    """What the table has of a row beside number and text, as the chain has it."""
    return " ".join(map(str, stored[1:-1]))


class Answers:
    """What a ledger was asked in its calls and has answered, for as long as nobody has written to it."""

    def __init__(self) -> None:
        self._rows: dict[tuple[object, ...], list[Any]] = {}
        self._state: Hashable = None
        self._calls = 0  # each within the one before

    @contextmanager
    def one_call(self, state: Callable[[], Hashable]) -> Generator[None]:
        """Keep answers in this block, and those of the last one if the ledger is in the same state as then.

        Args:
            state: differs once somebody has written to the ledger; None: that cannot be told.
        """
        if not self._calls:
            now = state()
            if now is None or now != self._state or sum(map(len, self._rows.values())) > _KEPT:
                self.forget()
            self._state = now
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    def forget(self) -> None:
        """Ask all of it again: the ledger is written to."""
        self._rows, self._state = {}, None

    def get(self, question: tuple[object, ...], ask: Callable[[], list[Any]]) -> list[Any]:
        """The answer of before, or what `ask` answers."""
        if not self._calls:
            return ask()
        if question not in self._rows:
            self._rows[question] = ask()
        return self._rows[question]
