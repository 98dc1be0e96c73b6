"""One tool call from a shell: which server it goes to, and what that answers.

The SDK is imported only where a server is started for the call: that takes seconds by itself.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from server import __version__
from server.api.http.address import TOKEN_VARIABLE, client_url
from server.api.json_rpc import NOT_STARTED
from server.api.timeouts import SHELL
from server.clients.http_call import HttpServer, NoAnswer, NotLetIn
from server.errors import Unavailable
from server.locks import lock_holder, lock_path
from server.paths import Home

_STARTING_SECONDS = 5.0  # from a server's lock to its address, which it writes when its study is open
_LOOK_SECONDS = 0.05
_START = "See the messages above, or run `autoresearch doctor`."
Tell = Callable[[str], None]


class Answerer(Protocol):
    """A server that answers calls."""

    def schemas(self) -> dict[str, dict[str, Any]]:
        """Of each tool the JSON schema of its arguments. Raises Unavailable."""
        ...

    def call(self, tool: str, arguments: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
        """Call a tool. Returns a CallToolResult as JSON; `tell` receives the progress. Raises Unavailable."""
        ...


def server_of(workspace: Path, url: str, token: str, options: list[str]) -> Answerer:
    """The server at `url`, else the one that works in `workspace`, else one that is started for the call.

    A server that has just taken the workspace's lock is waited for: it does not listen yet.

    Args:
        options: of `serve`, for one that is started.

    Raises:
        Unavailable: a server works there that answers only its own client.
    """
    token = token or os.environ.get(TOKEN_VARIABLE, "")
    if url:
        return _Listening(client_url(url), token)
    home, deadline = Home(workspace), time.monotonic() + _STARTING_SECONDS
    while True:
        if not (holder := lock_holder(workspace)):
            return _Started(workspace, options)
        if found := _written_url(home.address, holder.pid):
            break
        if time.monotonic() < deadline and abs(time.time() - lock_path(workspace).stat().st_mtime) < _STARTING_SECONDS:
            time.sleep(_LOOK_SECONDS)
            continue
        raise Unavailable(
            f"A server (pid {holder.pid}, study {holder.tag}) works in {workspace} over stdio: it answers only the "
            "client that started it.",
            "Call again when that client has ended; or start the server with `autoresearch serve --http`, which "
            "answers both the client and calls.",
        )
    if not token and home.token.exists():
        token = home.token.read_text(encoding="utf-8").strip()
    return _Listening(found, token)


class _Listening:
    """A server over HTTP."""

    def __init__(self, url: str, token: str) -> None:
        self._server = HttpServer(url, token)

    def schemas(self) -> dict[str, dict[str, Any]]:
        listed = self._result("tools/list", {}, lambda _: None)
        return {str(tool["name"]): tool["inputSchema"] for tool in listed["tools"]}

    def call(self, tool: str, arguments: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
        return self._result("tools/call", {"name": tool, "arguments": dict(arguments)}, tell)

    def _result(self, method: str, params: dict[str, Any], tell: Tell) -> dict[str, Any]:
        try:
            return self._server.request(method, params, tell)
        except NoAnswer as error:
            step = "Start it with `autoresearch serve --http`, or correct --url."
            if isinstance(error, NotLetIn):
                step = f"Give its token with --token or {TOKEN_VARIABLE}."
            raise Unavailable(f"{self._server.url} cannot be reached: {error}.", step) from error


class _Started:
    """A server that is started for the call, in a process of its own."""

    def __init__(self, workspace: Path, options: list[str]) -> None:
        self._workspace, self._options = workspace, options

    def schemas(self) -> dict[str, dict[str, Any]]:
        return {name: schema for name, (_, schema) in described().items()}

    def call(self, tool: str, arguments: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
        import anyio
        from mcp import Client, StdioServerParameters
        from mcp.shared.exceptions import MCPError
        from mcp_types import Implementation

        from server.clients.client_config import serving

        async def called() -> dict[str, Any]:
            async def report(progress: float, total: float | None, message: str | None) -> None:
                tell(message or "")

            words = [*serving(), "--workspace", str(self._workspace), *self._options]
            own = StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))
            async with Client(own, client_info=Implementation(name=SHELL, version=__version__)) as client:
                result = await client.call_tool(tool, dict(arguments), progress_callback=report)
                return result.model_dump(by_alias=True)

        try:
            return anyio.run(called)
        except (MCPError, OSError, ValueError, ExceptionGroup) as error:
            cause = _cause(error)
            if cause.startswith(NOT_STARTED):  # it has said why, to the same terminal
                raise Unavailable("No server could be started for this call.", _START) from error
            problem = f"The server that was started for this call cannot be reached: {cause}."
            raise Unavailable(problem, _START) from error


def described() -> dict[str, tuple[str, dict[str, Any]]]:
    """Of each tool its description and the JSON schema of its arguments."""
    from server.api.app import register_tools
    from server.api.tools import Tools

    tools = register_tools(Tools(cast("Any", None)))  # nothing is called
    return {tool.name: (tool.description, tool.parameters) for tool in tools}


def answer(result: Mapping[str, Any]) -> tuple[Any, str]:
    """The JSON of an answer, and the text of a refusal; empty if it is none."""
    text = "\n".join(part["text"] for part in result.get("content", []) if part.get("type") == "text")
    if result.get("isError"):
        return {"error": text}, text
    structured = result.get("structuredContent")
    return structured if structured is not None else {"text": text}, ""


def _written_url(file: Path, pid: int) -> str:
    """The URL that the server with this pid has written down; empty if it has none, or is just starting."""
    try:
        written: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    known = cast("dict[str, Any]", written) if isinstance(written, dict) else {}
    return str(known.get("url", "")) if known.get("pid") == pid else ""


def _cause(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return (str(error) or type(error).__name__).partition("\n")[0].rstrip(".")
