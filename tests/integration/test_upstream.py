"""A repository of karpathy/autoresearch's shape through the client: its own word, audited, and the cheats."""

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters

from server.vcs.git_environment import init_repository
from tests.integration.test_loop import call, refusal
from tests.support.repositories import git

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(1800)]
STAND_IN = Path(__file__).parents[1] / "fixtures" / "stand_ins" / "upstream"
RATE = "LEARNING_RATE = 1e-4"


def make_workspace(top: Path, program: str = "") -> Path:
    """The stand-in as its user has it: committed, with an environment that git ignores, its data prepared."""
    workspace = top / "workspace"
    shutil.copytree(STAND_IN, workspace)
    if program:
        (workspace / "program.md").write_text(program, encoding="utf-8")
    init_repository(workspace, "start")
    (workspace / ".venv").symlink_to(sys.prefix)
    environment = {**os.environ, "HOME": str(top / "home")}
    subprocess.run([sys.executable, "prepare.py"], cwd=workspace, env=environment, check=True)
    return workspace


@asynccontextmanager
async def served(workspace: Path) -> AsyncGenerator[Client]:
    environment = {**os.environ, "HOME": str(workspace.parent / "home")}
    arguments = ["-m", "server", "--workspace", str(workspace), "--tag", "t1"]
    async with Client(StdioServerParameters(command=sys.executable, args=arguments, env=environment)) as client:
        yield client


def replaced(old: str, new: str) -> str:
    """A patch of one line."""
    return f"--- a/train.py\n+++ b/train.py\n@@\n-{old}\n+{new}\n"


async def judged(client: Client, patch: str, what: str) -> dict[str, object]:
    """Apply a change, and run it until its verdict stands."""
    await call(client, "apply_patch", patch=patch)
    while (result := await call(client, "run_experiment", description=what, wait_seconds=300))[
        "verdict"
    ] == "promising":
        pass
    return result


@pytest.mark.parametrize(
    ("program", "trust"),
    [
        pytest.param("---\nreferee: karpathy\naudit: false\n---\nGo.\n", "printed", id="its own word"),
        pytest.param("", "audited", id="as it is"),
    ],
)
async def test_a_better_change_is_kept_and_a_bad_one_is_not(tmp_path: Path, program: str, trust: str) -> None:
    workspace = make_workspace(tmp_path, program)
    async with served(workspace) as client:
        baseline = await call(client, "run_experiment", description="baseline", wait_seconds=300)
        assert (baseline["verdict"], baseline["trust"]) == ("baseline", trust), baseline
        good = await judged(client, replaced(RATE, "LEARNING_RATE = 1e-2"), "a higher rate")
        assert (good["verdict"], good["trust"]) == ("improved", trust), good
        kept = await call(client, "keep", reason="better")
        assert ("printed by the code under test" in str(kept) + str(good)) == (trust == "printed")
        bad = await judged(client, replaced("LEARNING_RATE = 1e-2", "LEARNING_RATE = 1e-7"), "a lower rate")
        assert bad["verdict"] == "worse", bad
        await call(client, "discard", reason="worse")
        with (workspace / "prepare.py").open("a", encoding="utf-8") as file:
            file.write("EVAL_TOKENS = 32\n")
        await call(client, "apply_patch", patch=replaced("LEARNING_RATE = 1e-2", "LEARNING_RATE = 2e-2"))
        told = await refusal(client, "run_experiment", description="with another prepare.py")
        assert "prepare.py has changed since this study began" in told and "--tag" in told
    assert git(workspace, "log", "-1", "--format=%s", "autoresearch/t1") == "a higher rate"
    assert git(workspace, "status", "--short") == "M prepare.py"
