"""A workspace of pi-autoresearch as it is: a baseline, a kept and a discarded change, and no byte of theirs changed."""

import sys
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters

from tests.integration.test_loop import call
from tests.support.foreign import hashes, repository
from tests.support.repositories import git

PATCH = "src/count.sh\n<<<<<<< SEARCH\necho {}\n=======\necho {}\n>>>>>>> REPLACE\n"


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_session_of_another_tool_is_refereed_and_nothing_of_it_is_changed(tmp_path: Path) -> None:
    """Git ignores one of its scripts, as many have it: that is brought into the runs."""
    workspace = repository("auto", tmp_path / "workspace")
    (workspace / ".gitignore").write_text(".auto/checks.sh\n", encoding="utf-8")
    git(workspace, "rm", "--quiet", "--cached", ".auto/checks.sh")
    git(workspace, "add", ".gitignore")
    git(workspace, "commit", "--quiet", "-m", "ignore the checks")
    before = hashes(workspace)
    server = [sys.executable, "-m", "server", "--workspace", str(workspace), "--tag", "t1"]
    async with Client(StdioServerParameters(command=server[0], args=server[1:])) as client:
        await _arrives(client)
        await _tries(client)
        status = await call(client, "status")
        assert status["counts"]["kept"] == 2 and status["baseline"] == 40  # theirs are not among them
        reported = await call(client, "history", verdict="reported", limit=2)
        assert (reported["total"], [row["run"] for row in reported["reported"]]) == (5, ["5", "4"])
        assert (await call(client, "history", lessons=True))["reported"][0]["run"] == "2"
    assert git(workspace, "show", "autoresearch/t1:src/count.sh") == "echo 30"
    assert hashes(workspace) == before


async def _arrives(client: Client) -> None:
    """What an agent is told before the first run."""
    status = await call(client, "status")
    assert (status["metric"], status["direction"], status["editable_file"]) == ("steps_made", "lower", "src/count.sh")
    assert "of pi-autoresearch" in status["referee"]
    assert "Count the words" in (await call(client, "read_program"))["text"]
    earlier = await call(client, "history")
    assert [row["run"] for row in earlier["reported"]] == ["5", "4", "3", "2", "1"] and not earlier["rows"]


async def _tries(client: Client) -> None:
    """A baseline, a change that is kept, and one that is not."""
    baseline, *_ = [await call(client, "run_experiment", description="baseline", wait_seconds=300) for _ in range(3)]
    assert (baseline["status"], baseline["value"], baseline["trust"]) == ("finished", 40, "printed"), baseline
    assert baseline["figures"]["words"] == 3
    await call(client, "apply_patch", patch=PATCH.format(40, 30))
    better = await call(client, "run_experiment", description="fewer", wait_seconds=300)
    while better["verdict"] == "promising":
        better = await call(client, "run_experiment", description="fewer, again", wait_seconds=300)
    assert better["verdict"] == "improved", better
    await call(client, "keep", reason="fewer")
    await call(client, "apply_patch", patch=PATCH.format(30, 50))
    worse = await call(client, "run_experiment", description="more", wait_seconds=300)
    assert worse["verdict"] == "worse", worse
    await call(client, "discard", reason="more")
