"""A real HTTP server whose pages are functions: they may answer as badly as they like."""

import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

Page = Callable[["Handler"], None]


@dataclass
class Site:
    """What is served, and what was asked."""

    pages: dict[str, Page] = field(default_factory=dict[str, Page])
    url: str = ""
    port: int = 0
    asked: list[str] = field(default_factory=list[str])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    over: Event = field(default_factory=Event)  # the test has ended: no page goes on


class Handler(BaseHTTPRequestHandler):
    """Hands requests to the site's pages."""

    site: Site

    def do_GET(self) -> None:
        self.site.asked.append(self.path)
        self.site.headers.append({name.lower(): value for name, value in self.headers.items()})
        path = self.path.partition("?")[0]
        page = self.site.pages.get(path) or next(
            (page for name, page in self.site.pages.items() if name.endswith("*") and path.startswith(name[:-1])), None
        )
        with suppress(OSError):  # the client has gone
            if page is None:
                self.answer(404, b"no such page")
            else:
                page(self)

    do_POST = do_GET

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


def page(body: bytes, status: int = 200, **headers: str) -> Page:
    """A page that is the same each time."""
    return lambda handler: handler.answer(status, body, **headers)


def redirect(location: str, status: int = 302) -> Page:
    return page(b"", status, Location=location)


@contextmanager
def serving(site: Site, context: ssl.SSLContext | None = None) -> Generator[Site]:
    """Serve on a free port of 127.0.0.1 until the block ends; with TLS where there is a context."""
    with ThreadingHTTPServer(("127.0.0.1", 0), type("One", (Handler,), {"site": site})) as server:
        server.daemon_threads = True
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        site.port = server.server_port
        site.url = f"{'https' if context else 'http'}://127.0.0.1:{site.port}"
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield site
        finally:
            site.over.set()
            server.shutdown()
