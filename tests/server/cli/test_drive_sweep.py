"""`drive sweep` with an option of `serve`, whose server does not start: the real command."""

import subprocess
import sys
from pathlib import Path

import pytest

from server.cli.scaffold import create


def autoresearch(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "server.cli", *words, "--workspace", str(folder)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False)


@pytest.mark.slow
def test_a_search_whose_server_does_not_start_ends_in_a_sentence(tmp_path: Path) -> None:
    create(tmp_path / "work")
    (tmp_path / "work" / "program.md").write_text("---\nknobs: {MLP_RATIO: {low: 2, high: 4}}\n---\n", encoding="utf-8")
    (tmp_path / "work" / "train.py").write_text("not committed", encoding="utf-8")
    done = autoresearch(tmp_path / "work", "drive", "sweep", "--budget", "60")
    assert done.returncode == 1 and "uncommitted" in done.stderr
    assert "Traceback" not in done.stderr and "ExceptionGroup" not in done.stderr
