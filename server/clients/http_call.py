"""One request to a server over HTTP, without the SDK's client, whose import takes longer than most calls.

Since its version of 2026-07-28 the protocol has no handshake: a call is one POST, and the answer is JSON, or a stream
of progress that ends with it.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import httpx2

from server import __version__
from server.api.http.address import LOOPBACK
from server.api.timeouts import SHELL

PROTOCOL = "2026-07-28"
META = "io.modelcontextprotocol/"
_CONNECT_SECONDS = 30.0
_DOOR = (401, 403, 421)


class NoAnswer(Exception):
    """The server cannot be reached, or does not answer as one. The message is the cause."""


class NotLetIn(NoAnswer):
    """The server takes no request with this token, or by this name of its host."""


class HttpServer:
    """A server at a URL."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": PROTOCOL}
        self._headers |= {"Authorization": f"Bearer {token}"} if token else {}
        self._ours = any(f"//{name}" in url for name in (*LOOPBACK, "[::1]"))

    def request(self, method: str, params: Mapping[str, Any], tell: Callable[[str], None]) -> dict[str, Any]:
        """The result of a request of the protocol; `tell` receives its progress. Raises NoAnswer, NotLetIn."""
        told = {
            f"{META}protocolVersion": PROTOCOL,
            f"{META}clientInfo": {"name": SHELL, "version": __version__},
            f"{META}clientCapabilities": {},
            "progressToken": 1,
        }
        headers = self._headers | {"Mcp-Method": method} | ({"Mcp-Name": params["name"]} if "name" in params else {})
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": told}}
        timeout = httpx2.Timeout(_CONNECT_SECONDS, read=None)
        try:
            with (
                httpx2.Client(timeout=timeout, trust_env=not self._ours) as web,  # a proxy would find another loopback
                web.stream("POST", self.url, json=body, headers=headers) as response,
            ):
                if response.status_code in _DOOR:
                    raise NotLetIn(response.read().decode("utf-8", errors="replace")[:500])
                for message in _messages(response):
                    if "method" in message:
                        tell(str(message["params"].get("message") or ""))
                    elif "error" in message:
                        raise NoAnswer(str(message["error"]["message"]))
                    else:
                        return cast("dict[str, Any]", message["result"])
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, KeyError, TypeError) as error:
            raise NoAnswer((str(error) or type(error).__name__).partition("\n")[0].rstrip(".")) from error
        raise NoAnswer(f"it answers {response.status_code}, and not as the protocol has it")


def _messages(response: httpx2.Response) -> Iterator[dict[str, Any]]:
    """The messages of the protocol that a response holds."""
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        for event in httpx2.EventSource(response, max_event_size=None):
            if event.data:
                yield json.loads(event.data)
    else:
        response.read()
        if isinstance(told := response.json(), dict):
            yield cast("dict[str, Any]", told)
