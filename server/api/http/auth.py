"""Authentication over HTTP: a bearer token, and the checks that every request must pass.

The token comes from the environment, or from a file that only its owner can read. The middleware is plain ASGI, outside
the SDK's app: an OAuth set-up would send clients to an issuer that is not there, so a static token is asked for here,
and the 401 says what to send. It also bounds a request's size and time.

A proxy or a tunnel provides TLS (docs/remote.md).
"""

import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, MutableMapping
from pathlib import Path

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.http.address import LOOPBACK, TOKEN_VARIABLE
from server.api.http.connections import Peer
from server.errors import Unavailable
from server.paths import HOME, TOKEN

_SHORTEST = 16  # characters
_NAMED = "@"  # server.api.lanes.caller reads what follows


class BearerToken:
    """One static token. It is never shown; `where` says where to find it."""

    def __init__(self, file: Path) -> None:
        """Take the token of the environment, else the file's; the first use makes the file.

        Raises:
            Unavailable: the token is too short, or others can read the file.
        """
        told = os.environ.get(TOKEN_VARIABLE)
        self.where = f"in the variable {TOKEN_VARIABLE}" if told is not None else f"in {file}"
        self._token = _checked_token(told if told is not None else _read_or_make(file), self.where).encode()

    def opens(self, header: str) -> bool:
        """Whether an Authorization header carries the token; takes as long for a near miss as for nonsense.

        A client may put its name behind the token (server.api.lanes.caller).
        """
        scheme, _, token = header.partition(" ")
        told = token.strip()
        return scheme.lower() == "bearer" and (self._is(told) or self._is(told.rpartition(_NAMED)[0]))

    def _is(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token)


def _checked_token(token: str, where: str) -> str:
    token = token.strip()
    if len(token) < _SHORTEST or not token.isascii() or " " in token:
        problem = (
            f"The token {where} has fewer than {_SHORTEST} characters, or has characters other than letters, digits "
            "and signs."
        )
        raise Unavailable(
            problem, "Make a token with `openssl rand -hex 24`, or remove it: the server then makes its own."
        )
    return token


def _read_or_make(file: Path) -> str:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as fresh:
            fresh.write(secrets.token_urlsafe(32) + "\n")
    except FileExistsError:
        pass
    except OSError as error:
        raise Unavailable(f"{file} cannot be written: {error.strerror}.", f"Set {TOKEN_VARIABLE} instead.") from error
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise Unavailable(f"Users other than its owner can read {file}.", f"Remove it, or run `chmod 600 {file}`.")
    return file.read_text(encoding="utf-8")


MAX_BODY = 4 << 20  # bytes; a patch has at most 256 KiB
BODY_SECONDS = 20.0
_OPEN = ("/health", "/.well-known/")  # discovery is to find nothing there, rather than a door
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:/@\s]+))(?::\d*)?")  # RFC 9110: host, or [IPv6], and perhaps a port
_SEND = (
    f"Send the header `Authorization: Bearer TOKEN`: it is in {TOKEN_VARIABLE} on the server, or in "
    f"{HOME}/{TOKEN} of the workspace."
)


class AuthMiddleware:
    """Wraps the app."""

    def __init__(
        self,
        app: ASGIApp,
        bearer: BearerToken | None,
        hosts: Iterable[str],
        authenticate: Callable[[Peer], None],
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        """`bearer` None: no token is needed. `hosts`: names this server is called by, beside loopback's.

        `authenticate` is told of every connection that has shown the token.
        """
        self._app, self._bearer, self._authenticate, self._body_seconds = app, bearer, authenticate, body_seconds
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
            self._authenticate(scope["client"])
        try:
            with anyio.fail_after(self._body_seconds):
                body = await _read_body(receive, headers.get("content-length", ""))
        except TimeoutError:
            await self._answer(receive, send, 408, f"The request did not arrive within {self._body_seconds:g} s.")
            return
        if body is None:
            await self._answer(receive, send, 413, f"The request is larger than {MAX_BODY} bytes.")
            return
        await self._app(scope, _replay_body(body, receive), send)

    def _refusal(self, path: str, headers: MutableMapping[str, str]) -> tuple[int, str] | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if _host_name(host) not in self._hosts:
            return (
                421,
                f"This server does not answer to the name {host!r}: start it with --allow-host "
                f"{_host_name(host) or 'NAME'}.",
            )
        if origin is not None and _host_name(origin.partition("://")[2]) not in self._hosts:
            return 403, f"Pages from {origin!r} may not call this server."
        if self._bearer is None or path.startswith(_OPEN) or self._bearer.opens(headers.get("authorization", "")):
            return None
        return 401, _SEND

    async def _answer(self, receive: Receive, send: Send, status: int, words: str) -> None:
        """Answer at once, then read on for a while: most clients read no answer before they have sent everything."""
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


def _host_name(host: str) -> str:
    """The host without its port; empty if the text is not a host."""
    found = _HOST.fullmatch(host.lower())
    return (found[1] or found[2]) if found else ""


async def _read_body(receive: Receive, declared: str) -> bytes | None:
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


def _replay_body(body: bytes, receive: Receive) -> Receive:
    """What was read already, then what comes: the client's going away."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay
