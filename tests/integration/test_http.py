"""The server over HTTP, as strangers, slow writers and two honest clients meet it: real sockets, one real process."""

import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from server.api.http.auth import MAX_BODY, AuthMiddleware
from server.paths import Home
from server.watch.access import PageAccess
from tests.support.polling import PATIENCE, stretched
from tests.support.repositories import QUICK, UNGUARDED, make_quick

END_SECONDS = 2.0
Mode = Literal["auto", "legacy"]
JSON = {"Content-Type": "application/json"}
HELLO = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"})


class Web:
    """`autoresearch serve --http` as a process."""

    def __init__(
        self, workspace: Path, *options: str, budget: str = "3", descriptors: int = 1024, hasty: bool = False
    ) -> None:
        arguments = ["--workspace", str(workspace), "--tag", "t1", "--profile", "smoke", "--budget", budget]
        self.workspace = workspace
        self.process = subprocess.Popen(
            [
                "sh",
                "-c",
                f'ulimit -n {descriptors}; exec "$@"',
                "sh",
                sys.executable,
                "-m",
                "server",
                *arguments,
                *UNGUARDED,
                "--http",
                "127.0.0.1:0",
                *options,
            ],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            cwd=Path(__file__).parents[2],
        )
        if not hasty:
            self.wait()

    def wait(self) -> None:
        """Until the server listens."""
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
        found = answer.status, answer.read().decode(errors="replace")
        connection.close()
        return found

    @asynccontextmanager
    async def client(self, mode: Mode = "auto", name: str = "") -> AsyncGenerator[Client]:
        headers = {"Authorization": f"Bearer {self.token}{name}"}
        async with httpx2.AsyncClient(headers=headers, timeout=PATIENCE) as web:
            url = f"http://127.0.0.1:{self.port}/mcp"
            async with Client(streamable_http_client(url, http_client=web), mode=mode) as client:
                yield client

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(stretched(END_SECONDS))


def make_workspace(folder: Path, data: Path) -> Path:
    return make_quick(folder / "w", data, QUICK.replace("STEPS = 5", "STEPS = 150"))  # a second and a half


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    return make_workspace(tmp_path_factory.mktemp("web"), data)


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


@pytest.mark.slow
def test_the_page_has_a_path_and_a_token_of_its_own_beside_the_agents(web: Web) -> None:
    access = PageAccess.of(Home(web.workspace))
    status, text = web.ask("", f"{access.prefix}/", "GET", Authorization="")
    assert status == 200 and "<title>autoresearch</title>" in text
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=PATIENCE)
    summary = f"{access.prefix}/api/summary"
    assert web.ask("", summary, "GET")[0] == 401  # the agents' token is not the page's
    connection.request("POST", f"{access.prefix}/api/session", json.dumps({"token": access.token}), JSON)
    answer = connection.getresponse()
    answer.read()
    cookie = (answer.getheader("set-cookie") or "").partition(";")[0]
    assert answer.status == 200 and cookie
    status, text = web.ask("", summary, "GET", Authorization="", Cookie=cookie)
    assert status == 200 and json.loads(text)["study"]["tag"] == "t1"
    for view in ("report", "chart.png"):  # 503: nothing was run yet
        assert web.ask("", f"{access.prefix}/{view}", "GET", Authorization="", Cookie=cookie)[0] in (200, 503)
    assert web.ask("", summary, "GET", Cookie=cookie, Host="evil.example")[0] == 421
    assert web.ask("", summary, "GET", Cookie=cookie, Origin="http://127.0.0.1:1")[0] == 403
    assert web.ask(HELLO, Authorization="", Cookie=cookie)[0] == 401  # nor is the page's cookie theirs
    connection.close()


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ({"Authorization": ""}, 401, "Send the header `Authorization: Bearer TOKEN`"),
        ({"Authorization": "Bearer nonsense"}, 401, "Bearer TOKEN"),
        ({"Authorization": "Basic dXNlcjpwYXNz"}, 401, "Bearer TOKEN"),
        ({"Host": "evil.example"}, 421, "--allow-host evil.example"),
        ({"Host": "127.0.0.1.evil.example"}, 421, "does not answer to the name"),
        ({"Host": "[localhost]evil.example"}, 421, "does not answer to the name"),
        ({"Host": "localhost:1@evil.example"}, 421, "does not answer to the name"),
        ({"Origin": "http://evil.example"}, 403, "may not call"),
        ({"Origin": "null"}, 403, "may not call"),
    ],
)
def test_a_stranger_is_told_what_is_wrong(web: Web, headers: dict[str, str], status: int, words: str) -> None:
    found, body = web.ask(**headers)
    assert (found, words in body) == (status, True), body


def test_a_slash_too_many_is_answered_and_redirected_nowhere(web: Web) -> None:
    proxied = {"Host": "localhost", "X-Forwarded-Proto": "https"}
    client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "one", "version": "1"}}
    hello = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client})
    assert web.ask(hello, "/mcp/", **proxied)[0] == web.ask(hello, "/mcp", **proxied)[0] == 200
    assert web.ask(path="/mcp/", **proxied, Authorization="")[0] == 401
    assert web.ask(path="/nowhere/", **proxied)[0] == web.ask(path="/", **proxied)[0] == 404


@pytest.mark.parametrize(("headers", "status"), [({}, 413), ({"Authorization": ""}, 401)])
def test_who_sends_far_too_much_hears_so(web: Web, headers: dict[str, str], status: int) -> None:
    assert web.ask(" " * (100 << 20), **headers)[0] == status


def test_a_body_that_grows_without_saying_so_is_cut(web: Web) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE) as wire:
        head = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {web.token}\r\n"
        wire.sendall(f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        sent = 0
        while sent < 4 * MAX_BODY:
            wire.sendall(chunk)
            sent += 65536
        assert b" 413 " in wire.recv(100)


async def test_a_body_that_comes_too_slowly_is_given_up() -> None:
    told: list[Any] = []

    async def never() -> Any:
        await anyio.sleep_forever()

    async def note(message: Any) -> None:
        told.append(message)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nothing whole has arrived")

    scope = {"type": "http", "path": "/mcp", "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1)}
    with anyio.fail_after(PATIENCE):
        await AuthMiddleware(app, None, [], told.append, body_seconds=0.05)(scope, never, note)
    assert told[0] == ("127.0.0.1", 1) and told[1]["status"] == 408


@pytest.mark.slow
async def test_a_crowd_of_strangers_keeps_nobody_out_and_uses_nothing_up(tmp_path: Path, data: Path) -> None:
    crowded = Web(make_workspace(tmp_path, data), descriptors=256)
    silence, half, slow = b"", b"GET /", b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
    with crowded.process, ExitStack() as stack:
        stack.callback(crowded.process.kill)
        async with crowded.client() as client:
            for number in range(600):
                wire = stack.enter_context(socket.create_connection(("127.0.0.1", crowded.port), timeout=PATIENCE))
                with suppress(OSError):  # hung up on already
                    wire.sendall((silence, half, slow)[number % 3])
                if number % 100 == 99:
                    assert (await call(client, "status"))["phase"] == "new"
                    assert crowded.ask("", "/health", "GET")[0] == 200
                    assert crowded.ask(Authorization="")[0] == 401
        assert crowded.end() == 0
        assert crowded.process.stderr and not crowded.process.stderr.read()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_name_behind_the_token_gives_a_client_a_lane_of_its_own(web: Web, mode: Mode) -> None:
    async with web.client(mode, "@ada") as ada, web.client(mode) as other:
        assert "shared by all clients of this name" in (await call(ada, "status"))["lanes"]["ada"]
        assert "lanes" not in await call(other, "status")
    assert web.ask(Authorization=f"Bearer {web.token}x@ada")[0] == 401


def test_health_is_open_and_discovery_finds_no_issuer(web: Web) -> None:
    status, body = web.ask("", "/health", "GET", Authorization="")
    assert status == 200 and json.loads(body)["status"] == "ok"
    assert web.ask("", "/.well-known/oauth-protected-resource", "GET", Authorization="")[0] == 404


@pytest.mark.slow
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
        done = await call(other, "wait_experiment", wait_seconds=300)
        assert (done["experiment"], done["verdict"]) == (1, "baseline")
        for wire in half:
            wire.close()
        assert (await call(one, "history"))["total"] == 1


@pytest.mark.slow
def test_a_server_that_is_ended_in_the_middle_of_a_call_leaves_the_run_alone(web: Web, workspace: Path) -> None:
    web.ask(HELLO)
    assert web.end() == 0
    after = Web(workspace, budget="300")  # the port of the first one may not be free yet: any will do

    async def end(progress: float, total: float | None, message: str | None) -> None:
        after.process.send_signal(signal.SIGTERM)

    async def ended_while_waiting() -> None:
        with pytest.raises(BaseException):  # noqa: B017 - the connection breaks, in one of many ways
            async with after.client() as client:
                arguments = {"description": "again", "wait_seconds": 300}
                await client.call_tool("run_experiment", arguments, progress_callback=end)

    with after.process:
        anyio.run(ended_while_waiting)
        assert after.process.wait(stretched(END_SECONDS)) == 0
    last = Web(workspace, "--no-token")
    with last.process:
        assert last.ask("", "/health", "GET", Authorization="")[0] == 200 and "no token" in last.said

        async def cancel() -> None:
            async with Client(f"http://127.0.0.1:{last.port}/mcp") as client:
                assert (await call(client, "status"))["phase"] == "running"
                assert (await call(client, "cancel_experiment", reason="enough"))["status"] == "cancelled"

        anyio.run(cancel)
        assert last.end() == 0
