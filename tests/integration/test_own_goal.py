"""docs/own-goal.md: every command on the page, in its order, from a benchmark to the first kept change."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repositories import IDENTITY, git

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "own-goal.md").read_text(encoding="utf-8")
_FILE = r"`(?P<path>[\w./]+)`[^`\n]*:\n\n```\w+\n(?P<text>.*?)```"
_SHELL = r"```sh\n(?P<commands>.*?)```"


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_the_page_leads_to_a_kept_change(tmp_path: Path) -> None:
    folder, programs = tmp_path / "primes", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    (programs / "autoresearch").write_text(f'#!/bin/sh\nexec {sys.executable} -m server.cli "$@"\n', encoding="utf-8")
    (programs / "autoresearch").chmod(0o755)
    home = {"HOME": str(tmp_path), "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    said = ""
    for found in re.finditer(f"{_FILE}|{_SHELL}", PAGE, re.DOTALL):
        if found["path"]:
            (folder / found["path"]).parent.mkdir(exist_ok=True)
            (folder / found["path"]).write_text(found["text"], encoding="utf-8")
            continue
        done = subprocess.run(
            ["bash", "-e", "-c", found["commands"]],
            cwd=folder,
            env=os.environ | IDENTITY | home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        assert done.returncode == 0, f"{found['commands']}{done.stdout}"
        said += done.stdout
    assert "A study of 8 hours can detect effects of about" in said
    (branch,) = git(folder, "for-each-ref", "--format=%(refname:short)", "refs/heads/autoresearch/").splitlines()
    assert git(folder, "log", "-1", "--format=%s", branch) == "a sieve"
    assert git(folder, "status", "--short").splitlines() == [
        f"?? {name}" for name in (".mcp.json", "applied.json", "change.patch", "kept.json", "program.md")
    ]
