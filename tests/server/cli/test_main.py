"""The command line, as a user runs it: one sentence and an exit code where something is wrong."""

import json
import platform
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from typer import BadParameter

from server import __version__
from server.cli.entry import _spelt_out  # pyright: ignore[reportPrivateUsage]
from server.cli.serve import _slots  # pyright: ignore[reportPrivateUsage]
from server.clients import client_config
from server.clients.client_config import ServerEntry
from server.errors import ProgramInvalid, Unavailable
from server.history.ledger import Ledger
from server.metric import Metric
from server.records import Experiment, Verdict
from server.reporting.chart import draw
from server.runs.hardware import probe
from server.task.program import load
from tests.support.builders import attempt, experiment
from tests.support.command_line import run_command
from tests.support.repositories import git

PNG = b"\x89PNG"


@pytest.mark.parametrize("command", [["serve"], ["history"], ["export", "tsv"]])
def test_a_command_in_the_wrong_place_fails_with_a_sentence_and_a_next_step(tmp_path: Path, command: list[str]) -> None:
    done = run_command(*command, "--workspace", tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert (
        re.match("No study found|There is no ", done.stderr)
        and "autoresearch" in done.stderr
        and "Traceback" not in done.stderr
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("slots", ["0", "-1", "two"])
def test_slots_are_a_number_or_auto(slots: str) -> None:
    with pytest.raises(BadParameter, match="auto, or a number from 1 on"):
        _slots(slots)
    assert (_slots(""), _slots("auto"), _slots("4")) == (None, "auto", 4)


def test_no_client_is_led_to_a_folder_that_is_not_there(tmp_path: Path) -> None:
    done = run_command("connect", "codex", "--workspace", tmp_path / "none")
    assert (done.returncode, done.stdout) == (1, "") and "There is no folder" in done.stderr


def test_http_may_stand_alone_or_with_an_address() -> None:
    assert _spelt_out(["serve", "--http"]) == ["serve", "--http", "127.0.0.1:8765"]
    assert _spelt_out(["--http", "--tag", "x"]) == ["--http", "127.0.0.1:8765", "--tag", "x"]
    assert _spelt_out(["--http", "0.0.0.0:80"]) == ["--http", "0.0.0.0:80"]


def test_the_version_is_one_line_with_what_a_report_of_a_bug_needs() -> None:
    done = run_command("--version")
    python = platform.python_version()
    assert done == (0, f"autoresearch {__version__} (Python {python}, mcp {metadata.version('mcp')})\n", "")
    assert run_command("version").stdout == f"{__version__}\n"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("autoresearch fin", ["finalize"]),
        ("autoresearch connect c", ["claude-code", "claude-desktop", "codex", "cursor"]),
        ("autoresearch prepare tiny", ["tinystories", "tinystories-mini"]),
        ("autoresearch drive swe", ["sweep"]),
        ("autoresearch stop --n", ["--now"]),
        ("autoresearch library rem", ["remove"]),
    ],
)
def test_a_shell_completes_commands_options_clients_and_data_sets(
    monkeypatch: pytest.MonkeyPatch, typed: str, offered: list[str]
) -> None:
    asked = {"_AUTORESEARCH_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    assert run_command().stdout.split() == offered


def test_the_tools_and_their_arguments_can_be_listed_without_a_study(tmp_path: Path) -> None:
    lines = run_command("call", "--list", "--workspace", tmp_path).stdout.splitlines()
    names = [line.split()[0] for line in lines]
    assert "keep" in names and "library" not in names, "no server here offers it"
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "muon.md").write_text("# Muon\n", encoding="utf-8")
    assert "  library" in run_command("call", "--list", "--workspace", tmp_path).stdout
    schema = json.loads(run_command("call", "--schema", "keep").stdout)
    assert schema["type"] == "object" and "reason" in schema["properties"]


def test_init_makes_a_workspace_that_doctor_accepts_and_never_overwrites_one(tmp_path: Path) -> None:
    folder = tmp_path / "[red] a [/b] :bug:"  # no markup
    made = run_command("init", folder)
    assert made.returncode == 0, made.stderr
    assert str(folder) in made.stdout
    assert git(folder, "status", "--porcelain") == ""
    assert sorted(git(folder, "ls-files").split()) == [".gitignore", "program.md", "train.py"]
    examined = run_command("doctor", "--workspace", folder)
    assert examined.returncode == 0, examined.stdout
    assert f"workspace: {folder}\n" in examined.stdout
    for name in ("torch", "device", "compiler", "workspace", "program.md", "disk", "confinement", "port", "client"):
        assert name in examined.stdout
    again = run_command("init", folder)
    assert again.returncode == 1 and "already has program.md" in again.stderr


def test_doctor_says_what_to_fix(tmp_path: Path) -> None:
    # Of a task: to look at torch and a compiler takes seconds, and init's test does.
    (tmp_path / "program.md").write_text(
        "---\ncommand: sh bench.sh\nmetric: ms\neditable: a.c\n---\n", encoding="utf-8"
    )
    examined = run_command("doctor", "--workspace", tmp_path)
    assert examined.returncode == 1
    assert "not in a git repository" in " ".join(examined.stdout.split())


def test_the_history_is_shown_and_exported_while_a_server_has_it_open(tmp_path: Path) -> None:
    state = tmp_path / ".autoresearch" / "t1"
    state.mkdir(parents=True)
    ledger = Ledger(state / "ledger.sqlite3")
    ledger.begin(attempt(1, "an [/b] :bug:"))
    assert "an [/b] :bug:" in run_command("history", "--workspace", tmp_path).stdout
    assert (
        run_command("export", "tsv", "--workspace", tmp_path).stdout.splitlines()[1].endswith("running\tan [/b] :bug:")
    )
    assert json.loads(run_command("export", "jsonl", "--workspace", tmp_path).stdout)["attempt"]["number"] == 1
    assert run_command("export", "png", "--workspace", tmp_path, "--output", tmp_path / "progress.png").returncode == 0
    assert (tmp_path / "progress.png").read_bytes().startswith(PNG)
    ledger.close()


CRASH = experiment(1, Verdict.CRASHED)
MANY = [experiment(n, Verdict.IMPROVED, 2 - n / 1000, kept=n % 5 == 1) for n in range(1, 1001)]


@pytest.mark.parametrize(
    "experiments",
    [[], [CRASH], [Experiment(attempt=attempt(1))], [experiment(1, Verdict.BASELINE, 2.0, kept=True)], MANY],
    ids=["none", "only a crash", "running", "one", "a thousand"],
)
def test_a_chart_is_drawn_of_any_night(tmp_path: Path, experiments: list[Experiment]) -> None:
    draw(experiments, tmp_path / "progress.png", Metric("val_bpb", "lower"))
    assert [path.name for path in tmp_path.iterdir()] == ["progress.png"]
    assert (tmp_path / "progress.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("client", client_config.CLIENTS)
def test_connecting_a_client_keeps_what_is_there(tmp_path: Path, client: str) -> None:
    home, workspace = tmp_path / "home", tmp_path / "work"
    place = ServerEntry.local(workspace, "/usr/bin/python3")
    workspace.mkdir()
    path = client_config.target(client, workspace, home)
    path.parent.mkdir(parents=True, exist_ok=True)
    toml = path.suffix == ".toml"
    path.write_text('model = "x" # mine\n' if toml else '{"theme": "dark"}', encoding="utf-8")
    assert not client_config.installed(client, workspace, home)
    assert client_config.write(client, place, workspace, home) == path
    text = path.read_text(encoding="utf-8")
    known = tomllib.loads(text) if toml else json.loads(text)
    assert ("model" if toml else "theme") in known
    assert not toml or "# mine" in text
    entry = known[client_config.CLIENTS[client].key]["autoresearch"]
    assert str(workspace) in json.dumps(entry) and "/usr/bin/python3" in json.dumps(entry)
    assert client_config.installed(client, workspace, home)
    assert path.with_name(path.name + ".bak").exists()
    client_config.write(client, place, workspace, home)
    assert path.read_text(encoding="utf-8") == text
    with pytest.raises(Unavailable, match="a different entry"):
        client_config.write(client, ServerEntry.local(workspace, "/other/python"), workspace, home)
    assert path.read_text(encoding="utf-8") == text


def test_a_server_elsewhere_is_named_by_its_address_and_never_by_its_token() -> None:
    for name, client in client_config.CLIENTS.items():
        place = ServerEntry(url="http://127.0.0.1:8765/mcp")
        if client.far is None:
            with pytest.raises(Unavailable, match="does not take the address"):
                client_config.configuration(name, place)
        else:
            text = client_config.configuration(name, place)
            assert "http://127.0.0.1:8765/mcp" in text and "AUTORESEARCH_TOKEN" in text and "command" not in text


def test_a_configuration_with_comments_is_not_clobbered(tmp_path: Path) -> None:
    path = tmp_path / ".vscode" / "mcp.json"
    path.parent.mkdir()
    path.write_text("{ // mine\n}", encoding="utf-8")
    with pytest.raises(Unavailable, match="cannot be read"):
        client_config.write("vscode", ServerEntry.local(tmp_path, "python"), tmp_path, tmp_path)
    assert path.read_text(encoding="utf-8") == "{ // mine\n}"
    done = run_command("connect", "emacs", "--workspace", tmp_path)
    assert done.returncode == 1 and "claude-code" in done.stderr


def test_a_configuration_that_begins_with_a_byte_order_mark_is_added_to(tmp_path: Path) -> None:
    path = client_config.target("cursor", tmp_path, tmp_path)
    path.parent.mkdir()
    path.write_text('\ufeff{"mcpServers": {"other": {}}}', encoding="utf-8")
    assert not client_config.installed("cursor", tmp_path, tmp_path)
    client_config.write("cursor", ServerEntry.local(tmp_path, "python"), tmp_path, tmp_path)
    assert set(json.loads(path.read_text(encoding="utf-8"))["mcpServers"]) == {"other", "autoresearch"}
    path.write_text("{}", encoding="utf-16")
    with pytest.raises(Unavailable, match="cannot be read"):
        client_config.write("cursor", ServerEntry.local(tmp_path, "python"), tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("---\nbudget_seconds: -5\n---\n", "line 2, budget_seconds: .*greater than 0, got -5"),
        ("---\nname: x\nbudget_second: 5\n---\n", "line 3, budget_second: .*did you mean budget_seconds"),
        ("---\nname: x\n\tbad: y\n---\n", "line 3: the front matter is not YAML"),
        ("---\n- a\n- b\n---\n", "must be a mapping"),
        ("---\neditable: ../train.py\n---\n", "line 2, editable"),
        ("---\nmetric: accuracy\n---\n", "line 2, metric"),
        ("x" * 300_000, "262144 are allowed"),
    ],
)
def test_a_wrong_program_md_is_told_by_line_and_field(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "program.md").write_text(text, encoding="utf-8")
    with pytest.raises(ProgramInvalid, match=words):
        load(tmp_path / "program.md")


def test_a_program_md_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProgramInvalid, match=r"There is no program\.md"):
        load(tmp_path / "program.md")


def test_the_machine_is_looked_at_in_bounded_time() -> None:
    hardware = probe(timeout=5)
    assert hardware.cores >= 1 and hardware.memory_gb > 0 and hardware.platform
