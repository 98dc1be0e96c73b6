"""What commands show: one line an experiment, what comes next, plain words, and JSON for programs."""

import json
import os
import pty
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.cells import cell_len
from rich.console import Console

from server.cli.doctor import examine
from server.cli.entry import _serving_last, app_of, main  # pyright: ignore[reportPrivateUsage]
from server.cli.scaffold import create
from server.cli.screens.bars import RunBar, driving
from server.cli.screens.help_words import in_plain_words
from server.cli.screens.history_list import as_json, kept_in_words, listed, screen
from server.cli.screens.layout import commands, facts, shown, wrapped
from server.cli.screens.next_steps import situation
from server.errors import only_cause
from server.history.ledger import Ledger
from server.locks import RepositoryLock, lock_path
from server.paths import StudyPaths
from server.records import Experiment, Judgement, Purpose, Verdict
from server.serve_words import after_dashes
from server.study.find_study import OperatorRequest, write_request
from server.task.definition import Task
from tests.support import made_studies
from tests.support.made_studies import decided, made, measured, repeated, result

LONG = "one block instead of two, " * 5
BASELINE = decided(measured(made(1, "baseline"), 2.0650, Verdict.BASELINE), kept=True)
CRASH = made(7, "a slip")


def night() -> list[Experiment]:
    """A study with every kind of line."""
    crash = Experiment(
        attempt=CRASH,
        result=result(CRASH, None),
        judgement=Judgement(verdict=Verdict.CRASHED, why="no", commit=CRASH.commit),
    )
    return [
        BASELINE,
        repeated(2, 1, Purpose.REFERENCE, 2.0661),
        decided(measured(made(3, LONG), 2.0312, Verdict.IMPROVED, (1, 2.0650)), kept=True),
        repeated(4, 3, Purpose.CONFIRM, 2.0320),
        decided(measured(made(5, "日本語 \x1b[31m"), 2.4012, Verdict.WORSE, (3, 2.0316)), kept=False),
        decided(measured(made(6, "luck"), 2.0100, Verdict.IMPROVED, (3, 2.0316)), kept=False),
        decided(crash, kept=False),
    ]


def screen_of(folder: Path, rows: Sequence[Experiment], limit: int = 50, width: int = 80) -> list[str]:
    paths = made_studies.study_paths(folder)
    made_studies.write(paths, rows)
    with closing(Ledger(paths.ledger, read_only=True)) as ledger:
        found = listed(ledger, Task())
    return [line.plain for line in screen(found, limit, width)]


def test_an_experiment_is_one_line_of_eighty_columns_with_its_error_and_its_repeats_folded(tmp_path: Path) -> None:
    head, names, *lines = screen_of(tmp_path, night())
    assert head.startswith("5 experiments, newest first; val_bpb, lower is better")
    assert names.split() == ["#", "verdict", "val_bpb", "Δ", "what"]
    assert [line.split()[0] for line in lines] == ["7", "6", "5", "3", "1"]
    assert max(map(cell_len, [head, names, *lines])) <= 80
    assert re.search(r"^3  improved +2\.0312 ± 0\.\d{4}  −0\.0338  one block instead of two.*…$", lines[3])
    assert "improved, discarded" in lines[1] and "worse  " in lines[2] and "\\x1b[31m" in lines[2]
    with closing(Ledger(made_studies.study_paths(tmp_path).ledger, read_only=True)) as ledger:
        found = listed(ledger, Task())
        assert kept_in_words(found) == "kept: 1, 3"
        told = as_json(found, 2)
    assert told["total"] == 5 and [row["number"] for row in told["experiments"]] == [7, 6]
    assert told["experiments"][1]["decision"] == "discarded" and told["experiments"][0]["value"] is None


def test_columns_that_are_all_alike_are_told_once(tmp_path: Path) -> None:
    crashes = [
        decided(
            Experiment(
                attempt=one, result=result(one, None), judgement=Judgement(verdict=Verdict.CRASHED, why="", commit="c")
            ),
            kept=False,
        )
        for one in (made(1, "first"), made(2, "second"))
    ]
    head, names, *lines = screen_of(tmp_path, crashes)
    assert head.endswith("all rows: verdict crashed")
    assert names.split() == ["#", "what"] and [line.split() for line in lines] == [["2", "second"], ["1", "first"]]
    assert screen_of(tmp_path / "none", []) == ["No experiment has run yet."]
    head, names, _ = screen_of(tmp_path / "one", [BASELINE])
    assert head.startswith("1 experiment,") and names.split() == ["#", "verdict", "val_bpb", "what"]


def test_a_path_or_a_command_is_never_broken_and_words_are() -> None:
    path = "/a/very/long/path-with-hyphens/" + "x" * 90
    assert wrapped(f"look into {path} for more", 40, 2)[1].strip() == path
    assert all(len(line) <= 40 for line in wrapped("word " * 50, 40))
    command = f"cd '{path}'"
    lines = commands([("autoresearch status", "where it stands " * 6), (command, "go there")], 80)
    assert f"  {command}" in lines and max(len(line) for line in lines if path not in line) <= 80
    assert facts([("empty", ""), ("state", "on")], 80) == ["state       on"]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs a command in `tmp_path/work`; returns its exit code and what it prints."""

    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(words)
        return int(ended.value.code or 0), capsys.readouterr().out

    create(tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("COLUMNS", "80")
    return run


def test_the_same_for_programs_and_for_people(tmp_path: Path, command: Callable[..., tuple[int, str]]) -> None:
    made_studies.write(made_studies.study_paths(tmp_path / "work"), night())
    code, told = command("history")
    assert code == 0 and max(map(cell_len, told.splitlines())) <= 80 and "\x1b" not in told
    code, told = command("history", "--wide")
    assert code == 0 and "confirmation" in told
    code, told = command("status", "--json")
    snapshot = json.loads(told)
    assert code == 0 and snapshot["counts"]["experiments"] == 5 and snapshot["next"][0]["command"]
    code, told = command("status")
    assert code == 0 and "state       no server is running" in told and "experiment 3: 2.0312" in told
    code, told = command("health", "--json")
    assert code == 2 and json.loads(told)["health"] == "off" and json.loads(told)["code"] == 2
    code, told = command()
    assert code == 0 and told.startswith("Study t1: no server is running")


def test_options_of_serve_are_found_among_those_of_the_command() -> None:
    built = typer.main.get_command(app_of())
    assert _serving_last(built, ["drive", "sweep", "--budget", "60"]) == "drive sweep -- --budget 60".split()
    words = "call note --token t text=x --no-token --workspace w --tag y".split()
    assert _serving_last(built, words) == "call note --token t text=x --workspace w -- --no-token --tag y".split()
    assert _serving_last(built, ["history", "--tag", "x"]) == ["history", "--tag", "x"]


@pytest.mark.parametrize("shape", ["nothing", "git", "program", "broken"])
def test_a_folder_is_told_what_comes_next_before_a_study(tmp_path: Path, shape: str) -> None:
    words = {
        "nothing": ("is not in a git repository", "autoresearch init my-night"),
        "git": ("has no program.md", "autoresearch adopt"),
        "program": ("is ready", "autoresearch doctor"),
        "broken": ("is not ready. program.md", "autoresearch doctor"),
    }[shape]
    folder = tmp_path / "it's a folder"
    if shape == "nothing":
        folder.mkdir()
    else:
        create(folder)
    if shape == "git":
        (folder / "program.md").unlink()
    if shape == "broken":
        (folder / "program.md").write_text("---\nbudget_seconds: soon\n---\n", encoding="utf-8")
    found = situation(folder, examine)
    assert words[0] in found.told and words[1] in [command for command, _ in found.steps]
    if shape == "program":
        (folder / "below").mkdir()
        assert situation(folder / "below", examine).steps[0][0] == f"cd '{tmp_path}/it'\"'\"'s a folder'"


@pytest.mark.parametrize(
    ("word", "told", "step"),
    [
        (OperatorRequest.PAUSE, "paused", "autoresearch resume"),
        (OperatorRequest.STOP, "stopped by the operator", "autoresearch report --html"),
        (None, "the server waits for the agent", "autoresearch watch"),
    ],
)
def test_a_study_is_told_what_comes_next(tmp_path: Path, word: OperatorRequest | None, told: str, step: str) -> None:
    create(tmp_path / "work")
    paths = made_studies.study_paths(tmp_path / "work")
    made_studies.write(paths, night())
    write_request(paths.state, word)
    lock = RepositoryLock(lock_path(tmp_path / "work"), "t1")
    try:
        found = situation(tmp_path / "work", examine)
    finally:
        lock.release()
    assert told in found.told and step in [command for command, _ in found.steps]


def test_a_run_under_way_is_told(tmp_path: Path) -> None:
    create(tmp_path / "work")
    paths: StudyPaths = made_studies.study_paths(tmp_path / "work")
    made_studies.write(paths, [*night(), Experiment(attempt=made(8, "wider"))])
    with made_studies.running(paths, 8):
        found = situation(tmp_path / "work", examine)
    assert "running 8, training, verdict in about" in found.told


def test_help_is_in_plain_words_and_types_that_typer_has_are_not_shown() -> None:
    command: Any = in_plain_words(typer.main.get_command(app_of()))
    pages = {"": command, **command.commands}
    assert {"status", "history", "doctor"} <= pages.keys()
    for name, page in pages.items():
        context = page.context_class(page, info_name=name)
        for one in page.get_params(context):
            shown_type = one.display_type_rich(context) or ""
            assert not re.search(r"[<>]|range|float|\bint\b|\bstr\b", shown_type), (name, one.name, shown_type)
            assert not re.search(r"[<>]", one._get_number_range_help_str() or ""), (name, one.name)


OWN = {"--workspace": True, "--hours": True, "--now": False}
SERVING = {"--budget": True, "--tag": True, "--http": True, "--no-token": False, "--workspace": True}


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ("sweep --budget 60", "sweep -- --budget 60"),
        ("sweep --budget=60 --hours 1", "sweep --hours 1 -- --budget=60"),
        ("--no-token codex --tag --hours --hours 2", "codex --hours 2 -- --no-token --tag --hours"),
        ("codex --workspace x -- --tag t", "codex --workspace x -- --tag t"),
        ("codex --tag a -- --budget 3", "codex -- --tag a --budget 3"),
        ("codex --unknown 3", "codex --unknown 3"),
        ("codex --now", "codex --now"),
        ("codex --budget", "codex -- --budget"),
    ],
)
def test_options_of_serve_need_no_dashes_before_them(given: str, passed: str) -> None:
    assert after_dashes(given.split(), OWN, SERVING) == passed.split()


def test_long_output_goes_through_a_pager_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = tmp_path / "paged"
    monkeypatch.setenv("PAGER", f"cat > '{seen}'")
    lines = [f"line {number}" for number in range(60)]
    parent, child = pty.openpty()
    with os.fdopen(child, "w") as terminal, os.fdopen(parent, "rb"):
        monkeypatch.setattr("sys.stdin", terminal)
        monkeypatch.setattr("sys.stdout", terminal)
        monkeypatch.setenv("TERM", "xterm")
        shown(Console(file=terminal, height=24, width=80, force_terminal=True, highlight=False), lines, 80)
    assert seen.read_text(encoding="utf-8").splitlines() == lines
    plain = tmp_path / "plain"
    with plain.open("w") as file:
        shown(Console(file=file, height=24, highlight=False), lines, 80)
    assert plain.read_text(encoding="utf-8").splitlines() == lines


def test_a_bar_tells_what_runs_how_far_it_is_and_what_is_left(tmp_path: Path) -> None:
    with (tmp_path / "terminal").open("w") as file:
        out = Console(file=file, force_terminal=True, width=80)
        with RunBar(out, 4, 90.0) as bar:
            bar.tell("experiment 1, run 1 of 2: training, 3 s")
            bar.tell("experiment 7, run 1 of 2: training, 3 s")
    drawn = (tmp_path / "terminal").read_text(encoding="utf-8")
    assert "experiment 7, run 1" in drawn and "1/4" in drawn and "left" in drawn
    with (tmp_path / "file").open("w") as file, RunBar(Console(file=file), 4, 90.0) as bar:
        bar.tell("experiment 1, run 1 of 2: training, 3 s")
    assert (tmp_path / "file").read_text(encoding="utf-8") == ""


def test_the_bar_of_a_driven_study_tells_the_run_under_way_and_what_is_left(tmp_path: Path) -> None:
    create(tmp_path / "work")
    paths = made_studies.study_paths(tmp_path / "work")
    made_studies.write(paths, [*night(), Experiment(attempt=made(8, "wider"))])
    with made_studies.running(paths, 8), (tmp_path / "terminal").open("w") as file:
        out = Console(file=file, force_terminal=True, width=80)
        with driving(out, paths, hours=8.0, experiments=0):
            out.print("the client stopped")
    drawn = (tmp_path / "terminal").read_text(encoding="utf-8")
    assert (
        "#8 training: wider" in drawn and "0 done, 1 kept, 8 h 00 min left" in drawn and "the client stopped" in drawn
    )
    with (tmp_path / "file").open("w") as file, driving(Console(file=file), paths, hours=8.0, experiments=0):
        pass
    assert (tmp_path / "file").read_text(encoding="utf-8") == ""


def test_what_one_exception_alone_has_caused_is_told_at_any_depth() -> None:
    cause, other = ValueError("no"), KeyError("x")
    assert only_cause(ExceptionGroup("a", [ExceptionGroup("b", [cause])])) is cause
    assert only_cause(cause) is cause
    both = ExceptionGroup("b", [cause, other])
    assert only_cause(ExceptionGroup("a", [both])) is both
