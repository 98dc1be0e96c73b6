"""Two lanes on one slot, through a real client and real runs: the next candidate waits while the first is measured."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from server.api.app import create
from server.serve_options import ServeOptions
from server.study.study import Study
from tests.support.repositories import make_quick


@pytest.fixture
def study(tmp_path: Path, data: Path) -> Iterator[Study]:
    study = Study(make_quick(tmp_path / "work", data), "t1", ServeOptions(profile="smoke", confine=False))
    yield study
    study.close()


async def call(client: Client, tool: str, **given: Any) -> dict[str, Any]:
    answer = await client.call_tool(tool, given)
    assert not answer.is_error and answer.structured_content is not None, answer.content
    return answer.structured_content


def block(before: str, after: str) -> str:
    return f"<<<<<<< SEARCH\n{before}\n=======\n{after}\n>>>>>>> REPLACE"


async def two_lanes(client: Client) -> None:
    await call(client, "run_experiment", description="the baseline", wait_seconds=300)
    first = block("RATE = 1e-6", "RATE = 0.02")
    await call(client, "apply_patch", patch=first)
    running = await call(client, "run_experiment", description="one", wait_seconds=0)
    assert running["status"] == "running" and "lane" not in running
    assert any("lane b" in action for action in running["next_actions"])
    text = (await call(client, "read_train", lane="b"))["text"]
    assert "RATE = 1e-6" in text, "a lane begins with the incumbent"
    await call(
        client, "apply_patch", patch=block('channel.send("hello")', 'channel.send("hello")\nLATER = 1'), lane="b"
    )
    queued = await call(client, "run_experiment", description="two", wait_seconds=0, lane="b")
    assert (queued["status"], queued["place"], queued["lane"]) == ("queued", 1, "b")
    ended = await call(client, "wait_experiment", any=True, wait_seconds=300)
    assert ended["experiment"] == running["experiment"] and ended["status"] == "finished"
    assert (await call(client, "keep", reason="better"))["decision"] == "kept"
    ended = await call(client, "wait_experiment", any=True, wait_seconds=300)
    assert ended["lane"] == "b" and ended["status"] == "finished"
    status = await call(client, "status")
    assert set(status["lanes"]) == {"main", "b"} and status["running"] is None
    if "stale" in status["lanes"]["b"]:  # else the keep came before its start, and it was brought along
        anew = await call(client, "run_experiment", description="two", wait_seconds=300, lane="b")
        assert anew["status"] == "finished"


def test_the_next_candidate_waits_while_the_first_is_measured(study: Study) -> None:
    async def night() -> None:
        async with Client(create(study)) as client:
            await two_lanes(client)

    anyio.run(night)
    rows = list(study.ledger.all())
    kept = [row for row in rows if row.kept]
    assert [row.attempt.parent for row in kept[1:]] == [row.commit for row in kept[:-1]]
    last = next(row for row in reversed(rows) if row.attempt.lane == "b" and row.score)
    assert last.attempt.parent == kept[-1].commit, "it was measured against the incumbent of now"
