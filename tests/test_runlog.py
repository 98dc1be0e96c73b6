"""A log that is fit to read and never large."""

import os
from pathlib import Path

import pytest

from trainer import runlog
from trainer.runlog import RunLog, clean


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
    ],
)
def test_a_line_is_cleaned(raw: bytes, text: str) -> None:
    assert clean(raw) == text


def logged(path: Path, data: bytes, mute: bool = False) -> str:
    reading, writing = os.pipe()
    log = RunLog(path)
    if mute:
        log.mute()
    log.drain(os.fdopen(reading, "rb"))
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(data)
    log.close(timeout=20)
    return path.read_text(encoding="utf-8")


def test_a_flood_keeps_its_head_and_its_tail(tmp_path: Path) -> None:
    lines = [b"line %d\n" % number for number in range(200_000)]
    text = logged(tmp_path / "run.log", b"".join(lines))
    assert text.startswith("line 0\nline 1\n")
    assert text.endswith("line 199998\nline 199999\n")
    assert "bytes left out" in text
    assert len(text.encode()) <= runlog.HEAD_BYTES + runlog.TAIL_BYTES + 100


def test_one_endless_line_is_cut(tmp_path: Path) -> None:
    text = logged(tmp_path / "run.log", b"x" * 3_000_000)
    assert len(text.encode()) <= runlog.HEAD_BYTES + runlog.TAIL_BYTES + 100


def test_a_muted_log_keeps_nothing(tmp_path: Path) -> None:
    assert logged(tmp_path / "run.log", b"secret\n", mute=True) == ""
