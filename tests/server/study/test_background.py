"""What the server does when nobody calls, and how it shows that it lives."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.server import MCPServer

from server.api.app import create
from server.api.http.server import Address, Beside, listen
from server.errors import Unavailable
from server.study.study import Study
from server.study.sweep_queue import Sweep, SweepItem, SweepQueue
from tests.support.corruption import obstructed
from tests.support.lifecycle import begin, leave_result, measured, ran
from tests.support.polling import PATIENCE


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110  # of a thread, or of a file: no event tells
            await anyio.sleep(0.02)


async def test_a_run_that_has_ended_is_imported_also_when_nobody_asks(study: Study) -> None:
    begin(study, 1)
    leave_result(study, 1, measured(2.0))
    async with Client(create(study)):
        await until((study.workspace.state / "results.tsv").exists)
        assert study.ledger.counts() == {"baseline": 1, "kept": 1}
        begin(study, 2)  # and a supervisor that died
        await until(lambda: study.ledger.counts().get("lost"))
        await until(study.workspace.paths.pulse.exists)


async def test_a_sweep_outlives_a_disk_that_fails(study: Study) -> None:
    ran(study, 2.0)
    item = SweepItem(knobs={"RATE": "1e-6"})  # the incumbent has it
    study.queue.begin(Sweep(description="rates", items=[item, item]))
    path = study.workspace.state / "sweep.json"
    async with Client(create(study)) as client:
        with obstructed(path):
            await until(lambda: study.queue.waits)
            told = (await client.call_tool("wait_experiment", {"wait_seconds": 0})).structured_content
            assert told and told["status"] == "running" and told["why"] == study.queue.waits
        await until(lambda: not study.queue.active)
    assert study.queue.sweep and study.queue.sweep.ended == "done"
    assert all("has these values" in item.skipped for item in study.queue.sweep.items)
    assert SweepQueue(path).sweep == study.queue.sweep


async def test_the_web_server_ends_with_the_server_behind_it() -> None:
    @asynccontextmanager
    async def short(_: MCPServer[None]) -> AsyncGenerator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(die)
            yield

    async def die() -> None:
        raise OSError("the disk is gone")

    with Address("127.0.0.1:0").bind() as listening, anyio.fail_after(PATIENCE):
        with pytest.raises(Unavailable, match="ended unexpectedly"):
            await listen(MCPServer("short", lifespan=short), listening, [], None)


async def test_health_is_that_of_the_server_behind_the_web_server() -> None:
    with Address("127.0.0.1:0").bind() as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/health"
        server: MCPServer[None] = MCPServer("quiet")
        async with anyio.create_task_group() as group, httpx2.AsyncClient(timeout=PATIENCE) as web:
            group.start_soon(listen, server, listening, list[str](), None, Beside(quiet=lambda: 90.0))
            answer = await web.get(url)
            assert answer.status_code == 503 and "no sign of life for 90 s" in answer.text
            group.cancel_scope.cancel()
