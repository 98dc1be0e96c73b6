"""What an installed server needs beside its code is in the wheel, and every package says the same."""

import json
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

from server import __version__
from tests.support.examples import examples

ROOT = Path(__file__).parents[2]


def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT],
        check=True,
    )
    (wheel,) = tmp_path.glob("autoresearch_mcp-*.whl")
    tracked = subprocess.run(
        ["git", "ls-files", "server", "trainer"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    ).stdout.split()
    with zipfile.ZipFile(wheel) as archive:
        assert set(tracked) <= set(archive.namelist())
        assert archive.read("server/templates/train.py") == (ROOT / "train.py").read_bytes()


def test_the_examples_are_what_connect_prints() -> None:
    known = {path: (ROOT / path).read_text(encoding="utf-8") for path in examples()}
    assert known == examples(), "python -m tests.support.examples"
    made = {path for path in examples() if path.startswith("examples/")}
    others = {"examples/README.md", "examples/autoresearch.service"}
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "examples").iterdir()} == made | others


def test_the_service_comes_back_however_it_ended_and_leaves_runs_alone() -> None:
    unit = ConfigParser(interpolation=None)
    unit.read(ROOT / "examples" / "autoresearch.service", encoding="utf-8")
    assert (unit["Service"]["Restart"], unit["Service"]["KillMode"]) == ("always", "process")
    assert unit["Unit"]["StartLimitIntervalSec"] == "0" and unit["Service"]["OOMPolicy"] == "continue"


def test_every_package_has_the_servers_version() -> None:
    for path in ("plugin/.claude-plugin/plugin.json", "packaging/manifest.json", "server.json"):
        known = json.loads((ROOT / path).read_text(encoding="utf-8"))
        versions = {known["version"], *(package["version"] for package in known.get("packages", []))}
        assert versions == {__version__}, path
