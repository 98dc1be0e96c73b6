"""Whatever a client writes on stdin that asks for an answer gets one, also from a server that does not start."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError

from server.api.app import start
from server.api.json_rpc import MAX_LINE, Line, long_line, read_line
from server.api.stdio import StdioServer
from tests.support.polling import PATIENCE

_SERVE = "import anyio; from server.api.stdio import StdioServer; anyio.run(StdioServer('s').run_stdio_async)"
_SLOW = """
import anyio
from server.api.stdio import StdioServer
server, ended = StdioServer('s'), anyio.Event()
server.at_end = ended.set
@server.tool()
async def slow() -> str:
    await ended.wait()
    await anyio.sleep(0.2)
    return "done"
anyio.run(server.run_stdio_async)
"""
_HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


def request(**more: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping", **more})


def error(told: Line) -> tuple[object, int]:
    """The id and the code of the one answer to a line that is not handled."""
    assert not told.text
    (answer,) = told.answers
    return answer["id"], answer["error"]["code"]


@pytest.mark.parametrize(
    "line",
    [
        request(),
        request(id="a", params={"text": "né 🐛"}),
        request(id=0),
        json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized", "id": None}),
        json.dumps({"jsonrpc": "2.0", "id": 1, "result": {}}),
        json.dumps({"jsonrpc": "2.0", "method": "tools/call"}),
        json.dumps({"jsonrpc": "2.0", "method": "tools/call", "params": []}),
    ],
)
def test_a_message_is_handled_as_it_is(line: str) -> None:
    told = read_line(f"{line}\r\n".encode())
    assert (json.loads(told.text), told.answers) == (json.loads(line), [])


def test_a_byte_order_mark_is_dropped() -> None:
    assert read_line(b"\xef\xbb\xbf" + request().encode() + b"\n") == (request(), [])


@pytest.mark.parametrize("half", ["\\ud83d", "\\UDC00".lower(), "\\uD83D"])
def test_half_of_a_surrogate_pair_becomes_the_replacement_character(half: str) -> None:
    line = request(params={"text": "HERE", "whole": "🐛"}).replace("HERE", half)
    told = read_line(line.encode())
    assert not told.answers
    assert json.loads(told.text)["params"] == {"text": "\ufffd", "whole": "🐛"}


def test_an_empty_line_is_nothing() -> None:
    assert read_line(b" \r\n") == ("", [])


@pytest.mark.parametrize(
    "line", [b"hello\n", b'{"id": 1', b"\xff\xfe{\0}\0", b"[" * 100_000, b'{"a": %s}' % (b"1" * 5000)]
)
def test_what_is_no_json_is_a_parse_error(line: bytes) -> None:
    assert error(read_line(line)) == (None, -32700)


@pytest.mark.parametrize(
    ("line", "request_id", "code"),
    [
        (request(id=None), None, -32600),
        (request(id=True), None, -32600),
        (request(id=1.5), 1.5, -32600),
        (request(id=[1]), None, -32600),
        (request(jsonrpc="1.0"), 1, -32600),
        (request(method=7), 1, -32600),
        ('{"jsonrpc": "2.0", "id": 1}', 1, -32600),
        ('"hello"', None, -32600),
        ("[]", None, -32600),
        (request(params=[1]), 1, -32602),
    ],
)
def test_a_request_that_is_none_is_answered_with_its_id(line: str, request_id: object, code: int) -> None:
    assert error(read_line(line.encode())) == (request_id, code)


@pytest.mark.parametrize("request_id", [1, "a", -3])
@pytest.mark.parametrize(
    "line",
    [
        '{"id": ID, "method": "x", "params": {"n": LONG}}',
        '{"method": "x", "id": ID, "params": {"n": DEEP}}',
        '{"method": "x", "params": {"n": DEEP}, "id": ID}',
        '{"jsonrpc": "2.0", "method": "x", "params": {"id": 9, "s": "\\"id\\": 8,"}, "id": ID,}',
        '{"jsonrpc": "2.0", "id": ID, "method": "x", "params": {"id": 9, "s": "cut \\"id',
        '{"method": "id", "params": ["id", {"id": 9}], "id" : ID , "cut": "\\',
    ],
)
def test_a_message_that_is_no_json_is_answered_with_its_id(line: str, request_id: object) -> None:
    for name, text in {"LONG": "1" * 5000, "DEEP": "[" * 100_000 + "]" * 100_000, "ID": json.dumps(request_id)}.items():
        line = line.replace(name, text)
    assert error(read_line(line.encode())) == (request_id, -32700)


@pytest.mark.parametrize("arguments", ["{}", "", [], '{"limit": 2}', '{"text": "a\tb"}'])
def test_arguments_are_the_object_that_is_meant(arguments: object) -> None:
    told = read_line(request(method="tools/call", params={"name": "history", "arguments": arguments}).encode())
    meant: object = json.loads(arguments, strict=False) if arguments and isinstance(arguments, str) else {}
    assert not told.answers and json.loads(told.text)["params"]["arguments"] == meant


@pytest.mark.parametrize("params", [None, {}, {"name": None}, {"name": ""}, {"name": 7, "arguments": {}}])
def test_a_call_of_no_tool_is_told_where_the_names_are(params: object) -> None:
    told = read_line(request(method="tools/call", params=params).encode())
    assert error(told) == (1, -32602) and "tools/list" in told.answers[0]["error"]["message"]


@pytest.mark.parametrize(("method", "key"), [("prompts/get", "name"), ("resources/read", "uri")])
def test_a_question_about_nothing_is_told_where_the_names_are(method: str, key: str) -> None:
    told = read_line(request(method=method, params={key: None}).encode())
    assert error(told) == (1, -32602) and f"params.{key}" in told.answers[0]["error"]["message"]
    assert read_line(request(method=method, params={key: "x"}).encode()).text


def test_every_message_of_a_line_is_answered() -> None:
    told = read_line(f"{request()} {request(id='b')}".encode())
    assert not told.text and [answer["id"] for answer in told.answers] == [1, "b"]


@pytest.mark.parametrize("raw", ["\t", "\0", "\x1f"])
def test_a_control_character_in_a_string_is_taken_as_it_is(raw: str) -> None:
    told = read_line(request(params={"text": "HERE"}).replace("HERE", f"a{raw}b").encode())
    assert not told.answers and json.loads(told.text)["params"] == {"text": f"a{raw}b"}


BODIES: list[tuple[bytes, object, int]] = [
    (request(id=None).encode(), None, -32600),
    (request(id=1.5).encode(), 1.5, -32600),
    (request(params=[]).encode(), 1, -32602),
    (f"[{request()}]".encode(), 1, -32600),
    (request(params={"n": 0}).replace("0}", "0,}").encode(), 1, -32700),
    (b"", None, -32700),
    (b"hello", None, -32700),
]


async def test_a_body_is_answered_as_a_line_is() -> None:
    app = StdioServer("s").streamable_http_app(
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False)
    )
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    transport = httpx2.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx2.AsyncClient(transport=transport, headers=headers) as web:
        for body, request_id, code in BODIES:
            told = await web.post("http://localhost/mcp", content=body)
            assert told.status_code == 400, body
            assert (told.json()["id"], told.json()["error"]["code"]) == (request_id, code), body
        hello = request(method="initialize", params=_HELLO).replace('"test"', '"t\\ud83d"').encode()
        for body in (hello, b"\xef\xbb\xbf" + hello, hello.replace(b"t\\ud83d", b"\xff\t")):
            told = await web.post("http://localhost/mcp", content=body)
            assert told.status_code == 200 and '"result"' in told.text, told.text


def test_every_request_of_a_batch_is_answered() -> None:
    batch = f'[{request()}, {request(id="b")}, {{"jsonrpc": "2.0", "method": "notifications/initialized"}}]'
    assert [answer["id"] for answer in read_line(batch.encode()).answers] == [1, "b"]


@pytest.mark.parametrize(
    ("start", "end", "request_id"),
    [
        (b'{"jsonrpc":"2.0","id":7,"method":"x"', b'"}}\n', 7),
        (b'{"id": "a", "method": "x"', b'"}}\n', "a"),
        (b'{"method":"x","params":{"id":3', b'"},"jsonrpc":"2.0","id":8}\n', 8),
        (b'{"method":"x","params":{"id":3', b'"},"id":8, "jsonrpc":"2.0"}\n', 8),
        (b'{"method":"x","params":{"id":3', b'"id":3}}\n', None),
        (b'{"method":"x","id":8,"params":{"id":3', b'"id":3}}\n', 8),
        (b'{"params":{"id":3},"id":8,"more":{"id":3', b'"id":3}}\n', 8),
        (b'{"params":{"id":3', b'},"id":8,"method":"x"}\n', 8),
    ],
)
def test_a_line_that_is_too_long_is_answered_with_its_id(start: bytes, end: bytes, request_id: object) -> None:
    assert long_line(start, end)["id"] == request_id


def test_a_server_answers_each_of_its_lines() -> None:
    """A real one, over real pipes, with lines that the SDK would drop among those that it handles."""
    lines = [
        request(id=0, method="initialize", params=_HELLO).encode(),
        b'{"jsonrpc": "2.0", "method": "notifications/initialized"}',
        b"\xef\xbb\xbf" + request().encode(),
        b"hello",
        request(id=2, params={"x": "\ud83d"}).encode(),
        request(id=None).encode(),
        b'{"jsonrpc":"2.0","id":3,"method":"ping","params":{"x":"' + b"x" * MAX_LINE + b'"}}',
        b'{"jsonrpc":"2.0","id":4,"method":"ping","params":{"x":' + b"[" * 400 + b"]" * 400 + b"}}",
        request(id=5).encode(),
    ]
    sent = b"\n".join(lines) + b"\n"
    done = subprocess.run([sys.executable, "-c", _SERVE], input=sent, capture_output=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    codes = {(told["id"], told.get("error", {}).get("code")) for told in answers}
    refused = {(None, -32700), (None, -32600), (3, -32600), (4, -32600)}
    assert codes == refused | {(number, None) for number in (0, 1, 2, 5)}
    assert b"not JSON" in done.stderr


@pytest.mark.parametrize(
    ("options", "why"), [([], "There is no program.md"), (["--no-such-option"], "--no-such-option")]
)
def test_a_server_that_does_not_start_tells_its_client_why(tmp_path: Path, options: list[str], why: str) -> None:
    command = [sys.executable, "-m", "server", "--workspace", str(tmp_path), *options]
    sent = f"{request(id='d', method='server/discover')}\n{request(method='initialize', params=_HELLO)}\n"
    done = subprocess.run(command, input=sent, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [told["id"] for told in answers] == ["d", 1]
    assert all(why in told["error"]["message"] for told in answers)
    assert why in done.stderr


def test_a_server_that_a_defect_stops_tells_its_client_so() -> None:
    program = "from server.cli import entry, serve\ndef failing(): 1 // 0\n"
    program += "serve.serve = failing\nentry.main(['serve'])"
    done = subprocess.run(
        [sys.executable, "-c", program], input=request() + "\n", capture_output=True, text=True, check=False
    )
    told = json.loads(done.stdout)
    assert told["id"] == 1 and "a bug in autoresearch: ZeroDivisionError" in told["error"]["message"]
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_requests_that_came_before_stdin_closed_are_answered() -> None:
    """As `printf ... | autoresearch serve` sends them; one that waits is told that nobody will ask again."""
    lines = [
        request(id=0, method="initialize", params=_HELLO),
        json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        *(request(id=number, method="tools/call", params={"name": "slow"}) for number in range(1, 9)),
        request(id=9, method="tools/call", params={"name": "slow"}),
        json.dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 9}}),
        request(id=10, method="tools/list"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", _SLOW], input="\n".join(lines), capture_output=True, text=True, timeout=PATIENCE
    )
    answers = {told["id"]: told for told in map(json.loads, done.stdout.splitlines())}
    assert set(answers) == {*range(9), 10}
    assert all(answers[number]["result"]["content"][0]["text"] == "done" for number in range(1, 9))


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [("end", {}, "The prompts are: start"), ("start", {"x": "1"}, "no argument x. It has: tag")],
)
def test_an_unknown_prompt_is_refused_with_the_names(name: str, arguments: dict[str, str], words: str) -> None:
    server = StdioServer("s")
    server.prompt()(start)
    with pytest.raises(MCPError, match=words) as refused:
        anyio.run(server.get_prompt, name, arguments)
    assert refused.value.code == -32602
    assert anyio.run(server.get_prompt, "start", {"tag": "t1"})
