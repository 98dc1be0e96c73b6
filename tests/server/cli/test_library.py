"""`autoresearch library`: what an operator types and reads."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.cli.entry import app_of, main
from server.library.fetching.sources import read_source
from tests.support.repositories import git
from tests.support.web_server import Site, page, serving


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "program.md").write_text("# Goal\n", encoding="utf-8")
    (tmp_path / "muon.md").write_text("# Muon\n\nIt orthogonalises the momentum.\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(*words: str) -> str:
    done = CliRunner().invoke(app_of(), ["library", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_life_of_a_document(workspace: Path) -> None:
    assert "empty" in told("list")
    assert json.loads(told("list", "--json")) == []
    (added,) = json.loads(told("add", "muon.md", "--tag", "optimizer", "--licence", "MIT", "--json"))
    assert (added["state"], added["id"], added["source"]) == ("added", "muon", "muon.md")
    assert (workspace / "library" / "muon.md").is_file()
    (listed,) = json.loads(told("list", "--json"))
    assert (listed["tags"], listed["licence"]) == (["optimizer"], "MIT")
    assert "muon" in told("list") and "MIT" in told("list")
    (hit,) = json.loads(told("search", "what orthogonalises momentum", "--json"))
    assert hit["id"] == "muon" and "orthogonalises" in told("search", "orthogonalises")
    assert "No passage" in told("search", "dropout")
    assert told("show", "muon") == "# Muon\n\nIt orthogonalises the momentum.\n"
    assert json.loads(told("show", "muon.md", "--json"))["markdown"].startswith("# Muon")
    assert json.loads(told("reindex", "--json")) == {"passages": 1}
    assert json.loads(told("remove", "muon", "--json")) == {"removed": ["muon"]}
    assert json.loads(told("list", "--json")) == [] and json.loads(told("reindex", "--json")) == {"passages": 0}


def test_a_document_that_was_written_by_hand_is_listed_and_shown(workspace: Path) -> None:
    (workspace / "library").mkdir()
    (workspace / "library" / "rates.md").write_text("# Rates\n\nWarm up.\n", encoding="utf-8")
    told("add", "muon.md")
    assert [one["id"] for one in json.loads(told("list", "--json"))] == ["muon", "rates"]
    assert re.search(r"rates +by hand .*Rates", told("list"))
    assert told("show", "rates") == "# Rates\n\nWarm up.\n"
    assert json.loads(told("show", "rates", "--json"))["markdown"] == "# Rates\n\nWarm up.\n"


def test_a_repository_is_one_line_and_its_index_is_shown(workspace: Path) -> None:
    folder = workspace / "thing"
    (folder / "docs").mkdir(parents=True)
    git(folder, "init", "-q")
    for name in ("README.md", "docs/a.md"):
        (folder / name).write_text(f"# {name}\n\nText.\n", encoding="utf-8")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "one")
    line = told("add", "thing")
    name = f"thing@{git(folder, 'rev-parse', 'HEAD')[:7]}"
    assert f"{name}: thing (3 files, " in line
    assert told("list").count(name) == 1 and len(json.loads(told("list", "--json"))) == 3
    assert "| [docs/a.md]" in told("show", name) and told("show", f"{name}/docs/a") == "# docs/a.md\n\nText.\n"
    assert told("remove", name) == f"removed {name}: 3 files\n"
    assert not (workspace / "library" / name).exists()


def test_of_many_sources_those_that_fail_are_told_and_the_others_added(workspace: Path) -> None:
    with serving(Site({"/a.md": page(b"# A\n\nText.\n")})) as site:
        sources = ["muon.md", f"{site.url}/a.md?token=s3cret", f"{site.url}/none", "nowhere.md"]
        command = ["library", "add", *sources, "--allow-address", "127.0.0.1"]
        done = CliRunner().invoke(app_of(), [*command, "--json"])
        answers = json.loads(done.stdout)
        assert done.exit_code == 1
        assert [answer["state"] for answer in answers] == ["added", "added", "refused", "refused"]
        assert all(answer["problem"] and answer["next_step"] for answer in answers[2:])
        command.remove("muon.md")
        done = CliRunner().invoke(app_of(), command)
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["known"]
    assert "there is no such page" in done.stderr and "s3cret" not in done.output
    assert "s3cret" not in "".join(path.read_text("utf-8") for path in (workspace / "library").glob("*.md"))


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["add", "http://127.0.0.1:1/"], "this machine"),
        (["add", "nowhere.md"], "no file 'nowhere.md'"),
        (["show", "nowhere"], "no document 'nowhere'"),
        (["remove", "../program"], "no document '../program'"),
        (["list", "--workspace", "nowhere"], "not a workspace"),
        (["add", "muon.md", "--allow-address", "10.0.0.0/77"], "is not an address"),
    ],
)
def test_errors_are_one_sentence_and_the_next_step(
    workspace: Path, capsys: pytest.CaptureFixture[str], words: list[str], problem: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["library", *words])
    assert ended.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert problem in lines[0] and len(lines) == 2
    assert not (workspace / "library").exists()


def test_what_a_page_says_does_not_drive_the_terminal(workspace: Path) -> None:
    (workspace / "evil.md").write_text(
        "# \x1b]0;owned\x07\x1b[2J\n\nText \x1b[31mred.\n" + "word " * 200, encoding="utf-8"
    )
    told("add", "evil.md", "--title", "\x1b[2Jowned")
    for words in (("list",), ("show", "2jowned"), ("search", "red")):
        assert "\x1b" not in told(*words), words


def test_the_script_of_the_docs_names_sources_that_are_understood() -> None:
    script = (Path(__file__).parents[3] / "examples" / "library_nanogpt.sh").read_text(encoding="utf-8")
    lines = [shlex.split(line, comments=True)[1:] for line in script.splitlines() if line.startswith("add ")]
    assert len(lines) >= 20
    for source, *options in lines:
        assert read_source(source).is_remote and set(options[::2]) <= {"--tag", "--include"}, source
    subprocess.run(["sh", "-n", "-c", script], check=True)


def test_the_page_of_the_docs_names_every_command_and_option() -> None:
    page = (Path(__file__).parents[3] / "docs" / "library.md").read_text(encoding="utf-8")
    for command in ("add", "list", "search", "show", "remove", "reindex"):
        assert re.search(rf"\| `{command}\b", page)
        assert told(command, "--help")
    for option in ("--include", "--title", "--licence", "--tag", "--refresh", "--allow-address", "--json"):
        assert option in page
