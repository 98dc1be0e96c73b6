"""The examples as an agent uses them: baseline, a good change that is kept, and a bad, a null and a cheating one."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from server.vcs.git_environment import init_repository
from tests.integration.test_loop import call
from tests.support.repositories import git

TASKS = Path(__file__).parents[2] / "server" / "templates" / "tasks"
needs_cc = pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")


def make_workspace(name: str, folder: Path) -> Path:
    """An example as a repository of its own, without its changes."""
    shutil.copytree(TASKS / name, folder, ignore=shutil.ignore_patterns("__pycache__", "changes"))
    (folder / ".gitignore").write_text(".autoresearch/\n__pycache__/\n", encoding="utf-8")
    init_repository(folder, "start")
    return folder


async def judged(client: Client, name: str, change: str) -> dict[str, Any]:
    """Apply a change of an example, and run it until its verdict stands."""
    patch = (TASKS / name / "changes" / f"{change}.patch").read_text(encoding="utf-8")
    await call(client, "apply_patch", patch=patch)
    while (result := await call(client, "run_experiment", description=change, wait_seconds=300))[
        "verdict"
    ] == "promising":
        pass
    return result


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("name", "cheat"),
    [
        ("extract-rules", "worse"),
        pytest.param("sqlite-index", "invalid", marks=pytest.mark.thorough),
        pytest.param("tsp-anytime", "timeout", marks=pytest.mark.thorough),
        pytest.param("image-blur-c", "invalid", marks=[pytest.mark.thorough, needs_cc]),
        pytest.param("json-tokenizer", "worse", marks=pytest.mark.thorough),
    ],
)
async def test_a_good_change_is_kept_and_no_other(name: str, cheat: str, tmp_path: Path) -> None:
    workspace = make_workspace(name, tmp_path / "workspace")
    server = [sys.executable, "-m", "server", "--workspace", str(workspace), "--tag", "t1"]
    async with Client(StdioServerParameters(command=server[0], args=server[1:])) as client:
        baseline = await call(client, "run_experiment", description="baseline", wait_seconds=300)
        assert (baseline["verdict"], baseline["trust"]) == ("baseline", "judged"), baseline
        for change, verdicts in (("bad", {"worse"}), ("null", {"within_noise", "worse"}), ("cheat", {cheat})):
            result = await judged(client, name, change)
            assert result["verdict"] in verdicts, (change, result)
            await call(client, "discard", reason="no gain")
        good = await judged(client, name, "good")
        assert (good["verdict"], good["trust"]) == ("improved", "judged"), good
        await call(client, "keep", reason="better")
    assert git(workspace, "log", "-1", "--format=%s", "autoresearch/t1") == "good"
