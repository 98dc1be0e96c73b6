"""Texts that are not ours, in terminals that show little: as they are, and no traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from server.cli.terminal import console, folded
from server.metric import Metric
from server.records import Verdict
from server.reporting.table import history_table
from tests.support.builders import experiment
from tests.support.repositories import IDENTITY

BRACKETS = ("[exp] night", "a[/b]", "[bold]x", "[link=https://x.example]y", r"\[b]", ":smile:", "$a_{$")


def run(*words: object, python: tuple[str, ...] = (), **settings: str) -> str:
    """What a command prints. It must succeed."""
    command = [sys.executable, *python, "-m", "server.cli", *map(str, words)]
    environment = {**os.environ, **IDENTITY, **settings}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    told = (done.stdout + done.stderr).decode("utf-8", "surrogateescape")
    assert done.returncode == 0, told
    return told


@pytest.mark.parametrize("text", BRACKETS)
def test_what_looks_like_markup_is_printed_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    console().print(f"{text}: made")
    assert capsys.readouterr().out == f"{text}: made\n"
    row = experiment(1, Verdict.BASELINE, 2.0)
    row = row.model_copy(update={"attempt": row.attempt.model_copy(update={"description": f"{text}\x1b[2J"})})
    Console(width=200).print(history_table([row], Metric("val_bpb", "lower")))
    assert rf"{text}\x1b[2J" in capsys.readouterr().out


def test_a_description_is_on_one_line_of_eighty_columns(capsys: pytest.CaptureFixture[str]) -> None:
    row = experiment(127, Verdict.WITHIN_NOISE, 2.0)
    row = row.model_copy(
        update={"attempt": row.attempt.model_copy(update={"description": "a smaller batch, 64 a step"})}
    )
    Console(width=80).print(history_table([row], Metric("val_bpb", "lower"), 80))
    told = capsys.readouterr().out
    assert "within_noise" in told and "a smaller batch, 64 a step" in told and len(told.splitlines()) == 2


def test_a_terminal_without_unicode_is_told_all_the_same(tmp_path: Path) -> None:
    made = tmp_path / "[/b] [exp] σé"
    told = run("init", made, TERM="dumb", PYTHONIOENCODING="ascii")
    shown = str(made).replace("σ", "sigma").replace("é", r"\xe9")
    assert told.startswith(f"{shown}: program.md") and f"next: cd '{shown}' &&" in told
    assert (made / "train.py").exists()


@pytest.mark.parametrize("columns", ["0", "1"])
def test_a_terminal_of_no_width_is_printed_to(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    with (shown := console()).capture() as captured:
        shown.print("some words")
    assert captured.get() == "some words\n" and shown.width >= 20


def test_python_that_drops_docstrings_is_started_anew_with_them() -> None:
    told = run("--help", python=("-O",), PYTHONOPTIMIZE="2")
    assert "Make a new workspace" in told and "Usage: autoresearch" in told


def test_a_long_line_is_parted_where_it_has_parts() -> None:
    told = f"referee: judged; a run {'x' * 60}; it measures ms; lower is better; editable: {'y' * 90}"
    lines = folded(told)
    assert " ".join(lines) == told and all(len(line) <= 80 or "; " not in line for line in lines)
    assert len(lines) == 4 and folded("short; and whole") == ["short; and whole"]
