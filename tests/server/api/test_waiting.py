"""A call that waits: it ends as soon as its run does, and leaves the cores to what the run computes."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from mcp import Client

from server.api.app import create
from server.serve_options import ServeOptions
from server.study.study import Study
from tests.support.lanes import HeldExecutor, end, end_unseen, patched
from tests.support.lifecycle import measured
from tests.support.polling import PATIENCE
from tests.support.repositories import HARDLY_LEARNS, make_repository

_WAIT = 3.0
_LOOKS = 6  # in which a call that made its answer anew at each look made fifteen


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    root = make_repository(tmp_path / "work", HARDLY_LEARNS)
    with closing(Study(root, "t1", ServeOptions(profile="smoke"), HeldExecutor)) as study:
        study.run("the baseline")
        end(study, 1, 2.0)
        for lane in "abcdefgh":
            patched(study, f"x_{lane} = 1", lane)
        study.run("the first", lane="a")
        yield study


async def test_a_call_that_waits_makes_its_answer_seldom(study: Study) -> None:
    async with Client(create(study)) as client:

        async def cost(seconds: float) -> float:
            begun = time.process_time()
            answer = await client.call_tool("wait_experiment", {"lane": "a", "wait_seconds": seconds})
            assert answer.structured_content and answer.structured_content["status"] == "running"
            return time.process_time() - begun

        await cost(0)
        once = sum([await cost(0) for _ in range(10)]) / 10
        assert await cost(_WAIT) < _LOOKS * once


async def test_a_call_that_waits_ends_with_its_run(study: Study) -> None:
    told: list[str] = []
    async with Client(create(study)) as client, anyio.create_task_group() as group:

        async def wait() -> None:
            answer = await client.call_tool("wait_experiment", {"lane": "a", "wait_seconds": PATIENCE})
            assert answer.structured_content
            told.append(answer.structured_content["status"])

        group.start_soon(wait)
        await anyio.sleep(0.5)
        assert not told
        begun = time.monotonic()
        end_unseen(study, 2, measured(1.9))
        while not told:
            await anyio.sleep(0.02)
            assert time.monotonic() - begun < PATIENCE / 2
    assert told == ["finished"]
