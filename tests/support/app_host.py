"""A host of MCP Apps in a real browser: tests/fixtures/app_host.html shows the app and posts what it saw."""

import json
import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import pytest

_PATIENCE = 90.0  # seconds; a browser answers within one when the machine is free
_OPTIONS = ["--headless", "--disable-gpu", "--no-sandbox", "--no-first-run"]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), "")

# Where tests are the check of a change a browser that is missing is a failure, not an excuse.
needs_browser = pytest.mark.skipif(not BROWSER and not os.environ.get("CI"), reason="no Chromium is installed")


def shown(folder: Path, data: dict[str, Any]) -> dict[str, Any]:
    """What the page saw that is given `data`. `folder` becomes the browser's profile."""
    text = (Path(__file__).parents[1] / "fixtures" / "app_host.html").read_text(encoding="utf-8")
    page = text.replace("DATA", json.dumps(data).replace("<", "\\u003c"), 1)
    with (
        _served(page) as (address, reports),
        subprocess.Popen(
            [BROWSER, *_OPTIONS, f"--user-data-dir={folder}", address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process,
    ):
        try:
            seen = reports.get(timeout=_PATIENCE)
        finally:
            process.terminate()
    assert "error" not in seen, seen
    return seen


@contextmanager
def _served(page: str) -> "Generator[tuple[str, Queue[dict[str, Any]]]]":
    """The page's address, and the reports it posts."""
    reports: Queue[dict[str, Any]] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(page.encode())

        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            reports.put(json.loads(parse_qs(form)["report"][0]))
            self._answer(b"")

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing: pytest's output is for failures."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", reports
        finally:
            server.shutdown()
