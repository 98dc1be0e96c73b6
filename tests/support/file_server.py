"""A real HTTP server that hands out files from memory, and can be told to fail."""

import hashlib
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Shelf:
    """What is served, and how badly."""

    files: dict[str, bytes]
    url: str = ""
    statuses: list[int] = field(default_factory=list[int])  # answers that come before the good ones
    cuts: list[int] = field(default_factory=list[int])  # bytes after which the next answers break off
    ranges: bool = True  # whether a part can be asked for
    stated: str | None = None  # a checksum stated with a redirect; None: no redirect
    location: str = ""  # where every request is redirected to
    asked: list[str] = field(default_factory=list[str])  # the Range of each request for a file


class _Handler(BaseHTTPRequestHandler):
    shelf: Shelf  # of the class made for one server

    def do_GET(self) -> None:
        if self.shelf.stated is not None and not self.path.startswith("/there"):
            self._answer(302, {"Location": f"/there{self.path}", "X-Linked-ETag": f'"{self.shelf.stated}"'})
        elif self.shelf.location and not self.path.startswith("/there"):
            self._answer(302, {"Location": self.shelf.location})
        elif self.shelf.statuses:
            self._answer(self.shelf.statuses.pop(0), {})
        elif (body := self.shelf.files.get(self.path.removeprefix("/there"))) is None:
            self._answer(404, {})
        else:
            self._file(body)

    def _file(self, body: bytes) -> None:
        told = self.headers.get("Range", "")
        self.shelf.asked.append(told)
        start = int(found[1]) if self.shelf.ranges and (found := re.fullmatch(r"bytes=(\d+)-", told)) else 0
        if start and start >= len(body):
            self._answer(416, {})
            return
        self._answer(206 if start else 200, {"ETag": '"not a checksum"'}, len(body) - start)
        self.wfile.write(body[start:][: self.shelf.cuts.pop(0) if self.shelf.cuts else None])

    def _answer(self, status: int, headers: dict[str, str], length: int = 0) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@contextmanager
def served(shelf: Shelf) -> Generator[Shelf]:
    """Serve on a free port until the block ends."""
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"shelf": shelf})) as server:
        shelf.url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield shelf
        finally:
            server.shutdown()


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
