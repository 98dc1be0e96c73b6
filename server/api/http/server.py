"""The server over streamable HTTP: one process for many clients, near or far. The only importer of uvicorn."""

import logging
import os
import resource
import signal
import socket
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Timer
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import uvicorn
from anyio.abc import TaskStatus
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.lifespan.on import LifespanOn
from uvicorn.protocols.http.h11_impl import H11Protocol

from server import __version__
from server.api.http.address import PATH, called, is_loopback, split
from server.api.http.auth import BODY_SECONDS, MAX_BODY, AuthMiddleware, BearerToken
from server.api.http.connections import ConnectionLimiter
from server.errors import Unavailable
from server.serve_words import DEFAULT_ADDRESS, DEFAULT_PORT
from server.study.background import STALE_SECONDS

if TYPE_CHECKING:
    from mcp.server import MCPServer

_CONNECTIONS = 256
_BACKLOG = 128  # so many are accepted at once, before one can be hung up on
_LOOK_SECONDS = 1.0  # between two looks whether to end, and whom to close the connection to
_EXIT_SECONDS = 1.5


class Address:
    """Where to listen."""

    def __init__(self, told: str) -> None:
        """Read HOST:PORT, [IPV6]:PORT, HOST, PORT, or the URL that clients are given. Raises Unavailable."""
        parts = split(told, f"Write HOST:PORT, such as {DEFAULT_ADDRESS}.")
        if parts.scheme == "https":
            raise Unavailable(
                f"{told!r} asks for https, which the server does not support.",
                "Listen on HOST:PORT, behind a proxy that has a certificate (docs/remote.md).",
            )
        if parts.path.lower() not in ("", PATH):
            raise Unavailable(f"{told!r} has a path: the server answers at {PATH}.", "Write only HOST:PORT.")
        self.host, self.port = parts.host, DEFAULT_PORT if parts.port is None else parts.port

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    def bind(self) -> socket.socket:
        """Listen. Raises Unavailable."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            return socket.create_server((self.host, self.port), family=family, backlog=_BACKLOG)
        except (OSError, UnicodeError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or error
            problem = f"The server cannot listen on {self.host}:{self.port}: {why}."
            raise Unavailable(
                problem, "Name another address with --http HOST:PORT, or end the process that listens there."
            ) from error

    def url(self, port: int) -> str:
        """What this machine calls the server by, once it listens on `port`."""
        return f"http://{called(self.host)}:{port}{PATH}"

    def names(self) -> list[str]:
        """What clients may call this server, beside loopback's names."""
        return [] if self.loopback else [self.host, socket.gethostname(), socket.getfqdn()]


def bind_socket(address: Address, bearer: BearerToken | None, hosts: Sequence[str]) -> None:
    """Refuse to listen for others without a token, directly or behind a proxy of another name. Raises Unavailable."""
    others = [name for name in (address.host, *hosts) if not is_loopback(name)]
    if bearer is None and others:
        raise Unavailable(
            f"Others can reach {others[0]}, and the server would not ask for a token.",
            "Leave out --no-token, or listen on 127.0.0.1 and reach it through an ssh tunnel.",
        )


class SitePage(Protocol):
    """A web page below its own path. It has its own authentication, because browsers have no bearer token."""

    @property
    def prefix(self) -> str: ...

    @property
    def app(self) -> ASGIApp: ...

    def knows(self, scope: Scope) -> bool:
        """Whether the request is of a browser that was let in."""
        ...

    async def run(self) -> None:
        """Background work, until it is cancelled."""
        ...


@dataclass(frozen=True)
class Beside:
    """What a server offers besides MCP."""

    quiet: Callable[[], float] = lambda: 0.0  # seconds since the server last showed life
    page: SitePage | None = None


async def listen(
    server: "MCPServer[None]",
    listening: socket.socket,
    hosts: Sequence[str],
    bearer: BearerToken | None,
    beside: Beside | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT comes. Runs under way go on.

    Raises:
        Unavailable: the MCP server behind the web server has ended by itself.
    """
    from mcp.server.transport_security import TransportSecuritySettings

    beside = beside or Beside()
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=MAX_BODY,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),  # the gate's
    )
    app.router.routes.append(Route("/health", _health(beside.quiet)))
    app.router.redirect_slashes = False  # by an absolute address, which a proxy's https would become http in
    limiter = ConnectionLimiter(_room(), BODY_SECONDS)
    whole: ASGIApp = AuthMiddleware(_slashless(app), bearer, hosts, limiter.authenticate)
    if beside.page:
        whole = _with_page(whole, beside.page, hosts, limiter)
    web = _Web(_config(whole, limiter), limiter)
    await _serve(web, listening, beside.page)
    if web.hollow:
        raise Unavailable("The server ended unexpectedly; the reason is above.", "Start it again: the study goes on.")


async def listen_for_page(page: SitePage, listening: socket.socket) -> None:
    """Serve a page alone, on this machine, until SIGTERM or SIGINT comes."""
    limiter = ConnectionLimiter(_room(), BODY_SECONDS)
    config = _config(_with_page(_nothing, page, (), limiter), limiter)
    config.lifespan = "off"
    await _serve(_Web(config, limiter), listening, page)


def _config(app: ASGIApp, limiter: ConnectionLimiter) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_counted(limiter),
        ws="none",
        log_level="error",  # unauthenticated nonsense is worth no line
        backlog=_BACKLOG,
        proxy_headers=False,  # whose connection it is, not whose request
        timeout_graceful_shutdown=1,
        server_header=False,
    )


async def _serve(web: "_Web", listening: socket.socket, page: SitePage | None) -> None:
    async with anyio.create_task_group() as group:
        await group.start(_end_on_signal, web)
        if page:
            group.start_soon(page.run)
        await web.serve(sockets=[listening])
        group.cancel_scope.cancel()


def _with_page(app: ASGIApp, page: SitePage, hosts: Sequence[str], limiter: ConnectionLimiter) -> ASGIApp:
    """The app, and the page below its prefix: by the same names of this machine, with the page's own token."""
    inside = AuthMiddleware(page.app, None, hosts, lambda _: None)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not f"{scope['path']}/".startswith(f"{page.prefix}/"):
            await app(scope, receive, send)
            return
        if page.knows(scope):
            limiter.authenticate(scope["client"])
        await inside(scope, receive, send)

    return answer


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await Response(status_code=404)(scope, receive, send)


def _slashless(app: ASGIApp) -> ASGIApp:
    """The app, which answers a path with a slash at its end as the one without."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (path := scope["path"].rstrip("/")):
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await app(scope, receive, send)

    return answer


def _room() -> int:
    """How many connections leave enough descriptors for everything else."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _CONNECTIONS if descriptors == resource.RLIM_INFINITY else min(_CONNECTIONS, descriptors // 4)


def _counted(limiter: ConnectionLimiter) -> type[H11Protocol]:
    """uvicorn's connection, which tells the limiter that it came and went."""

    class Counted(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if self.client:
                limiter.add(self.client, transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            if self.client:
                limiter.remove(self.client)
            super().connection_lost(exc)

    return Counted


class _Web(uvicorn.Server):
    hollow = False  # what it served has ended

    def __init__(self, config: uvicorn.Config, limiter: ConnectionLimiter) -> None:
        super().__init__(config)
        self._limiter, self._ends = limiter, anyio.Event()

    async def main_loop(self) -> None:
        """Look once a second: uvicorn looks ten times, and an idle server would do little else than wake up."""
        while not await self.on_tick(0):
            with anyio.move_on_after(_LOOK_SECONDS):
                await self._ends.wait()

    def end(self) -> None:
        """Close what is unauthenticated, and end."""
        self._limiter.close_unauthenticated()
        self.should_exit = True
        self._ends.set()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to us: uvicorn raises them again when it has ended, and the exit code would be theirs."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Whether to end: also when the app's lifespan is over, after which uvicorn would answer errors for ever."""
        self._limiter.close_expired()
        self.hollow = isinstance(self.lifespan, LifespanOn) and self.lifespan.shutdown_event.is_set()
        return self.hollow or await super().on_tick(counter)


async def _end_on_signal(web: "_Web", *, task_status: TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            # A thread may hang in a full disk; everything worth saving is saved already.
            timer = Timer(_EXIT_SECONDS, os._exit, (0,))
            timer.daemon = True
            timer.start()
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # calls that end with us are no errors
            web.end()


def _health(quiet: Callable[[], float]) -> Callable[[Request], Awaitable[JSONResponse]]:
    async def health(_: Request) -> JSONResponse:
        if (seconds := quiet()) > STALE_SECONDS:
            return JSONResponse({"status": f"no sign of life for {seconds:.0f} s", "version": __version__}, 503)
        return JSONResponse({"status": "ok", "version": __version__})

    return health
