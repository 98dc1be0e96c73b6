"""The server over HTTP, as strangers, slow writers and two honest clients meet it: real sockets, one real process."""

import http.client
import json
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from server.bearer import Bearer
from server.errors import Unavailable
from server.gate import MAX_BODY, Gate
from server.http import Address, door
from tests.conftest import STAND_INS, make_repository
from tests.watch import PATIENCE

END_SECONDS = 2.0
Mode = Literal["auto", "legacy"]
HELLO = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"})


class Web:
    """`autoresearch serve --http` as a process."""

    def __init__(self, workspace: Path, *options: str, budget: str = "3") -> None:
        arguments = ["--workspace", str(workspace), "--tag", "t1", "--profile", "smoke", "--budget", budget]
        self.workspace = workspace
        self.process = subprocess.Popen(
            [sys.executable, "-m", "server", *arguments, "--http", "127.0.0.1:0", *options],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8", cwd=Path(__file__).parent.parent,
        )  # fmt: skip
        assert self.process.stderr
        self.said = self.process.stderr.readline()
        assert self.said.startswith("listening on http://127.0.0.1:"), self.said + self.process.stderr.read()
        self.port = int(self.said.partition("127.0.0.1:")[2].partition("/")[0])

    @property
    def token(self) -> str:
        return (self.workspace / ".autoresearch" / "token").read_text(encoding="ascii").strip()

    def ask(self, body: str = HELLO, path: str = "/mcp", method: str = "POST", **headers: str) -> tuple[int, str]:
        """Status and body of one request; headers by keyword, `Host` and the token as an honest client sends them."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        told = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", **headers}
        told["Accept"] = "application/json, text/event-stream"
        connection.request(method, path, body, {name: value for name, value in told.items() if value})
        answer = connection.getresponse()
        found = answer.status, answer.read().decode()
        connection.close()
        return found

    @asynccontextmanager
    async def client(self, mode: Mode = "auto") -> AsyncGenerator[Client]:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with httpx2.AsyncClient(headers=headers, timeout=PATIENCE) as web:
            url = f"http://127.0.0.1:{self.port}/mcp"
            async with Client(streamable_http_client(url, http_client=web), mode=mode) as client:
                yield client

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(END_SECONDS)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    repository = make_repository(tmp_path_factory.mktemp("web") / "w", (STAND_INS / "honest.py").read_text("utf-8"))
    (repository / ".autoresearch").mkdir()
    (repository / ".autoresearch" / "data").symlink_to(data)
    return repository


@pytest.fixture(scope="module")
def web(workspace: Path) -> Iterator[Web]:
    started = Web(workspace)
    with started.process:
        yield started
        started.process.kill()


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error and answer.structured_content, answer.content
    return answer.structured_content


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ({"Authorization": ""}, 401, "Send the header `Authorization: Bearer TOKEN`"),
        ({"Authorization": "Bearer nonsense"}, 401, "Bearer TOKEN"),
        ({"Authorization": "Basic dXNlcjpwYXNz"}, 401, "Bearer TOKEN"),
        ({"Host": "evil.example"}, 421, "--allow-host evil.example"),
        ({"Host": "127.0.0.1.evil.example"}, 421, "is not called"),
        ({"Origin": "http://evil.example"}, 403, "may not call"),
        ({"Origin": "null"}, 403, "may not call"),
        ({"Content-Length": str(100 << 20)}, 413, "larger than"),
    ],
)
def test_a_stranger_is_told_what_is_wrong(web: Web, headers: dict[str, str], status: int, words: str) -> None:
    found, body = web.ask(**headers)
    assert (found, words in body) == (status, True), body


def test_a_body_that_grows_without_saying_so_is_cut(web: Web) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE) as wire:
        head = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {web.token}\r\n"
        wire.sendall(f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        sent = 0
        try:
            while sent < 100 << 20:
                wire.sendall(chunk)
                sent += 65536
        except OSError:
            assert sent < 4 * MAX_BODY  # it hung up on us
        assert sent < 100 << 20 or b" 413 " in wire.recv(100)


async def test_a_body_that_comes_too_slowly_is_given_up() -> None:
    told: list[Any] = []

    async def never() -> Any:
        await anyio.sleep_forever()

    async def note(message: Any) -> None:
        told.append(message)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nothing whole has arrived")

    scope = {"type": "http", "path": "/mcp", "headers": [(b"host", b"localhost")]}
    with anyio.fail_after(PATIENCE):
        await Gate(app, None, [], body_seconds=0.05)(scope, never, note)
    assert told[0]["status"] == 408


def test_health_is_open_and_discovery_finds_no_issuer(web: Web) -> None:
    status, body = web.ask("", "/health", "GET", Authorization="")
    assert status == 200 and json.loads(body)["status"] == "ok"
    assert web.ask("", "/.well-known/oauth-protected-resource", "GET", Authorization="")[0] == 404


async def test_a_run_ends_with_its_score_whatever_happens_around_it(web: Web) -> None:
    async with web.client() as one, web.client("legacy") as other:
        assert (await call(one, "run_experiment", description="baseline", wait_seconds=0))["status"] == "running"
        twice = await other.call_tool("run_experiment", {"description": "mine"})
        assert twice.is_error and "An experiment is running" in str(twice.content)
        half = [socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE) for _ in range(200)]
        for wire in half:
            wire.sendall(b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9999\r\n\r\n{")
        for _ in range(5):
            assert web.ask(Authorization="Bearer nonsense")[0] == 401
        for number in ("..%2f..%2ftoken", "1/../../token", "%2e%2e%2ftoken", "-1", "1;ls"):
            with pytest.raises(MCPError):
                await other.read_resource(f"autoresearch://experiments/{number}/log")
        here, there = await call(one, "status"), await call(other, "status")
        for changing in ("running", "environment"):
            del here[changing], there[changing]
        assert here == there
        done = await call(other, "wait_experiment", wait_seconds=100)
        assert (done["experiment"], done["verdict"]) == (1, "baseline")
        for wire in half:
            wire.close()
        assert (await call(one, "history"))["total"] == 1


def test_a_server_that_is_ended_in_the_middle_of_a_call_leaves_the_run_alone(web: Web, workspace: Path) -> None:
    web.ask(HELLO)
    assert web.end() == 0
    after = Web(workspace, budget="300")  # the port of the first one may not be free yet: any will do

    async def end(progress: float, total: float | None, message: str | None) -> None:
        after.process.send_signal(signal.SIGTERM)

    async def ended_while_waiting() -> None:
        with pytest.raises(BaseException):  # noqa: B017 - the connection breaks, in one of many ways
            async with after.client() as client:
                arguments = {"description": "again", "wait_seconds": 100}
                await client.call_tool("run_experiment", arguments, progress_callback=end)

    with after.process:
        anyio.run(ended_while_waiting)
        assert after.process.wait(END_SECONDS) == 0
    last = Web(workspace, "--no-token")
    with last.process:
        assert last.ask("", "/health", "GET", Authorization="")[0] == 200 and "no token" in last.said

        async def cancel() -> None:
            async with Client(f"http://127.0.0.1:{last.port}/mcp") as client:
                assert (await call(client, "status"))["phase"] == "running"
                assert (await call(client, "cancel_experiment", reason="enough"))["status"] == "cancelled"

        anyio.run(cancel)
        assert last.end() == 0


def test_the_token_is_made_once_and_read_by_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "new" / "token"
    first = Bearer(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and str(file) in first.where
    token = file.read_text(encoding="ascii").strip()
    assert Bearer(file).opens(f"Bearer {token}") and first.opens(f"bearer {token}")
    assert not first.opens(f"Bearer {token[:-1]}") and not first.opens("Bearer ") and not first.opens("")
    file.chmod(0o640)
    with pytest.raises(Unavailable, match="chmod 600"):
        Bearer(file)
    monkeypatch.setenv("AUTORESEARCH_TOKEN", "short")
    with pytest.raises(Unavailable, match="fewer than 16"):
        Bearer(file)
    monkeypatch.setenv("AUTORESEARCH_TOKEN", "a-token-of-enough-letters")
    assert Bearer(file).opens("Bearer a-token-of-enough-letters")


def test_a_server_does_not_stand_open_to_others() -> None:
    for told in ("127.0.0.1:1", "localhost:1", "[::1]:1", "1"):
        door(Address(told), None)
    for told in ("0.0.0.0:1", "192.0.2.1:1", "[::]:1"):
        with pytest.raises(Unavailable, match="can be reached by others"):
            door(Address(told), None)
    for told in ("host", "host:port", "host:99999"):
        with pytest.raises(Unavailable, match="is no address"):
            Address(told)


def test_a_port_in_use_is_one_sentence() -> None:
    with Address("127.0.0.1:0").bind() as taken, pytest.raises(Unavailable, match="cannot be listened on"):
        Address(f"127.0.0.1:{taken.getsockname()[1]}").bind()
