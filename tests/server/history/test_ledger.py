"""The history survives, and tells the truth."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from server.errors import LedgerDamaged, LedgerUnavailable
from server.history import ledger_schema
from server.history.ledger import Ledger
from server.records import Decision, Experiment, Verdict
from server.source.python_source import Change
from tests.support.builders import NOON, attempt, crashed, finished, judged


@pytest.fixture
def ledger(tmp_path: Path):
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    yield ledger
    ledger.close()


def fill(ledger: Ledger) -> None:
    """1 kept baseline, 2 discarded, 3 kept, 4 crashed, 5 running."""
    for number, val_bpb, verdict, kept in [
        (1, 2.0, Verdict.BASELINE, True),
        (2, 2.1, Verdict.WORSE, False),
        (3, 1.9, Verdict.IMPROVED, True),
    ]:
        ledger.begin(attempt(number))
        ledger.finish(number, finished(val_bpb), judged(number, verdict))
        ledger.decide(number, Decision(kept=kept, decided_at=NOON))
    ledger.begin(attempt(4))
    ledger.finish(4, crashed(), judged(4, Verdict.CRASHED))
    ledger.begin(attempt(5))


def test_an_experiment_grows_from_attempt_to_decision(ledger: Ledger) -> None:
    ledger.begin(attempt(1))
    assert ledger.get(1) == Experiment(attempt=attempt(1))
    ledger.finish(1, finished(2.0), judged(1, Verdict.BASELINE))
    row = ledger.decide(1, Decision(kept=True, decided_at=NOON))
    assert ledger.get(1) == ledger.last() == ledger.incumbent() == ledger.baseline() == row
    assert row.kept and row.score and row.score.value == 2.0 and row.attempt == attempt(1)


def test_the_incumbent_is_the_last_kept_and_counts_add_up(ledger: Ledger) -> None:
    fill(ledger)
    incumbent, baseline, last = ledger.incumbent(), ledger.baseline(), ledger.last()
    assert incumbent and baseline and last
    assert (baseline.number, incumbent.number, last.number) == (1, 3, 5)
    assert ledger.counts() == {"baseline": 1, "worse": 1, "improved": 1, "crashed": 1, "running": 1, "kept": 2}


def answers(ledger: Ledger) -> tuple[object, ...]:
    """All that is asked of a ledger again and again in one call."""
    questions = (ledger.last, ledger.measured, ledger.incumbent, ledger.baseline, ledger.counts, ledger.kept)
    more = (ledger.recent_repeats, ledger.failed, ledger.category_of, ledger.gains)
    return (*(ask() for ask in (*questions, *more)), ledger.page(5, 0), ledger.values(5), list(ledger.all()))


def test_a_call_sees_each_of_its_writes(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger)
    number = 6
    made = Change(knobs={"LR": "1 → 2"}, places=[], category="knob")
    moves: list[Callable[[], object]] = [
        lambda: ledger.begin(attempt(number), made),
        lambda: ledger.finish(number, finished(1.5), judged(number, Verdict.IMPROVED, -0.1)),
        lambda: ledger.decide(number, Decision(kept=True, decided_at=NOON)),
    ]
    with ledger.one_call():
        before = answers(ledger)
        for move in moves:
            with ledger.one_call():  # a call within a call: the outer one sees its writes, too
                assert answers(ledger) == before
                move()
                now = answers(ledger)
            assert answers(ledger) == now != before
            with closing(Ledger(tmp_path / "ledger.sqlite3", read_only=True)) as other:
                assert answers(other) == now
            before = now
    assert ledger.gains()[-1] == ("knob", -0.1) and not ledger.gains("another task")


def test_a_write_that_fails_is_forgotten_as_well_and_a_later_call_reads_anew(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)) as other:
        with ledger.one_call():
            counts = ledger.counts()
            other.execute("UPDATE experiments SET verdict = 'worse'")
            assert ledger.counts() == counts, "in one call the same question has one answer"
            with pytest.raises(LedgerUnavailable):
                ledger.begin(attempt(5))
            assert ledger.counts() != counts
        other.execute("UPDATE experiments SET verdict = 'crashed'")
        with ledger.one_call():
            assert set(ledger.counts()) == {"crashed", "kept"}
        other.execute("UPDATE experiments SET verdict = 'worse'")
        assert set(ledger.counts()) == {"worse", "kept"}


def test_the_next_call_sees_what_anybody_has_written_since(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger)
    with ledger.one_call():
        first = ledger.counts()
    ledger.begin(attempt(6))
    with ledger.one_call():
        assert ledger.counts() == first | {"running": 2}
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)) as other:
        other.execute("DELETE FROM experiments WHERE number = 6")
    with ledger.one_call():
        assert ledger.counts() == first
    (tmp_path / "ledger.sqlite3").write_bytes(b"no ledger any more " * 4096)
    with ledger.one_call(), pytest.raises(LedgerDamaged):
        ledger.counts()


def test_an_answer_is_kept_for_as_long_as_the_ledger_stays_as_it_is() -> None:
    answers, asked = ledger_schema.Answers(), list[int]()

    def ask(rows: int = 1) -> list[int]:
        asked.append(rows)
        return [0] * rows

    def times_asked(*states: int | None, rows: int = 1) -> int:
        asked.clear()
        for state in states:
            with answers.one_call(lambda state=state: state):
                for _ in range(2):
                    answers.get(("how many",), lambda: ask(rows))
        return len(asked)

    assert times_asked(1, 1, 1) == 1
    assert times_asked(1, 2, 3, 2) == 3
    assert times_asked(None, None) == 2, "what cannot be compared may have changed"
    assert times_asked(4, 4, rows=10_000) == 2, "much is kept for one call"
    answers.forget()
    assert times_asked(4, 4) == 1
    assert [answers.get(("how many",), ask) for _ in range(3)] and len(asked) == 4, "outside of a call: each time"


def test_pages_are_newest_first_and_filtered_by_verdict(ledger: Ledger) -> None:
    fill(ledger)
    assert [row.number for row in ledger.page(2, 1)] == [4, 3]
    assert [row.number for row in ledger.page(9, 0, "worse")] == [2]
    assert ledger.page(9, 0, "'; DROP TABLE experiments; --") == []
    assert [row.number for row in ledger.all()] == [1, 2, 3, 4, 5]


def test_the_rows_of_named_clients_are_read_alone(ledger: Ledger) -> None:
    words = 'it says "agent":"nobody"'
    for number, agent in enumerate((None, "ada", None, "bea"), 1):
        ledger.begin(attempt(number, words).model_copy(update={"agent": agent}))
    assert [row.attempt.agent for row in ledger.all(of_agents=True)] == ["ada", "bea"]
    assert [row.number for row in ledger.all(after=2, of_agents=True)] == [4]


def test_a_number_is_never_given_twice(ledger: Ledger) -> None:
    ledger.begin(attempt(1))
    with pytest.raises(LedgerUnavailable, match="UNIQUE"):
        ledger.begin(attempt(1, "another"))
    assert ledger.get(1) == Experiment(attempt=attempt(1))


def test_what_was_acknowledged_is_there_for_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "a folder with ü" / "ledger.sqlite3"
    path.parent.mkdir()
    first = Ledger(path)
    fill(first)
    second = Ledger(path, read_only=True)  # while the writer is still open
    assert list(first.all()) == list(second.all())
    with pytest.raises(LedgerUnavailable, match="readonly"):
        second.begin(attempt(9))
    first.close()
    second.close()


def test_what_a_killed_writer_left_half_done_hinders_no_reader(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    first = Ledger(path)
    fill(first)
    before = list(first.all())
    first.close()
    killed = f"""
import os, sqlite3
connection = sqlite3.connect({str(path)!r})
connection.execute("PRAGMA cache_size = 1")  # pages are written before the commit
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE experiments SET document = document || zeroblob(9000)")
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", killed], check=False)
    assert (tmp_path / "ledger.sqlite3-journal").exists()
    reader = Ledger(path, read_only=True)
    assert list(reader.all()) == before
    reader.close()


def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    path.write_bytes(b"this is not a database, but it is long enough to be read as one" * 100)
    before = path.read_bytes()
    with pytest.raises(LedgerUnavailable, match="not a database"):
        Ledger(path)
    assert path.read_bytes() == before


def test_a_ledger_of_a_later_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LedgerUnavailable, match="another version"):
        Ledger(path)


def test_commits_are_made_durable(ledger: Ledger, tmp_path: Path) -> None:
    observer = sqlite3.connect(tmp_path / "ledger.sqlite3")
    try:
        assert observer.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    finally:
        observer.close()
    assert ledger._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # pyright: ignore[reportPrivateUsage]


def test_a_ledger_that_was_made_without_an_index_is_given_it_and_stays_as_old(ledger: Ledger, tmp_path: Path) -> None:
    ledger.begin(attempt(1))
    ledger.close()
    path = tmp_path / "ledger.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP INDEX by_lane")
    os.utime(path, ns=(10**18, 10**18))
    Ledger(path).close()
    assert path.stat().st_mtime_ns == 10**18
    with closing(sqlite3.connect(path)) as connection:
        assert ("by_lane",) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'").fetchall()


def test_the_last_row_of_a_lane_is_found_by_the_index_and_by_its_whole_name(ledger: Ledger, tmp_path: Path) -> None:
    lanes = [None, "b", "bb", "b", None, "bb", "a-b"]
    for number, lane in enumerate(lanes, 1):
        told = 'not of "lane":"z"'
        ledger.begin(attempt(number, told).model_copy(update={"lane": lane}))
    found = {lane: row.number for lane in ("main", "b", "bb", "a-b") if (row := ledger.last(lane))}
    assert found == {"main": 5, "b": 4, "bb": 6, "a-b": 7}
    assert ledger.last("z") is None and ledger.measured("a") is None and ledger.last("") == ledger.get(7)
    assert [row and row.number for row in map(ledger.measured, ("b", "a-b"))] == [4, 7]
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as connection:
        for lane in ("main", "b"):
            where, values = ledger_schema.in_lane(lane)
            for rows in (where, f"+purpose = 'measure' AND {where}"):
                query = f"EXPLAIN QUERY PLAN SELECT document FROM experiments WHERE {rows} ORDER BY number DESC LIMIT 1"
                assert "USING INDEX by_lane" in str(connection.execute(query, values).fetchall())
