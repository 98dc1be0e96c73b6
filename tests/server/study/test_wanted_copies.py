"""Which copies git should have of the ledger's rows: a row that equals its copy is not read, every other one is."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from server.errors import LedgerDamaged
from server.history.chain import Entry, copy_name, linked
from server.history.ledger import Ledger
from server.records import Verdict
from server.serve_options import ServeOptions
from server.study.git_repair import document, wanted
from server.study.study import Study
from tests.support.builders import attempt, finished, judged
from tests.support.lifecycle import kept_baseline, ran


@pytest.fixture
def ledger(tmp_path: Path):
    with closing(Ledger(tmp_path / "ledger.sqlite3")) as ledger:
        for number in (1, 2):
            ledger.begin(attempt(number))
        ledger.finish(1, finished(2.0), judged(1, Verdict.BASELINE))
        yield ledger


def write(folder: Path, text: str) -> None:
    with closing(sqlite3.connect(folder / "ledger.sqlite3")) as other, other:
        other.execute("UPDATE experiments SET document = ? WHERE number = 1", (text,))


def test_with_and_without_copies_the_same_is_wanted(ledger: Ledger) -> None:
    read = wanted(ledger, {})
    assert read == {row.number: (row.commit, document(row).name) for row in ledger.all()}
    assert wanted(ledger, {number: want.copy for number, want in read.items()}) == read


def test_a_row_that_an_earlier_version_wrote_keeps_its_copy(ledger: Ledger, tmp_path: Path) -> None:
    row = next(ledger.all())
    text = row.model_dump_json(exclude_none=True, indent=1)  # the same row, another text
    write(tmp_path, text)
    old = document(row)._replace(content=text.encode())
    assert old.name != document(row).name
    assert wanted(ledger, {1: old.name})[1] == (row.commit, old.name)
    assert wanted(ledger, {})[1] == (row.commit, document(row).name)


def test_a_damaged_row_shows_even_where_git_has_a_copy(ledger: Ledger, tmp_path: Path) -> None:
    copies = {number: want.copy for number, want in wanted(ledger, {}).items()}
    write(tmp_path, "{")
    with pytest.raises(LedgerDamaged):
        wanted(ledger, copies)


def test_a_row_of_a_later_version_that_git_has_as_well_does_not_keep_a_study_from_opening(study: Study) -> None:
    kept_baseline(study)
    ran(study, 2.0)
    path, root = study.workspace.paths.ledger, study.workspace.root
    row = study.ledger.get(2)
    assert row
    text = row.model_dump_json(exclude_none=True).replace('"verdict":"reference"', '"verdict":"of tomorrow"')
    study.workspace.archive(2, text)
    study.close()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE experiments SET document = ? WHERE number = 2", (text,))
        *told, before = other.execute(
            "SELECT number, copy, columns, mark, link FROM chain ORDER BY place DESC LIMIT 1"
        ).fetchone()
        entry = linked(Entry(*told)._replace(copy=copy_name(text)), before)  # as that version would have written it
        other.execute("INSERT INTO chain (number, copy, columns, mark, link) VALUES (?, ?, ?, ?, ?)", entry)
    again = Study(root, "t1", ServeOptions(profile="smoke"))
    assert [found.number for found in again.ledger.all()] == [1]
    again.close()
