"""A server with the tools that the tasks-* scenarios ask for, over our own Tasks.

Work goes on beside the call that began it, as a run does, and is looked at by its number.
"""

import secrets
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Elicit, Resolve
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, CallToolResult, TextContent
from pydantic import BaseModel

from server.api.http.server import Address, listen
from server.api.mcp_tasks import Tasks, View

_ENDS: dict[str, tuple[float, CallToolResult | MCPError]] = {}  # handle → when, and with what


def _text(words: str, error: bool = False) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=words)], is_error=error)


async def _work(seconds: float, end: CallToolResult | MCPError, wait_seconds: float | None) -> CallToolResult:
    if wait_seconds is None or seconds <= 0:
        await anyio.sleep(seconds)
        if isinstance(end, MCPError):
            raise end
        return end
    handle = secrets.token_hex(4)
    _ENDS[handle] = (time.monotonic() + seconds, end)
    return CallToolResult(content=[], structured_content={"handle": handle})


async def look(handle: str) -> View:
    when, end = _ENDS[handle]
    if time.monotonic() < when:
        return View(message="at work")
    if isinstance(end, MCPError):
        raise end
    return View(message="done", result=end)


async def greet(name: str) -> str:
    return f"Hello, {name}!"


async def slow_compute(seconds: float = 1, label: str = "", wait_seconds: float | None = None) -> CallToolResult:
    return await _work(seconds, _text(f"computed {label} in {seconds} s"), wait_seconds)


async def failing_job(wait_seconds: float | None = None) -> CallToolResult:
    return await _work(1, _text("it failed", error=True), wait_seconds)


async def protocol_error_job(wait_seconds: float | None = None) -> CallToolResult:
    return await _work(1, MCPError(code=INTERNAL_ERROR, message="it broke"), wait_seconds)


class Name(BaseModel):
    """What the client is asked for before the work begins."""

    name: str


async def ask() -> Elicit[Name]:
    return Elicit("Who are you?", Name)


async def test_tool_with_task(
    user_name: Annotated[Name, Resolve(ask)], wait_seconds: float | None = None
) -> CallToolResult:
    return await _work(1, _text(f"work for {user_name.name}"), wait_seconds)


def _handle(answer: CallToolResult) -> str | None:
    told: dict[str, Any] = answer.structured_content or {}
    return told.get("handle")


async def main() -> None:
    tools = {"slow_compute", "failing_job", "protocol_error_job", "test_tool_with_task"}
    with tempfile.TemporaryDirectory() as folder:
        tasks = Tasks(tools, _handle, look, Path(folder) / "tasks.json")
        server: MCPServer[None] = MCPServer("fixture", extensions=[tasks], log_level="WARNING")
        for tool in (greet, slow_compute, failing_job, protocol_error_job, test_tool_with_task):
            server.tool(structured_output=False)(tool)
        with Address("127.0.0.1:0").bind() as listening:
            print(f"listening on http://127.0.0.1:{listening.getsockname()[1]}/mcp", flush=True)
            await listen(server, listening, [], None)


if __name__ == "__main__":
    anyio.run(main)
