"""The whole loop, through a real client: in memory, over stdio, and across a killed server."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from server.app import create
from server.session import Session
from tests.conftest import git

LOOSE = {"wait_seconds": 60}
BETTER = "<<<<<<< SEARCH\nlr=0.03)\n=======\nlr=0.1)\n>>>>>>> REPLACE"
SLOWER = "<<<<<<< SEARCH\nlr=0.1)\n=======\nlr=0.0)\n>>>>>>> REPLACE"
BROKEN = "<<<<<<< SEARCH\nmodel = Bigram()\n=======\nraise ValueError('no')\nmodel = Bigram()\n>>>>>>> REPLACE"
BETTER = BETTER.replace("lr=0.03)", "optimiser = torch.optim.AdamW(model.parameters(), lr=0.03)").replace(
    "lr=0.1)", "optimiser = torch.optim.AdamW(model.parameters(), lr=0.1)"
)
SLOWER = SLOWER.replace("lr=0.1)", "optimiser = torch.optim.AdamW(model.parameters(), lr=0.1)").replace(
    "lr=0.0)", "optimiser = torch.optim.AdamW(model.parameters(), lr=0.0)"
)
BROKEN = BROKEN.replace("model = Bigram()", "model = Bigram().to(session.device)")


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    assert answer.structured_content is not None
    assert answer.structured_content["next_actions"]
    return answer.structured_content


async def refusal(client: Client, tool: str, **arguments: Any) -> str:
    answer = await client.call_tool(tool, arguments)
    assert answer.is_error
    return "".join(block.text for block in answer.content if block.type == "text")


@pytest.fixture
async def client(night: Session) -> AsyncIterator[Client]:
    async with Client(create(night)) as client:
        yield client


def untouched(repository: Path) -> tuple[str, ...]:
    """Everything of the user's that must not change."""
    index = (repository / ".git" / "index").read_bytes().hex()
    config = (repository / ".git" / "config").read_text(encoding="utf-8")
    return (
        git(repository, "rev-parse", "HEAD", "main"),
        git(repository, "symbolic-ref", "HEAD"),
        git(repository, "status", "--porcelain"),
        (repository / "train.py").read_text(encoding="utf-8"),
        index,
        config,
    )


async def night_of_experiments(client: Client) -> None:
    """Baseline, kept, discarded, crashed: every kind of end."""
    assert (await call(client, "status"))["phase"] == "new"
    assert "no baseline" in await refusal(client, "apply_patch", patch=BETTER)
    baseline = await call(client, "run_experiment", description="baseline", **LOOSE)
    assert (baseline["status"], baseline["verdict"]) == ("finished", "baseline")
    assert "nothing to measure" in await refusal(client, "run_experiment", description="again")

    patched = await call(client, "apply_patch", patch=BETTER)
    assert "+optimiser = torch.optim.AdamW(model.parameters(), lr=0.1)" in patched["diff"]
    better = await call(client, "run_experiment", description="higher rate", hypothesis="few steps", **LOOSE)
    assert better["verdict"] == "improved" and better["delta"] < 0
    kept = await call(client, "keep", reason="lower")
    assert kept["incumbent"]["experiment"] == 2

    await call(client, "apply_patch", patch=SLOWER)
    worse = await call(client, "run_experiment", description="no learning", **LOOSE)
    assert worse["verdict"] == "worse"
    assert "is not better" in await refusal(client, "keep")
    await call(client, "discard", reason="higher")
    assert "lr=0.1" in (await call(client, "read_train"))["text"]

    await call(client, "apply_patch", patch=BROKEN)
    crash = await call(client, "run_experiment", description="crash", **LOOSE)
    assert (crash["status"], crash["val_bpb"]) == ("crashed", None)
    assert "ValueError: no" in crash["traceback"]
    await call(client, "discard")


async def check_the_morning(client: Client, repository: Path) -> None:
    table = await call(client, "history")
    assert [(row["experiment"], row["verdict"], row["decision"]) for row in table["rows"]] == [
        (4, "crashed", "discarded"),
        (3, "worse", "discarded"),
        (2, "improved", "kept"),
        (1, "baseline", "kept"),
    ]
    depth = await call(client, "history", experiment=2)
    assert "lr=0.1" in depth["detail"]["diff"] and depth["detail"]["curve"]
    assert "no experiment 99" in await refusal(client, "history", experiment=99)
    log = git(repository, "log", "--format=%s", "autoresearch/t1")
    assert log.splitlines() == ["higher rate", "baseline", "start"]
    for number in range(1, 5):
        ref = f"refs/autoresearch/t1/{number}"
        assert f"Experiment: {number}" in git(repository, "log", "-1", "--format=%B", ref)
    assert "Verdict: crashed" in git(repository, "log", "-1", "--format=%B", "refs/autoresearch/t1/4")
    worktree = repository / ".autoresearch" / "t1" / "worktree"
    assert git(worktree, "status", "--porcelain") == ""
    tsv = (await client.read_resource("autoresearch://results.tsv")).contents[0]
    on_disk = (repository / ".autoresearch" / "t1" / "results.tsv").read_text(encoding="utf-8")
    assert getattr(tsv, "text", None) == on_disk
    assert [line.split("\t")[3] for line in on_disk.splitlines()] == ["status", "keep", "keep", "discard", "crash"]


async def test_the_loop_in_memory(client: Client, repository: Path) -> None:
    before = untouched(repository)
    await night_of_experiments(client)
    await check_the_morning(client, repository)
    assert untouched(repository) == before


def parameters(repository: Path) -> StdioServerParameters:
    arguments = ["-m", "server", "--workspace", str(repository), "--tag", "t1", "--profile", "smoke"]
    return StdioServerParameters(command=sys.executable, args=arguments)


async def test_the_loop_over_stdio(repository: Path) -> None:
    before = untouched(repository)
    async with Client(parameters(repository)) as client:
        await night_of_experiments(client)
        await check_the_morning(client, repository)
    assert untouched(repository) == before
