"""What the server does when nobody calls."""

from collections.abc import Callable

import anyio
from mcp import Client

from server.app import create
from server.queue import Item, Queue, Sweep
from server.session import Session
from tests.damage import obstructed
from tests.steps import ran
from tests.watch import PATIENCE


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110  # of a thread, or of a file: no event tells
            await anyio.sleep(0.02)


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
