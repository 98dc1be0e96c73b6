"""The server on stdin and stdout: the SDK's transport, with an answer also to the lines that the SDK would drop."""

import json
import logging
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cached_property
from typing import Any, BinaryIO, Self, TypeVar, cast

import anyio
from anyio import AsyncFile, to_thread
from mcp.server import MCPServer, request_state
from mcp.server.mcpserver import Context
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp_types import (
    INVALID_PARAMS,
    ErrorData,
    GetPromptResult,
    InputRequiredResult,
    JSONRPCError,
    JSONRPCResponse,
    Prompt,
    ResourceTemplate,
    Tool,
)
from starlette.applications import Starlette

from server.api.json_rpc import MAX_LINE, Answer, long_line
from server.api.messages import BodyReader, validated
from server.late import resolve

_Named = TypeVar("_Named", Tool, Prompt, ResourceTemplate)
_LAST_SECONDS = 60.0  # for the answers to requests that came before stdin closed; a client that is gone kills


class StdioServer(MCPServer[None]):
    """A server that answers every line on stdin, and every body over HTTP, which asks for an answer."""

    at_end: Callable[[], None] | None = None  # called when stdin closes, so that calls which wait answer at once
    unlisted: Callable[[], Collection[str]] = frozenset  # names of what is not listed now, for there is nothing in it

    async def list_tools(self) -> list[Tool]:
        """The tools of use now."""
        return self._listed(await super().list_tools())

    async def list_prompts(self) -> list[Prompt]:
        """The prompts of use now."""
        return self._listed(await super().list_prompts())

    async def list_resource_templates(self) -> list[ResourceTemplate]:
        """The templates of use now."""
        return self._listed(await super().list_resource_templates())

    def _listed(self, found: list[_Named]) -> list[_Named]:
        unlisted = self.unlisted()
        return [one for one in found if one.name not in unlisted]

    def streamable_http_app(self, **options: Any) -> Starlette:
        """The SDK's app, which reads bodies as lines on stdin are read."""
        app = super().streamable_http_app(**options)
        app.add_middleware(BodyReader, path=options.get("streamable_http_path", "/mcp"))
        return app

    async def run_stdio_async(self) -> None:
        """Serve until stdin closes."""
        server = self._lowlevel_server
        async with _transport(lambda: self.at_end and self.at_end()) as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[None, Any] | None = None
    ) -> GetPromptResult | InputRequiredResult:
        """A prompt by its name; the SDK's errors have no code and no next step."""
        prompts = {prompt.name: {one.name for one in prompt.arguments or []} for prompt in await self.list_prompts()}
        if name not in prompts:
            raise MCPError(INVALID_PARAMS, f"Unknown prompt: {name[:80]}. The prompts are: {', '.join(prompts)}.")
        if unknown := {*(arguments or {})} - prompts[name]:
            told = ", ".join(sorted(prompts[name])) or "none"
            raise MCPError(INVALID_PARAMS, f"Prompt {name} has no argument {min(unknown)[:80]}. It has: {told}.")
        return await super().get_prompt(name, arguments, context)


class LateCodec:
    """The SDK's codec for the state of questions to a client, with a key of this process. The first use makes it."""

    @cached_property
    def _codec(self) -> request_state.AESGCMRequestStateCodec:
        resolve(request_state)  # it catches an error of a library that may be imported late
        return request_state.AESGCMRequestStateCodec([os.urandom(32)])

    def seal(self, payload: bytes) -> str:
        """A token for the client to return."""
        return self._codec.seal(payload)

    def unseal(self, token: str) -> bytes:
        """What was sealed. Raises InvalidRequestState."""
        return self._codec.unseal(token)


@asynccontextmanager
async def _transport(at_end: Callable[[], object]) -> AsyncGenerator[tuple[Any, Any]]:
    """The streams of messages that the SDK's server reads and writes."""
    with _claimed_stdin() as file:
        lines = _Lines(file, at_end)
        async with stdio_server(stdin=cast("AsyncFile[str]", lines)) as (incoming, outgoing):
            lines.outgoing = _Outgoing(outgoing)
            yield incoming, lines.outgoing


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

    def __init__(self, file: BinaryIO, at_end: Callable[[], object]) -> None:
        self._file, self._at_end = file, at_end
        self.outgoing: _Outgoing

    async def __aiter__(self) -> AsyncIterator[str]:
        while line := await to_thread.run_sync(self._file.readline, MAX_LINE):
            if len(line) < MAX_LINE or line.endswith(b"\n"):
                text, answers = validated(line)
            else:
                text, answers = "", [await to_thread.run_sync(self._skip, line)]
            for answer in answers:
                await self._answer(answer)
            if text:
                self.outgoing.expect(text)
                yield text
        self._at_end()
        with anyio.move_on_after(_LAST_SECONDS):  # the SDK drops what is not answered when this ends
            await self.outgoing.all_answered()

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


class _Outgoing:
    """The stream of answers; it knows which requests have none yet."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._open: set[str | int] = set()
        self._answered = anyio.Event()

    def expect(self, text: str) -> None:
        """Note the request in a line. One that is cancelled, or that listens for ever, gets no answer."""
        message: dict[str, Any] = json.loads(text)
        method, request = message.get("method"), message.get("id")
        if method == "notifications/cancelled":
            params: dict[str, Any] = message.get("params") or {}
            self._settle(params.get("requestId"))
        elif method and request is not None and method != "subscriptions/listen":
            self._open.add(request)

    async def all_answered(self) -> None:
        """Wait until every request has its answer."""
        while self._open:
            await self._answered.wait()

    async def send(self, item: SessionMessage) -> None:
        """Send a message, as the SDK's stream does."""
        await self._stream.send(item)
        if isinstance(item.message, JSONRPCResponse | JSONRPCError):
            self._settle(item.message.id)

    def _settle(self, request: Any) -> None:
        if isinstance(request, str | int):
            self._open.discard(request)
        self._answered.set()
        self._answered = anyio.Event()

    async def aclose(self) -> None:
        """Close the SDK's stream."""
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._stream.__aexit__(*error)
