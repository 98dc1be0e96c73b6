"""What the docs say is so."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import anyio
import pytest
import typer
from mcp import Client

from server.api.app import create
from server.cli.entry import app_of
from server.clients import client_config
from server.source.patch import apply
from server.study.study import Study
from tests.support.repositories import QUICK, git, make_quick

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHEATS = ROOT / "tests" / "fixtures" / "stand_ins" / "cheats.toml"


def test_links_between_the_docs_resolve() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 120


def test_what_is_said_of_trust_is_shown_by_tests_that_exist() -> None:
    table = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8").partition("| shown by |")[2].partition("\n\n")[0]
    cheats = {one["name"] for one in tomllib.loads(CHEATS.read_text(encoding="utf-8"))["cheat"]}
    for row in table.splitlines()[2:]:
        shown = row.split(" | ")[1]
        named, tests = re.findall(r'"(.+?)"', shown), re.findall(r"`(tests/[^`]+)`", shown)
        assert named or tests, row
        assert cheats.issuperset(named), set(named) - cheats
        for test in tests:
            path, _, name = test.partition("::")
            assert f"def {name}" in (ROOT / path).read_text(encoding="utf-8"), test


async def test_the_readmes_tool_table_names_exactly_the_tools(study: Study) -> None:
    table = README.partition("## Tools")[2].partition("Every answer")[0]
    named = {name for row in re.findall(r"^\| (.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    library = study.workspace.paths.home.library
    library.mkdir()
    (library / "a-page.md").write_text("# A page\n\nIts text.\n", encoding="utf-8")  # `library` is listed with one
    async with Client(create(study)) as client:
        assert named == {tool.name for tool in (await client.list_tools()).tools}


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["any", pytest.param("confirmed", marks=pytest.mark.thorough)])  # the one as shipped
async def test_the_script_of_the_docs_drives_the_loop(tmp_path: Path, data: Path, rule: str) -> None:
    page = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    script = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert script and len(script[1].splitlines()) <= 40
    patch = re.search(r"<<<<<<< SEARCH\n(.*?)\n=======.*?>>>>>>> REPLACE", script[1], re.DOTALL)
    assert patch
    apply((ROOT / "train.py").read_text(encoding="utf-8"), patch[0])  # raises where it does not fit
    # A train.py that costs little and has the line that the script changes.
    train = QUICK.replace("RATE = 1e-6", f"{patch[1]}\nRATE = (MATRIX_LR - 0.01999) / 10")
    workspace = make_quick(tmp_path / "workspace", data, train)
    (workspace / "program.md").write_text(f"---\npreflight: false\nkeep_rule: {rule}\n---\n", encoding="utf-8")
    (tmp_path / "client.py").write_text(script[1], encoding="utf-8")
    command = [sys.executable, str(tmp_path / "client.py"), str(workspace), "smoke", "0.5"]
    done = await anyio.run_process(command, check=False)
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0, done.stderr.decode()
    assert lines[0].startswith("baseline baseline ")
    assert [line.startswith("baseline reference ") for line in lines[1:3]] == [True, True]
    assert lines[3].startswith("a higher learning rate ")
    assert lines[-1].startswith("a higher learning rate improved ")
    (kept,) = git(workspace, "for-each-ref", "--format=%(subject)", "refs/heads/autoresearch/").splitlines()
    assert kept == "a higher learning rate"


def test_the_example_configuration_has_the_shape_that_connect_writes(tmp_path: Path) -> None:
    example = json.loads((ROOT / "claude_config.example.json").read_text(encoding="utf-8"))
    made = json.loads(
        client_config.configuration("claude-desktop", client_config.ServerEntry.local(tmp_path, sys.executable))
    )
    entry, other = example["mcpServers"]["autoresearch"], made["mcpServers"]["autoresearch"]
    assert entry.keys() == other.keys() and entry["args"][:3] == other["args"][:3]


def test_every_command_of_the_readme_exists() -> None:
    known = subprocess.run(
        [sys.executable, "-m", "server.cli", "--help"], capture_output=True, encoding="utf-8", check=True
    )
    named = set(re.findall(r"(?:`|\$ |bin/)autoresearch ([a-z][a-z-]+)", README))
    assert {"adopt", "finalize", "install-service", "watch"} <= named
    for command in named:
        assert re.search(rf"\b{command}\b", known.stdout), command


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{one.name}" for one in sorted((ROOT / "docs").glob("*.md")))])
def test_every_option_that_a_page_names_with_its_command_exists(page: str) -> None:
    group: Any = typer.main.get_command(app_of())
    known: dict[str, set[str]] = {name: _options(command) for name, command in group.commands.items()}
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = re.findall(r"^(?:\$ )?autoresearch [a-z].*$", text, re.MULTILINE)  # of a console
    for line in (*lines, *re.findall(r"`([a-z][^`]*)`", text.replace("\n", " "))):
        given = re.sub(r"\"[^\"]*\"|'[^']*'", "", line.removeprefix("$ ").removeprefix("autoresearch "))
        name, _, options = given.partition(" #")[0].partition(";")[0].partition(" ")
        passed_on = known["serve"] if name in ("drive", "call") else ()
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", options) if name in known else ():
            assert option in {*known[name], *passed_on, "--help"}, line


def _options(command: Any) -> set[str]:
    """The options of a command, and of those below it."""
    below: dict[str, Any] = getattr(command, "commands", {})
    own: set[str] = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    return own.union(*(_options(one) for one in below.values()))


def test_every_make_target_that_the_pages_name_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        named = set(re.findall(r"(?:`|\$ )make ([a-z]+)", page.read_text(encoding="utf-8")))
        assert named <= targets, f"{page.name}: {named - targets}"
