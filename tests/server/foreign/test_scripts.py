"""What the text of a script tells before it runs."""

from pathlib import Path

import pytest

from server.foreign.scripts import barred, interpreter, metrics, named, needs_argument, plain_names, read, written
from server.foreign.surroundings import without_programs


@pytest.mark.parametrize(
    ("text", "names", "made_up"),
    [
        ('echo "METRIC total_ms=$x"\n# METRIC no=1\n', ["total_ms"], False),
        ("printf 'METRIC a=%s\\n' 1\nprintf 'METRIC b=%s\\n' 2\n", ["a", "b"], False),
        ('print(f"METRIC {name}={value}")\n', [], True),
        ('echo "METRIC $name=1"\n', [], True),
        ("printf 'METRIC %s=%s\\n' a 1\n", [], True),
        ('echo "METRIC combined_µs=$C"\n', ["combined_µs"], False),
    ],
)
def test_the_names_of_metric_lines(text: str, names: list[str], made_up: bool) -> None:
    assert metrics(text) == (names, made_up)


def test_names_without_metric_are_those_that_are_printed() -> None:
    assert plain_names('x=1\necho "parse_us=$P"\necho "done"\nprintf "all_us=%s" 1\n') == ["parse_us", "all_us"]


def test_paths_that_are_read_and_not_written() -> None:
    text = (
        "python3 ./bench/run.py --out=x.json > out/log.txt\ncat data/in.csv | tee -a out.csv\n. lib.sh\nrm -f old.txt\n"
    )
    assert named(text) == ["bench/run.py", "data/in.csv", "lib.sh"]
    assert written(text) == ["x.json", "out/log.txt", "out.csv", "old.txt"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('echo "$1"\n', 1),
        ("x=${1:?name a case}\n", 1),
        ("x=${1:-all}\n", 0),
        ("awk '{print $1}' f\n", 0),
        ('awk "{print \\$1}" f\n', 0),
        ("f() {\n  echo $1\n}\nf a\n", 0),
        ("function g {\n  echo $2\n}\necho $2\n", 4),
        ("python3 - <<'PY'\nprint('$1')\nPY\n", 0),
        ("# usage: $1\ntrue\n", 0),
    ],
)
def test_an_argument_without_a_default_is_found_outside_functions(text: str, line: int) -> None:
    assert needs_argument(text) == line


def test_tools_that_keep_packages_at_home_are_told_where_there_are_packages(tmp_path: Path) -> None:
    assert list(barred("m.sh", "cargo bench\n", tmp_path)) == []
    (tmp_path / "Cargo.lock").write_text('source = "registry+https://x"\n', encoding="utf-8")
    ((field, lack),) = barred("m.sh", "cargo bench\n", tmp_path)
    assert field == "home" and "cargo looks for packages in the operator's home folder" in lack.problem


def test_scripts_that_a_script_names_are_read_as_well(tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_text("bash b.sh\nbash a.sh\n", encoding="utf-8")
    (tmp_path / "b.sh").write_text("echo METRIC x=1\n", encoding="utf-8")
    assert list(read(tmp_path, ["a.sh", "gone.sh"])) == ["a.sh", "b.sh"]


def test_tools_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "set -e\nif uv run x; then\n  CI=1 cargo bench | jq .\nfi\ncommand -v rg && rg x\necho go away\n./make x\n"
    monkeypatch.setenv("PATH", "/nowhere")
    (lack,) = without_programs("m.sh", text)
    assert lack.problem == "m.sh runs uv, cargo, jq, and there is no such program on PATH" and not lack.fatal


@pytest.mark.parametrize(
    ("first", "program"),
    [
        ("#!/bin/bash", "bash"),
        ("#!/usr/bin/env bash", "bash"),
        ("#!/bin/sh", "bash"),
        ("#!/usr/bin/env python3", "python3"),
        ("#!/usr/bin/env -S node", "node"),
        ("echo METRIC x=1", "bash"),
    ],
)
def test_a_script_is_run_by_what_its_first_line_names(tmp_path: Path, first: str, program: str) -> None:
    (tmp_path / "m.sh").write_text(f"{first}\ntrue\n", encoding="utf-8")
    assert interpreter(tmp_path / "m.sh") == program
