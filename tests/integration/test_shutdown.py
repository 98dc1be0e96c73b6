"""How the real server ends, spoken to byte by byte: at once, with clean output, and never with the run it started."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from server.records import Verdict
from server.serve_options import ServeOptions
from server.study.phase import Phase
from server.study.study import Study
from tests.support.polling import stretched, until
from tests.support.repositories import UNGUARDED, make_quick

END_SECONDS = 2.0  # what a client waits for before it kills
# A run of its own accord ends minutes after the tests: what still runs was left running.
BUDGET = "300"


class Server:
    """`python -m server` and a client without any SDK."""

    def __init__(self, workspace: Path) -> None:
        arguments = ["--workspace", str(workspace), "--tag", "t1", "--profile", "smoke", "--budget", BUDGET, *UNGUARDED]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "server", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        self.lines: list[bytes] = []

    def greet(self) -> None:
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "0"}}
        self.tell("initialize", hello, number=0)
        assert self.answer()["serverInfo"]["name"] == "autoresearch"
        self.tell("notifications/initialized", {}, number=None)

    def tell(self, method: str, parameters: dict[str, Any], number: int | None = 1) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": parameters}
        self.write(json.dumps(message if number is None else {**message, "id": number}).encode() + b"\n")

    def write(self, data: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def ask(self, tool: str, **arguments: Any) -> None:
        self.tell("tools/call", {"name": tool, "arguments": arguments})

    def answer(self) -> dict[str, Any]:
        """The result of the call under way."""
        assert self.process.stdout
        while True:
            self.lines.append(self.process.stdout.readline())
            assert self.lines[-1], "the server ended"
            message = json.loads(self.lines[-1])
            if message.get("id") is not None:  # an error about garbage has none
                return message["result"]

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        self.ask(tool, **arguments)
        return self.answer()["structuredContent"]

    def ended(self) -> tuple[int, str]:
        """Exit code and stderr, once the process is gone; every line it ever wrote was JSON-RPC."""
        code = self.process.wait(stretched(END_SECONDS))
        assert self.process.stdout and self.process.stderr
        self.lines += self.process.stdout.readlines()
        for line in self.lines:
            assert line.endswith(b"\n") and json.loads(line)["jsonrpc"] == "2.0"
        return code, self.process.stderr.read().decode()


def close_stdin(server: Server) -> None:
    assert server.process.stdin
    server.process.stdin.close()


ENDS: dict[str, Callable[[Server], None]] = {
    "stdin closed": close_stdin,
    "SIGTERM": lambda server: server.process.send_signal(signal.SIGTERM),
    "SIGINT": lambda server: server.process.send_signal(signal.SIGINT),
}
Start = Callable[[], Server]


@pytest.fixture
def workspace(tmp_path: Path, data: Path) -> Iterator[Path]:
    """A repository whose runs find the data built already; no run outlives the test."""
    repository = make_quick(tmp_path / "work", data)
    yield repository
    for run in (repository / ".autoresearch").glob("t1/runs/*"):
        (run / "cancel").write_text("the test is over", encoding="utf-8")


@pytest.fixture
def start(workspace: Path) -> Iterator[Start]:
    """Starts servers one after the other; none outlives the test."""
    with ExitStack() as stack:

        def one_more() -> Server:
            server = Server(workspace)
            stack.enter_context(server.process)
            stack.callback(server.process.kill)
            server.greet()
            return server

        yield one_more


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_an_idle_server_ends_at_once_and_lets_go_of_the_workspace(
    start: Start, workspace: Path, end: Callable[[Server], None]
) -> None:
    server = start()
    assert server.call("status")["phase"] == "new"
    end(server)
    assert server.ended() == (0, "")
    with closing(Study(workspace, "t1", ServeOptions(profile="smoke"))) as after:  # as the next server opens it
        assert after.phase() is Phase.NEW


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(ENDS["stdin closed"], id="stdin closed"),
        pytest.param(ENDS["SIGTERM"], id="SIGTERM", marks=pytest.mark.slow),
        pytest.param(ENDS["SIGINT"], id="SIGINT", marks=pytest.mark.thorough),  # the idle server shows it
    ],
)
def test_a_server_that_ends_in_the_middle_of_a_call_leaves_the_run_to_the_next_one(
    start: Start, workspace: Path, end: Callable[[Server], None]
) -> None:
    server = start()
    server.ask("run_experiment", description="baseline", wait_seconds=600)
    run = workspace / ".autoresearch" / "t1" / "runs" / "00001"
    steps = trained(run)
    end(server)
    assert server.ended() == (0, "")
    assert trained(run, more_than=steps) > steps  # and nobody watches

    with closing(Study(workspace, "t1", ServeOptions(profile="smoke"))) as after:  # as the next server opens it
        assert after.phase() is Phase.RUNNING
        after.cancel("enough")
        until(lambda: after.phase() is not Phase.RUNNING)
        assert [(row.number, row.verdict) for row in after.ledger.all()] == [(1, Verdict.CANCELLED)]


def trained(run: Path, more_than: int = 0) -> int:
    """How many steps the run has made, once it has made more than so many."""

    def steps() -> int:
        progress = run / "progress.json"  # appears whole
        return (json.loads(progress.read_bytes()).get("steps") or 0) if progress.exists() else 0

    until(lambda: steps() > more_than)
    return steps()


def test_garbage_on_stdin_is_answered_in_json_and_ends_nothing(start: Start) -> None:
    server = start()
    server.write(b"\xff\xfe{not json\n\n" + b"[" * 5000 + b"\n")
    assert server.call("status")["phase"] == "new"
    close_stdin(server)
    code, _ = server.ended()
    assert code == 0


def test_a_client_that_vanished_ends_the_server(start: Start) -> None:
    server = start()
    assert server.process.stdin and server.process.stdout
    server.process.stdout.close()
    server.ask("status")  # the answer finds nobody
    server.process.stdin.close()
    assert server.process.wait(stretched(END_SECONDS)) == 0 and server.process.stderr
    assert b"Traceback" not in server.process.stderr.read()  # that is no defect
