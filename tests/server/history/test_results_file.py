"""results.tsv on disk tells what the ledger tells, and costs the same at the end of a night."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from server.history.export import ResultsFile, tsv
from server.history.ledger import Ledger
from server.records import Decision, Purpose, Verdict
from tests.support.builders import NOON, attempt, finished, judged


@pytest.fixture
def ledger(tmp_path: Path):
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    yield ledger
    ledger.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "results.tsv"


def decided(ledger: Ledger, number: int, kept: bool) -> None:
    ledger.begin(attempt(number))
    ledger.finish(number, finished(2.0), judged(number, Verdict.BASELINE if number == 1 else Verdict.WORSE))
    ledger.decide(number, Decision(kept=kept, decided_at=NOON))


def test_the_file_tells_what_the_ledger_tells_after_every_move(ledger: Ledger, file: Path) -> None:
    results = ResultsFile(file)

    def told() -> list[str]:
        results.write(ledger)
        assert file.read_text(encoding="utf-8") == tsv(ledger.all())
        return [line.split("\t")[3] for line in file.read_text(encoding="utf-8").splitlines()]

    assert told() == ["status"]
    decided(ledger, 1, kept=True)
    assert told() == ["status", "keep"]
    ledger.begin(attempt(2))
    assert told() == ["status", "keep", "running"]
    ledger.finish(2, finished(1.9), judged(2, Verdict.PROMISING))
    assert told() == ["status", "keep", "open"]
    ledger.begin(attempt(3).model_copy(update={"of": 2, "purpose": Purpose.CONFIRM}))
    assert told() == ["status", "keep", "open"]
    ledger.finish(3, finished(1.7), judged(3, Verdict.CONFIRMATION))
    ledger.finish(2, finished(1.9), judged(2, Verdict.IMPROVED).model_copy(update={"value": 1.8}))
    assert told() == ["status", "keep", "open"]
    assert "\t1.800000\t" in file.read_text(encoding="utf-8")
    ledger.decide(2, Decision(kept=False, decided_at=NOON))
    decided(ledger, 4, kept=False)  # two moves between two writings, as when a disk is full
    assert told() == ["status", "keep", "discard", "discard"]


def test_what_could_not_be_written_is_in_the_next_file(ledger: Ledger, tmp_path: Path) -> None:
    results = ResultsFile(tmp_path / "away" / "results.tsv")
    decided(ledger, 1, kept=True)
    with pytest.raises(FileNotFoundError):
        results.write(ledger)
    decided(ledger, 2, kept=False)
    (tmp_path / "away").mkdir()
    results.write(ledger)
    assert (tmp_path / "away" / "results.tsv").read_text(encoding="utf-8") == tsv(ledger.all())


def test_a_file_that_was_written_after_the_last_row_is_left_as_it_is(ledger: Ledger, file: Path) -> None:
    def aged(ns: int) -> None:
        os.utime(file, ns=(ledger.written_ns + ns, ledger.written_ns + ns))

    def restored() -> tuple[str, int]:
        ResultsFile(file).restore(ledger)
        return file.read_text(encoding="utf-8"), file.stat().st_ino

    decided(ledger, 1, kept=True)
    assert restored()[0] == tsv(ledger.all())
    aged(1)
    assert restored() == restored()
    whole = tsv(ledger.all())
    for text, at in [(whole + whole, 0), ("old", -1), ("old", 1), (whole[:-1], 1), (whole[:-20], 1), (whole * 2, 1)]:
        file.write_text(text, encoding="utf-8")  # 0: a clock that ticks slowly shows the same time for both
        aged(at)
        assert restored()[0] == whole
    file.unlink()
    assert restored()[0] == tsv(ledger.all())


def test_rows_that_are_final_are_not_read_again(ledger: Ledger, file: Path, tmp_path: Path) -> None:
    for number in range(1, 4):
        decided(ledger, number, kept=number == 1)
    results = ResultsFile(file)
    results.write(ledger)
    before = tsv(ledger.all())
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as other, other:
        other.execute("UPDATE experiments SET document = '' WHERE number < 3")
    file.unlink()
    results.write(ledger)
    assert file.read_text(encoding="utf-8") == before


@pytest.mark.slow
def test_a_server_spares_what_it_has_loaded_the_garbage_collections(repository: Path) -> None:
    ends_at_once = """
import gc, sys
from pathlib import Path
from server.cli.serve import serve
serve(Path(sys.argv[1]))
print(gc.get_freeze_count())
"""
    command = [sys.executable, "-c", ends_at_once, repository]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", check=True)
    assert int(done.stdout) > 10_000
