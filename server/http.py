"""The server over streamable HTTP: one process for many clients, near or far. The only importer of uvicorn."""

import os
import signal
import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from threading import Timer

import anyio
import uvicorn
from anyio.abc import TaskStatus
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from server import __version__
from server.bearer import Bearer
from server.choices import HTTP
from server.errors import Unavailable
from server.gate import MAX_BODY, Gate

PATH = "/mcp"
_CONNECTIONS = 512
_EXIT_SECONDS = 1.5
_LOOPBACK = ("127.", "localhost", "::1")


class Address:
    """Where to listen."""

    def __init__(self, told: str) -> None:
        """Read HOST:PORT, [IPV6]:PORT or PORT. Raises Unavailable."""
        host, _, port = told.rpartition(":")
        self.host = host.strip("[]") or "127.0.0.1"
        if not port.isdecimal() or not 0 <= int(port) < 65536:
            raise Unavailable(f"{told!r} is no address.", f"Write HOST:PORT, such as {HTTP}.")
        self.port = int(port)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host.startswith(_LOOPBACK)

    def bind(self) -> socket.socket:
        """Listen. Raises Unavailable."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            return socket.create_server((self.host, self.port), family=family, backlog=_CONNECTIONS)
        except OSError as error:
            problem = f"{self.host}:{self.port} cannot be listened on: {error.strerror or error}."
            raise Unavailable(problem, "Name another with --http HOST:PORT, or end what listens there.") from error

    def names(self) -> list[str]:
        """What clients may call this server, beside loopback's names."""
        return [] if self.loopback else [self.host, socket.gethostname(), socket.getfqdn()]


def door(address: Address, bearer: Bearer | None) -> None:
    """Refuse to stand open to others. Raises Unavailable."""
    if bearer is None and not address.loopback:
        raise Unavailable(
            f"{address.host} can be reached by others, and no token would be asked for.",
            "Leave --no-token away, or listen on 127.0.0.1 and let an ssh tunnel lead there.",
        )


async def listen(
    server: MCPServer[None], listening: socket.socket, hosts: Sequence[str], bearer: Bearer | None
) -> None:
    """Serve until SIGTERM or SIGINT comes. Runs under way go on."""
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=MAX_BODY,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),  # the gate's
    )
    app.router.routes.append(Route("/health", _health))
    config = uvicorn.Config(
        Gate(app, bearer, hosts),
        log_level="warning",
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=1,
        server_header=False,
    )
    web = _Web(config)
    async with anyio.create_task_group() as group:
        await group.start(_end_on_signal, web)
        await web.serve(sockets=[listening])
        group.cancel_scope.cancel()


class _Web(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to us: uvicorn raises them again when it has ended, and the exit code would be theirs."""
        yield


async def _end_on_signal(web: uvicorn.Server, *, task_status: TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            # A thread may hang in a full disk; everything worth saving is saved already.
            timer = Timer(_EXIT_SECONDS, os._exit, (0,))
            timer.daemon = True
            timer.start()
            web.should_exit = True


async def _health(_: Request) -> JSONResponse:
    return JSONResponse({"status": "ok", "version": __version__})
