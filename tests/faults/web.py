"""The server on HTTP killed: the next one, on HTTP again, takes up its run."""

import re
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.faults.catalogue import fault
from tests.faults.night import Agent, Night

_KILLS = 5
_LIFE = 2.5  # seconds, about as long as a run


@asynccontextmanager
async def _agent(night: Night) -> AsyncGenerator[Agent]:
    """An agent on HTTP, with a server of its own."""
    command = [sys.executable, *night.command("--http", "127.0.0.1:0", "--no-token")]
    async with await anyio.open_process(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        assert process.stderr
        said = await BufferedByteReceiveStream(process.stderr).receive_until(b"\n", 1000)
        found = re.search(r"http://127\.0\.0\.1:\d+", said.decode())
        assert found, said
        try:
            async with Client(streamable_http_client(f"{found[0]}/mcp")) as client:
                yield Agent(client, night)
        finally:
            process.kill()


@fault(f"kill -9 of the server on HTTP at a random moment, x{_KILLS}", trials=3)
async def killed(night: Night) -> None:
    for _ in range(_KILLS):
        running = 0
        with suppress(Exception, BaseExceptionGroup):  # the client of a killed server breaks in many ways
            async with _agent(night) as agent:
                running = await agent.start()
                await anyio.sleep(night.chance.uniform(0, _LIFE))
                night.kill("server")
        async with _agent(night) as agent:
            told = await agent.finish()
            assert running and told["experiment"] == running and told["val_bpb"] is not None, told
        night.check()
    await night.recover()
