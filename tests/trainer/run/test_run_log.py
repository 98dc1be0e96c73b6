"""A log that is fit to read and never large."""

import os
from pathlib import Path

import pytest

from tests.support.polling import PATIENCE, until
from trainer.run import run_log
from trainer.run.run_log import RunLog
from trainer.text import clean


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain\n", "plain\n"),
        (b"10%\r50%\r100%\r\n", "100%\n"),
        (b"\x1b[31mred\x1b[0m \x1b]0;title\x07\n", "red \n"),
        (b"nul \x00 bell \x07\n", "nul \\x00 bell \\x07\n"),
        (b"invalid \xff\xfe\n", "invalid \\xff\\xfe\n"),
        ("ü → 漢\n".encode(), "ü → 漢\n"),
        (b"no end", "no end\n"),
        (b"two\nlines\r\n", "two\nlines\n"),
        (b"\x1bPq#0;2;sixels\x1b\\a \x1b_kitty\x1b\\b \x1b(B\x1b[mc \x1b7\x1b=\x1bcd\n", "a b c d\n"),
        (b"\xc2\x9b31mred \xc2\x85 next \x1b]0;no end of a title\n", "red \\x85 next 0;no end of a title\n"),
    ],
)
def test_a_line_is_cleaned(raw: bytes, text: str) -> None:
    assert clean(raw) == text


@pytest.mark.timeout(200)  # in which nothing ends that grows with the square
@pytest.mark.parametrize("opening", ["\x90", "\x1b]", "\x1b[", "\x9b1"])
def test_what_only_opens_takes_no_longer_than_it_is_long(opening: str) -> None:
    assert clean((opening * 100_000).encode())


def logged(path: Path, data: bytes, mute: bool = False) -> str:
    reading, writing = os.pipe()
    log = RunLog(path)
    if mute:
        log.mute()
    log.drain(os.fdopen(reading, "rb"))
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(data)
    log.close(timeout=PATIENCE)
    return path.read_text(encoding="utf-8")


def test_a_flood_keeps_its_head_and_its_tail(tmp_path: Path) -> None:
    lines = [b"line %d\n" % number for number in range(200_000)]
    text = logged(tmp_path / "run.log", b"".join(lines))
    assert text.startswith("line 0\nline 1\n")
    assert text.endswith("line 199998\nline 199999\n")
    assert "bytes left out" in text
    assert len(text.encode()) <= run_log.HEAD_BYTES + run_log.TAIL_BYTES + 100


def test_one_endless_line_is_cut(tmp_path: Path) -> None:
    text = logged(tmp_path / "run.log", b"x" * 3_000_000)
    assert len(text.encode()) <= run_log.HEAD_BYTES + run_log.TAIL_BYTES + 100


def test_nothing_is_torn_where_one_read_ends_and_the_next_begins(tmp_path: Path) -> None:
    line = "漢\x1b[31m字\x1b[0m\n".encode()
    text = logged(tmp_path / "run.log", line * 60_000)
    assert {part for part in text.splitlines() if "left out" not in part} <= {"漢字", text.splitlines()[-1]}
    head, _, tail = text.partition(" bytes left out ...\n")
    assert set(head.splitlines()[:-2]) == set(tail.splitlines()) == {"漢字"}


def test_what_is_escaped_counts_as_it_is_written(tmp_path: Path) -> None:
    text = logged(tmp_path / "run.log", b"\x00" * 2_000_000)
    assert len(text.encode()) <= run_log.HEAD_BYTES + run_log.TAIL_BYTES + 100


def test_a_progress_bar_and_the_end_of_a_long_log_are_seen_while_they_are_written(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    log, path = RunLog(tmp_path / "run.log"), tmp_path / "run.log"
    log.drain(os.fdopen(reading, "rb"))
    with os.fdopen(writing, "wb", buffering=0) as pipe:
        pipe.write(b"10%\r20%")
        until(lambda: path.read_text(encoding="utf-8") == "20%\n")
        pipe.write(b"\n" + b"a line of a flood\n" * 60_000 + b"the last words")
        until(lambda: path.read_text(encoding="utf-8").endswith("\nthe last words\n"))
    log.close(timeout=PATIENCE)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full")
def test_a_full_disk_costs_the_log_alone() -> None:
    reading, writing = os.pipe()
    log = RunLog(Path("/dev/full"))
    log.drain(os.fdopen(reading, "rb"))
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(b"x" * 1_000_000)  # more than a pipe holds: somebody goes on reading it
    log.close(timeout=PATIENCE)


def test_a_muted_log_keeps_nothing(tmp_path: Path) -> None:
    assert logged(tmp_path / "run.log", b"secret\n", mute=True) == ""
