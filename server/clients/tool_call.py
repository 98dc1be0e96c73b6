"""One tool call from a shell: which server it goes to, and how its words become arguments."""

import json
import os
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, cast

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, Implementation, TextContent

from server import __version__
from server.api.app import register_tools
from server.api.http.address import client_url
from server.api.http.auth import LOOPBACK, TOKEN_VARIABLE
from server.api.json_rpc import NOT_STARTED
from server.api.timeouts import SHELL
from server.api.tools import Tools
from server.clients.client_config import serving
from server.errors import AutoresearchError, Unavailable
from server.locks import lock_holder
from server.paths import Home

_CONNECT_SECONDS = 30.0
_DOOR = (401, 403, 421)
_START = "See the messages above, or run `autoresearch doctor`."


class CallMisspelt(AutoresearchError):
    """The call names no tool, or has arguments that the tool does not take."""


class Place:
    """Where a call goes: to a URL, or to a server that is started only for this call."""

    def __init__(self, workspace: Path, url: str, token: str, options: list[str]) -> None:
        """Find the server of `workspace`, if no `url` is given. `options`: of `serve`, for one that is started.

        Raises:
            Unavailable: a server works there that answers only its own client.
        """
        self._workspace, self._options = workspace, options
        self.refused = ""  # what a server over HTTP said to a request that it did not take
        self.url, self._token = client_url(url) if url else "", token or os.environ.get(TOKEN_VARIABLE, "")
        if not url and (holder := lock_holder(workspace)):
            home = Home(workspace)
            self.url = _listening(home.address, holder.pid)
            if not self._token and home.token.exists():
                self._token = home.token.read_text(encoding="utf-8").strip()
            if not self.url:
                raise Unavailable(
                    f"A server (pid {holder.pid}, study {holder.tag}) works in {workspace} over stdio: it answers "
                    "only the client that started it.",
                    "Call again when that client has ended; or start the server with `autoresearch serve --http`, "
                    "which answers both the client and calls.",
                )

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Client]:
        """A client of the server."""
        told = Implementation(name=SHELL, version=__version__)
        if not self.url:
            words = [*serving(), "--workspace", str(self._workspace), *self._options]
            own = StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))
            async with Client(own, client_info=told) as client:
                yield client
            return
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        ours = any(f"//{name}" in self.url for name in (*LOOPBACK, "[::1]"))  # a proxy would find another loopback
        timeout = httpx2.Timeout(_CONNECT_SECONDS, read=None)
        hooks = {"response": [self._note]}
        async with httpx2.AsyncClient(headers=headers, timeout=timeout, trust_env=not ours, event_hooks=hooks) as web:
            async with Client(streamable_http_client(self.url, http_client=web), client_info=told) as client:
                yield client

    async def _note(self, response: httpx2.Response) -> None:
        """Keep what the server says before the protocol begins: the SDK does not pass it on."""
        if response.status_code in _DOOR:
            self.refused = (await response.aread()).decode("utf-8", errors="replace")[:500]


def _listening(file: Path, pid: int) -> str:
    """The URL that the server with this pid has written down; empty if it has none."""
    try:
        written: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    known = cast("dict[str, Any]", written) if isinstance(written, dict) else {}
    return str(known.get("url", "")) if known.get("pid") == pid else ""


async def call_tool(
    place: Place, tool: str, arguments: Mapping[str, Any], tell: Callable[[str], None]
) -> CallToolResult:
    """Call a tool; `tell` receives its progress. Raises Unavailable: the server cannot be reached."""

    async def report(progress: float, total: float | None, message: str | None) -> None:
        tell(message or "")

    try:
        async with place.client() as client:
            return await client.call_tool(tool, dict(arguments), progress_callback=report)
    except (MCPError, OSError, ValueError, httpx2.HTTPError, httpx2.InvalidURL, ExceptionGroup) as error:
        where = place.url or "The server that was started for this call"
        cause = place.refused or _cause(error)
        if not place.url and cause.startswith(NOT_STARTED):  # it has said why, to the same terminal
            raise Unavailable("No server could be started for this call.", _START) from error
        raise Unavailable(f"{where} cannot be reached: {cause}.", _next(place)) from error


def _cause(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return (str(error) or type(error).__name__).partition("\n")[0].rstrip(".")


def _next(place: Place) -> str:
    if not place.url:
        return _START
    if place.refused:
        return f"Give its token with --token or {TOKEN_VARIABLE}."
    return "Start it with `autoresearch serve --http`, or correct --url."


@cache
def schemas() -> dict[str, tuple[str, dict[str, Any]]]:
    """Of each tool its description and the JSON schema of its arguments."""
    tools = register_tools(Tools(cast("Any", None)))  # nothing is called
    return {tool.name: (tool.description, tool.parameters) for tool in tools}


def schema_of(tool: str) -> dict[str, Any]:
    """Raises CallMisspelt: there is no such tool."""
    known = schemas()
    if not tool:
        raise CallMisspelt("Name a tool: autoresearch call TOOL key=value.", f"The tools are: {', '.join(known)}.")
    if tool not in known:
        near = get_close_matches(tool, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"The tools are: {', '.join(known)}."
        raise CallMisspelt(f"There is no tool {tool!r}.", f"{hint} `autoresearch call --list` lists all tools.")
    return known[tool][1]


def read_arguments(tool: str, words: list[str], base: str, read: Callable[[str], str]) -> dict[str, Any]:
    """The arguments of a call: those of the JSON text `base`, and those of `words`.

    A word is key=value, typed as the tool's schema says; key:=JSON; or either with @FILE for a value, which `read`
    reads ("-" is stdin).

    Raises:
        CallMisspelt: a word is none of these, or the tool does not take it.
    """
    schema = schema_of(tool)
    _require_text(tool, base, *words)
    given = _object(read(base[1:]) if base.startswith("@") else base) if base else {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.rstrip(":"):
            raise CallMisspelt(f"{word[:80]!r} is not an argument.", f"Write {tool} key=value, key:=JSON or key=@FILE.")
        value = read(value[1:]) if value.startswith("@") else value
        key = name.removesuffix(":")
        if key in given:
            raise CallMisspelt(f"{key} is given twice.", "Give each argument once.")
        given[key] = _json(key, value) if name.endswith(":") else _typed(key, value, schema)
    _require_text(json.dumps(given, ensure_ascii=False))  # JSON may have escaped what is no text
    unknown = [key for key in given if key not in schema["properties"]]
    missing = [key for key in schema.get("required", []) if key not in given]
    if unknown or missing:
        wrong = f"does not take {', '.join(unknown)}" if unknown else f"needs {', '.join(missing)}"
        takes = ", ".join(schema["properties"]) or "no arguments"
        raise CallMisspelt(f"{tool} {wrong}.", f"It takes: {takes}. `autoresearch call --schema {tool}` shows more.")
    return given


def _require_text(*told: str) -> None:
    for text in told:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            part = ascii(text[max(error.start - 20, 0) : error.end + 20])
            raise CallMisspelt(f"{part} is not UTF-8.", "Write it in UTF-8.") from None


def _object(text: str) -> dict[str, Any]:
    given = _json("--json", text)
    if not isinstance(given, dict):
        raise CallMisspelt("--json is not an object.", 'Write it like \'{"key": "value"}\'.')
    return cast("dict[str, Any]", given)


def _json(key: str, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise CallMisspelt(
            f"{key} is not JSON: {error}.", "Quote it for the shell; text is given as key=value."
        ) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object. Raises ValueError if a key is there twice: one of the two would be lost."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key!r} is there twice")
        found[key] = value
    return found


def _typed(key: str, value: str, schema: dict[str, Any]) -> Any:
    """The value as the schema types it: text stays text, anything else is JSON."""
    told = schema["properties"].get(key, {})
    kinds = {kind.get("type") for kind in told.get("anyOf", [told])}
    if not kinds & {"integer", "number", "boolean", "array", "object"}:
        return value
    try:
        return json.loads(value, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        wanted = ", ".join(sorted(kind for kind in kinds if kind))
        raise CallMisspelt(
            f"{key} is {value[:80]!r}, not of type {wanted}.", "Write it as JSON of that type."
        ) from None


def answer(result: CallToolResult) -> tuple[Any, str]:
    """The JSON of an answer, and the text of a refusal; empty if it is none."""
    text = "\n".join(part.text for part in result.content if isinstance(part, TextContent))
    if result.is_error:
        return {"error": text}, text
    return result.structured_content if result.structured_content is not None else {"text": text}, ""
