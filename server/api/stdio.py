"""The server on stdin and stdout: the SDK's transport, with an answer also to the lines that the SDK would drop."""

import logging
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, BinaryIO, cast

import anyio
from anyio import AsyncFile, to_thread
from mcp.server import MCPServer
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp_types import ErrorData, JSONRPCError
from starlette.applications import Starlette

from server.api.json_rpc import MAX_LINE, Answer, long_line
from server.api.messages import BodyReader, validated


class StdioServer(MCPServer[None]):
    """A server that answers every line on stdin, and every body over HTTP, which asks for an answer."""

    def streamable_http_app(self, **options: Any) -> Starlette:
        """The SDK's app, which reads bodies as lines on stdin are read."""
        app = super().streamable_http_app(**options)
        app.add_middleware(BodyReader, path=options.get("streamable_http_path", "/mcp"))
        return app

    async def run_stdio_async(self) -> None:
        """Serve until stdin closes."""
        server = self._lowlevel_server
        async with _transport() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())


@asynccontextmanager
async def _transport() -> AsyncGenerator[tuple[Any, Any]]:
    """The streams of messages that the SDK's server reads and writes."""
    with _claimed_stdin() as file:
        lines = _Lines(file)
        async with stdio_server(stdin=cast("AsyncFile[str]", lines)) as (incoming, outgoing):
            lines.outgoing = outgoing
            yield incoming, outgoing


@contextmanager
def _claimed_stdin() -> Generator[BinaryIO]:
    """What comes on stdin; meanwhile whatever is started reads from an empty one, as under the SDK."""
    try:
        private = os.dup(sys.stdin.fileno())
    except (AttributeError, OSError, ValueError):  # stdin is closed, or a stand-in for it
        yield sys.stdin.buffer
        return
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    try:
        yield os.fdopen(private, "rb", closefd=False)  # a thread may still read it at the end
    finally:
        with suppress(OSError):
            os.dup2(private, 0)


class _Lines:
    """Messages for the SDK to read. Lines that are none are answered here."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.outgoing: Any = None

    async def __aiter__(self) -> AsyncIterator[str]:
        while line := await to_thread.run_sync(self._file.readline, MAX_LINE):
            if len(line) < MAX_LINE or line.endswith(b"\n"):
                text, answers = validated(line)
            else:
                text, answers = "", [await to_thread.run_sync(self._skip, line)]
            for answer in answers:
                await self._answer(answer)
            if text:
                yield text

    def _skip(self, start: bytes) -> Answer:
        """Read to the end of a line that is too long."""
        end = part = start
        while part and not part.endswith(b"\n"):
            part = self._file.readline(1 << 16)
            end = (end + part)[-1024:]
        return long_line(start, end)

    async def _answer(self, answer: Answer) -> None:
        error = answer["error"]
        logging.getLogger(__name__).warning("a line on stdin was not handled: %s", error["message"])
        told = JSONRPCError.model_construct(jsonrpc="2.0", id=answer["id"], error=ErrorData(**error))
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # the server ends
            await self.outgoing.send(SessionMessage(told))
