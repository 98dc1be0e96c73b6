"""A model on loopback that does what a well-behaved agent does: start the run, wait for it, stop.

What it receives is the evidence: the last conversation holds every result as the client showed it to the model.
"""

import json
import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from tests.clients.dialects import Call, Event, dialect

MOST_CALLS = 12


@dataclass(frozen=True)
class Turn:
    """One request that could call our tools."""

    at: float
    results: list[tuple[str, str]]  # (id of the call, what came back)


@dataclass
class Model:
    """Decides the next call from nothing but the conversation it is shown."""

    turns: list[Turn] = field(default_factory=list[Turn])
    requests: list[str] = field(default_factory=list[str])  # every path asked for
    url: str = ""

    def next(self, offered: list[str], results: list[tuple[str, str]]) -> Call | None:
        """The tool to call; None: nothing is left to do, or this is not the conversation about the experiment."""
        tools = {
            verb: name for name in offered for verb in ("run_experiment", "wait_experiment") if name.endswith(verb)
        }
        search = next((name for name in offered if name == "ToolSearch"), None)
        if not tools and search is None:
            return None
        self.turns.append(Turn(time.monotonic(), results))
        if len(tools) < 2:
            return Call(
                search or "", {"query": "autoresearch run_experiment wait_experiment"}, f"search-{len(results)}"
            )
        ours = of_ours(results)
        if (ours and final(ours[-1])) or len(ours) >= MOST_CALLS:
            return None
        if not ours:
            return Call(tools["run_experiment"], {"description": "the baseline"}, "run_experiment-0")
        return Call(tools["wait_experiment"], {}, f"wait_experiment-{len(ours)}")

    @property
    def received(self) -> list[str]:
        """The results of our tools, as the model was shown them."""
        return of_ours(self.turns[-1].results) if self.turns else []

    @property
    def longest(self) -> float:
        """Seconds of the longest call."""
        return max((after.at - before.at for before, after in zip(self.turns, self.turns[1:], strict=False)), default=0)


def of_ours(results: list[tuple[str, str]]) -> list[str]:
    return [told for call, told in results if re.search("(run|wait)_experiment", call)]


def final(told: str) -> dict[str, Any] | None:
    """Verdict and val_bpb, if the text has a verdict: quoted once, or again by a client that wraps it."""
    plain = told.replace('\\"', '"')
    verdict, value = re.search(r'"verdict":\s*"(\w+)"', plain), re.search(r'"val_bpb":\s*([\d.]+)', plain)
    return {"verdict": verdict[1], "val_bpb": float(value[1]) if value else None} if verdict else None


def _wire(event: Event) -> str:
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event)}\n\n"


@contextmanager
def serving() -> Generator[Model]:
    """A model that listens until the block ends."""
    model = Model()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = urlsplit(self.path).path
            model.requests.append(path)
            spoken = dialect(path)
            if spoken is None:
                self._send(404, "application/json", "{}")
                return
            told = json.loads(body)
            call = model.next(spoken.offered(told), spoken.results(told))
            self._send(200, "text/event-stream", "".join(map(_wire, spoken.answer(call))))

        def do_GET(self) -> None:
            self._send(404, "application/json", "{}")

        def _send(self, status: int, kind: str, words: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(words.encode())))
            self.end_headers()
            self.wfile.write(words.encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: stdout is the table."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        model.url = f"http://127.0.0.1:{server.server_address[1]}"
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield model
        finally:
            server.shutdown()
