"""What stands before the server on HTTP: whose request this is, and how large and slow it may be.

Plain ASGI, outside the SDK's app: an OAuth set-up would send clients to an issuer that is not there, so a static token
is asked for here, and the 401 says what to send. TLS is a proxy's or a tunnel's (docs/remote.md).
"""

import json
import re
from collections.abc import Callable, Iterable, MutableMapping

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.bearer import VARIABLE, Bearer
from server.crowd import Peer

MAX_BODY = 4 << 20  # bytes; a patch has at most 256 KiB
BODY_SECONDS = 20.0
_OPEN = ("/health", "/.well-known/")  # discovery is to find nothing there, rather than a door
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:/@\s]+))(?::\d*)?")  # RFC 9110: host, or [IPv6], and perhaps a port
_SEND = (
    f"Send the header `Authorization: Bearer TOKEN`: it is in {VARIABLE} on the server, or in "
    ".autoresearch/token of the workspace."
)


class Gate:
    """Wraps the app."""

    def __init__(
        self,
        app: ASGIApp,
        bearer: Bearer | None,
        hosts: Iterable[str],
        admit: Callable[[Peer], None],
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        """`bearer` None: no token is asked for. `hosts`: names this server is called by, beside loopback's.

        `admit` is told of every connection that has shown the token.
        """
        self._app, self._bearer, self._admit, self._body_seconds = app, bearer, admit, body_seconds
        self._hosts = {host.lower() for host in (*LOOPBACK, *hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if refusal := self._refusal(scope["path"], headers):
            await self._answer(receive, send, *refusal)
            return
        if not scope["path"].startswith(_OPEN):
            self._admit(scope["client"])
        try:
            with anyio.fail_after(self._body_seconds):
                body = await _body(receive, headers.get("content-length", ""))
        except TimeoutError:
            await self._answer(receive, send, 408, f"The request did not arrive within {self._body_seconds:g} s.")
            return
        if body is None:
            await self._answer(receive, send, 413, f"The request is larger than {MAX_BODY} bytes.")
            return
        await self._app(scope, _replaying(body, receive), send)

    def _refusal(self, path: str, headers: MutableMapping[str, str]) -> tuple[int, str] | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if _name(host) not in self._hosts:
            return 421, f"This server is not called {host!r}: start it with --allow-host {_name(host) or 'NAME'}."
        if origin is not None and _name(origin.partition("://")[2]) not in self._hosts:
            return 403, f"Pages from {origin!r} may not call this server."
        if self._bearer is None or path.startswith(_OPEN) or self._bearer.opens(headers.get("authorization", "")):
            return None
        return 401, _SEND

    async def _answer(self, receive: Receive, send: Send, status: int, words: str) -> None:
        """Answer at once, then listen on for a while: most clients hear nothing before they have said everything."""
        body = json.dumps({"error": words}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if status == 401:
            headers.append((b"www-authenticate", b'Bearer realm="autoresearch"'))
        headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        with anyio.move_on_after(self._body_seconds):
            while (await receive()).get("more_body"):
                pass
        await send({"type": "http.response.body", "body": b""})


def _name(host: str) -> str:
    """The host without its port; nothing of what is no host."""
    found = _HOST.fullmatch(host.lower())
    return (found[1] or found[2]) if found else ""


async def _body(receive: Receive, declared: str) -> bytes | None:
    """The whole body; None if it is too large. A client that goes away leaves what it sent."""
    if declared.isdecimal() and int(declared) > MAX_BODY:
        return None
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            return None
        if message["type"] != "http.request" or not message.get("more_body"):
            return bytes(body)


def _replaying(body: bytes, receive: Receive) -> Receive:
    """What was read already, then what comes: the client's going away."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay
