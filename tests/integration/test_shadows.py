"""Files in the user's folder that are called like modules of ours, or like ones that we import: none of them runs."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, cast

import pytest
from mcp import Client, StdioServerParameters

from server import __version__
from server.clients.client_config import CLIENTS, INSTALLED, ServerEntry, configuration, serving
from server.records import Trust
from server.runs.spawn import probe_guards
from tests.support.command_line import run_command
from tests.support.repositories import git

ROOT = Path(__file__).parents[2]
NAMES = (
    "server.py",
    "server/__init__.py",
    "trainer/__init__.py",
    "git.py",
    "mcp/__init__.py",
    "anyio.py",
    "torch.py",
    "types.py",
    "typing_extensions.py",
    "encodings/__init__.py",
    "typer/__init__.py",
    "numpy.py",
    "pickle.py",
)
# The start of a module of ours, among the words of a list or in a shell, with the words before it.
STARTS = re.compile(r"""(?P<before>\S*\s+\S*\s+)["'`]?-m["'`]?,?\s+f?["'`]?(?:server|trainer)\b""")
STARTED = ("server", "trainer", "examples", "plugin", "packaging", "docs", "Dockerfile", "*.md", ":/*.json")


def shadow(folder: Path, *names: str) -> Path:
    """Put files of these names into the user's folder. Returns the file that says which of them ran."""
    ran = folder.parent / "ran"
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        # A confined process cannot write the file; it fails.
        text = f"try:\n    open({str(ran)!r}, 'a').write(__file__ + '\\n')\nfinally:\n    raise SystemExit(__file__)\n"
        (folder / name).write_text(text, encoding="utf-8")
    return ran


def entry(workspace: Path) -> list[str]:
    """The interpreter's arguments that `autoresearch connect` writes for Claude Code."""
    assert run_command("connect", "claude-code", "--write", "--workspace", workspace).returncode == 0
    written = json.loads((workspace / ".mcp.json").read_text(encoding="utf-8"))["mcpServers"]["autoresearch"]
    assert written["command"] == sys.executable
    return written["args"]


def started(workspace: Path, arguments: list[str], path: str | None) -> StdioServerParameters:
    """A server as a client starts it in the workspace, with this PYTHONPATH."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {} if path is None else {"PYTHONPATH": path}
    options = ["--tag", "t1", "--profile", "smoke"]
    return StdioServerParameters(command=sys.executable, args=[*arguments, *options], env=environment, cwd=workspace)


SINGLE = ["", ".", os.pathsep, "{here}", f"{{here}}{os.pathsep}", f".{os.pathsep}{ROOT}"]


@pytest.mark.parametrize(
    "path", [None, os.pathsep.join(SINGLE), *(pytest.param(path, marks=pytest.mark.thorough) for path in SINGLE)]
)
async def test_the_server_that_connect_writes_starts_beside_files_of_any_name(
    repository: Path, path: str | None
) -> None:
    """No PYTHONPATH of the user's puts his files before ours."""
    arguments = entry(repository)
    ran = shadow(repository, *NAMES)
    async with Client(started(repository, arguments, path and path.format(here=repository))) as client:
        assert not (await client.call_tool("status", {})).is_error
    assert not ran.exists(), ran.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path",
    [".", os.pathsep, "./inner", *(pytest.param(path, marks=pytest.mark.thorough) for path in ("{here}", "{here}/"))],
)
def test_the_command_runs_no_module_of_a_folder_that_pythonpath_names(tmp_path: Path, path: str) -> None:
    """As the script that an installer writes for it: its own folder comes first, then PYTHONPATH."""
    here = tmp_path / "here"
    (here / "inner").mkdir(parents=True)
    ran = shadow(here, "server.py", "trainer.py", "typer.py", "rich.py")
    shadow(here / "inner", "server.py", "trainer.py", "typer.py", "rich.py")
    started = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert len(set(started.values())) == 1
    module, _, function = started["autoresearch"].partition(":")
    script = tmp_path / "bin" / "autoresearch"
    script.parent.mkdir()
    script.write_text(f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": f"{path.format(here=here)}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, script, "version"], env=environment, cwd=here, check=False, capture_output=True, text=True
    )
    assert not (here.parent / "ran").exists() and not (here / "ran").exists(), ran
    assert (done.returncode, done.stdout) == (0, f"{__version__}\n"), done.stderr


@pytest.mark.thorough
async def test_a_module_of_the_users_is_no_danger_where_a_package_does_not_hide_it(repository: Path) -> None:
    arguments = entry(repository)
    ran = shadow(repository, *(name for name in NAMES if not name.endswith("__init__.py")))
    async with Client(started(repository, arguments, None)) as client:
        assert not (await client.call_tool("status", {})).is_error
    assert not ran.exists(), ran.read_text(encoding="utf-8")


def test_what_only_pythonpath_names_is_still_found(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "optional_module.py").write_text("", encoding="utf-8")
    shown = "import sys, runpy; sys.argv[1:] = ['--help']\ntry: runpy.run_module('server', run_name='__main__')\n"
    shown += "finally: import optional_module"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "extra")}
    done = subprocess.run(
        [sys.executable, "-E", "-P", "-c", shown],
        env=environment,
        cwd=repository,
        check=False,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
async def test_nothing_of_the_users_runs_within_a_run(repository: Path, data: Path) -> None:
    arguments = entry(repository)
    (repository / ".autoresearch").mkdir(exist_ok=True)
    (repository / ".autoresearch" / "data").symlink_to(data)
    ran = shadow(repository, *NAMES)
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "shadows")
    async with Client(started(repository, arguments, ".")) as client:
        answer = await client.call_tool("run_experiment", {"description": "baseline", "wait_seconds": 300})
    assert (told := answer.structured_content) and told["verdict"] == "baseline", answer
    assert told["trust"] == Trust.SEALED or set(probe_guards().values()) != {"held"}  # nobody asked for less
    assert not ran.exists(), ran.read_text(encoding="utf-8")


@pytest.mark.slow
def test_data_is_prepared_by_our_processes_alone(repository: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    words = "".join(f"{n:x} lines of words in a row\n" for n in range(300_000))
    assert len(words) > 1 << 23  # enough for worker processes
    (texts / "a.txt").write_text(words, encoding="utf-8")
    ran = shadow(repository, *NAMES)
    command = [sys.executable, "-P", "-m", "server.cli", "prepare", str(texts), "--vocab", "300"]
    done = subprocess.run(command, cwd=repository, check=False, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert not ran.exists(), ran.read_text(encoding="utf-8")


def words(known: Any) -> list[str]:
    """All strings in a configuration, in their order."""
    if isinstance(known, dict):
        return [word for value in cast("dict[str, Any]", known).values() for word in words(value)]
    if isinstance(known, list):
        return [word for value in cast("list[Any]", known) for word in words(value)]
    return [known] if isinstance(known, str) else []


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_is_given_a_safe_start(client: str) -> None:
    place = ServerEntry.local(Path("/w"), "/python", serving())
    text = configuration(client, place)
    known = words(tomllib.loads(text) if text.startswith("[") else json.loads(text))
    first = known.index("/python") + 1
    assert tuple(known[first : first + len(place.arguments)]) == place.arguments
    assert place.arguments[:2] == INSTALLED[:2] == ("-E", "-P")


@pytest.mark.slow
def test_no_module_of_ours_is_started_without_p() -> None:
    found = 0
    for name in git(ROOT, "ls-files", "--", *STARTED).splitlines():
        path = ROOT / name
        if path.is_file():
            for start in STARTS.finditer(path.read_text(encoding="utf-8", errors="replace")):
                assert "-P" in start["before"], f"{name}: {start[0]}"
                found += 1
    assert found >= 10
