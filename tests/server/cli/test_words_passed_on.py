"""The options of `serve` where another command takes them, and a server that does not start: real commands."""

import subprocess
import sys
from pathlib import Path

from server.cli.scaffold import create


def autoresearch(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "server.cli", *words, "--workspace", str(folder)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False)


def test_a_call_takes_the_options_of_serve_without_dashes(tmp_path: Path) -> None:
    create(tmp_path / "work")
    command = [sys.executable, "-m", "server.cli", "call", "status", "--workspace", str(tmp_path / "work")]
    done = subprocess.run(
        [*command, "--tag", "mine", "--profile", "smoke"], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"tag": "mine"' in done.stdout and '"profile": "smoke"' in done.stdout


def test_a_search_whose_server_does_not_start_ends_in_a_sentence(tmp_path: Path) -> None:
    create(tmp_path / "work")
    (tmp_path / "work" / "program.md").write_text("---\nknobs: {MLP_RATIO: {low: 2, high: 4}}\n---\n", encoding="utf-8")
    (tmp_path / "work" / "train.py").write_text("not committed", encoding="utf-8")
    done = autoresearch(tmp_path / "work", "drive", "sweep", "--budget", "60")
    assert done.returncode == 1 and "uncommitted" in done.stderr
    assert "Traceback" not in done.stderr and "ExceptionGroup" not in done.stderr


def test_alone_in_a_folder_it_says_what_comes_next(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "server.cli"]
    root = str(Path(__file__).parents[3])
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": root}, capture_output=True, encoding="utf-8")
    assert done.returncode == 0 and "autoresearch init my-night" in done.stdout, done.stderr
