"""What the server does when nobody calls, and how it shows that it lives."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.server import MCPServer

from server.app import create
from server.errors import Unavailable
from server.http import Address, listen
from server.pulse import NAME
from server.queue import Item, Queue, Sweep
from server.session import Session
from tests.damage import obstructed
from tests.steps import begin, leave_result, measured, ran
from tests.watch import PATIENCE


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110  # of a thread, or of a file: no event tells
            await anyio.sleep(0.02)


async def test_a_run_that_has_ended_is_imported_also_when_nobody_asks(night: Session) -> None:
    begin(night, 1)
    leave_result(night, 1, measured(2.0))
    async with Client(create(night)):
        await until((night.workspace.state / "results.tsv").exists)
        assert night.ledger.counts() == {"baseline": 1, "kept": 1}
        begin(night, 2)  # and a supervisor that died
        await until(lambda: night.ledger.counts().get("lost"))
        await until((night.workspace.state / NAME).exists)


async def test_a_sweep_outlives_a_disk_that_fails(night: Session) -> None:
    ran(night, 2.0)
    item = Item(knobs={"RATE": "1e-6"})  # the incumbent has it
    night.queue.begin(Sweep(description="rates", items=[item, item]))
    path = night.workspace.state / "sweep.json"
    async with Client(create(night)) as client:
        with obstructed(path):
            await until(lambda: night.queue.waits)
            told = (await client.call_tool("wait_experiment", {"wait_seconds": 0})).structured_content
            assert told and told["status"] == "running" and told["why"] == night.queue.waits
        await until(lambda: not night.queue.active)
    assert night.queue.sweep and night.queue.sweep.ended == "done"
    assert all("has these values" in item.skipped for item in night.queue.sweep.items)
    assert Queue(path).sweep == night.queue.sweep


async def test_the_web_server_ends_with_the_server_behind_it() -> None:
    @asynccontextmanager
    async def short(_: MCPServer[None]) -> AsyncGenerator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(die)
            yield

    async def die() -> None:
        raise OSError("the disk is gone")

    with Address("127.0.0.1:0").bind() as listening, anyio.fail_after(PATIENCE):
        with pytest.raises(Unavailable, match="has ended by itself"):
            await listen(MCPServer("short", lifespan=short), listening, [], None)


async def test_health_is_that_of_the_server_behind_the_web_server() -> None:
    with Address("127.0.0.1:0").bind() as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/health"
        server: MCPServer[None] = MCPServer("quiet")
        async with anyio.create_task_group() as group, httpx2.AsyncClient(timeout=PATIENCE) as web:
            group.start_soon(partial(listen, server, listening, [], None, quiet=lambda: 90.0))
            answer = await web.get(url)
            assert answer.status_code == 503 and "no sign of life for 90 s" in answer.text
            group.cancel_scope.cancel()
