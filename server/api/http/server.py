"""The server over streamable HTTP: one process for many clients, near or far. The only importer of uvicorn."""

import logging
import os
import resource
import signal
import socket
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from threading import Timer
from typing import Any

import anyio
import uvicorn
from anyio.abc import TaskStatus
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.lifespan.on import LifespanOn
from uvicorn.protocols.http.h11_impl import H11Protocol

from server import __version__
from server.api.http.address import BACKLOG, PATH, Address, is_loopback
from server.api.http.auth import BODY_SECONDS, MAX_BODY, AuthMiddleware, BearerToken
from server.api.http.connections import ConnectionLimiter
from server.errors import Unavailable
from server.study.background import STALE_SECONDS

_CONNECTIONS = 256
_EXPIRY_LOOK_SECONDS = 1.0
_EXIT_SECONDS = 1.5


def bind_socket(address: Address, bearer: BearerToken | None, hosts: Sequence[str]) -> None:
    """Refuse to stand open to others, or to those behind a proxy that calls us by another name. Raises Unavailable."""
    others = [name for name in (address.host, *hosts) if not is_loopback(name)]
    if bearer is None and others:
        raise Unavailable(
            f"{others[0]} can be reached by others, and no token would be asked for.",
            "Leave --no-token away, or listen on 127.0.0.1 and let an ssh tunnel lead there.",
        )


async def listen(
    server: MCPServer[None],
    listening: socket.socket,
    hosts: Sequence[str],
    bearer: BearerToken | None,
    quiet: Callable[[], float] = lambda: 0.0,
) -> None:
    """Serve until SIGTERM or SIGINT comes. Runs under way go on. `quiet`: seconds since the server last showed life.

    Raises:
        Unavailable: the MCP server behind the web server has ended by itself.
    """
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=MAX_BODY,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),  # the gate's
    )
    app.router.routes.append(Route("/health", _health(quiet)))
    app.router.redirect_slashes = False  # by an absolute address, which a proxy's https would become http in
    limiter = ConnectionLimiter(_room(), BODY_SECONDS)
    config = uvicorn.Config(
        AuthMiddleware(_slashless(app), bearer, hosts, limiter.authenticate),
        http=_counted(limiter),
        ws="none",
        log_level="error",  # unauthenticated nonsense is worth no line
        backlog=BACKLOG,
        proxy_headers=False,  # whose connection it is, not whose request
        timeout_graceful_shutdown=1,
        server_header=False,
    )
    web = _Web(config)
    async with anyio.create_task_group() as group:
        await group.start(_end_on_signal, web, limiter)
        group.start_soon(_close_expired, limiter)
        await web.serve(sockets=[listening])
        group.cancel_scope.cancel()
    if web.hollow:
        raise Unavailable("The server has ended by itself; why is written above.", "Start it again: the night goes on.")


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


async def _close_expired(limiter: ConnectionLimiter) -> None:
    while True:
        await anyio.sleep(_EXPIRY_LOOK_SECONDS)
        limiter.close_expired()


class _Web(uvicorn.Server):
    hollow = False  # what it served has ended

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to us: uvicorn raises them again when it has ended, and the exit code would be theirs."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Whether to end: also when the app's lifespan is over, after which uvicorn would answer errors for ever."""
        self.hollow = isinstance(self.lifespan, LifespanOn) and self.lifespan.shutdown_event.is_set()
        return self.hollow or await super().on_tick(counter)


async def _end_on_signal(web: uvicorn.Server, limiter: ConnectionLimiter, *, task_status: TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            # A thread may hang in a full disk; everything worth saving is saved already.
            timer = Timer(_EXIT_SECONDS, os._exit, (0,))
            timer.daemon = True
            timer.start()
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # calls that end with us are no errors
            limiter.close_unauthenticated()
            web.should_exit = True


def _health(quiet: Callable[[], float]) -> Callable[[Request], Awaitable[JSONResponse]]:
    async def health(_: Request) -> JSONResponse:
        if (seconds := quiet()) > STALE_SECONDS:
            return JSONResponse({"status": f"no sign of life for {seconds:.0f} s", "version": __version__}, 503)
        return JSONResponse({"status": "ok", "version": __version__})

    return health
