"""`autoresearch call` against real servers: one that it starts, one over HTTP, and one that it cannot speak to."""

import io
import json
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from mcp import Client, StdioServerParameters
from mcp_types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, PROTOCOL_VERSION_META_KEY
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from server.cli import main
from server.cli.call import Exit
from server.clients.http_call import META, PROTOCOL, HttpServer
from server.locks import lock_holder
from tests.integration.test_http import Web
from tests.support.polling import until
from tests.support.repositories import QUICK, UNGUARDED, make_repository

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PATCH = "<<<<<<< SEARCH\nRATE = 1e-6\n=======\nRATE = 1e-5\n>>>>>>> REPLACE\n"
OPTIONS = ("--profile", "smoke", "--tag", "t1", *UNGUARDED)
Call = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "work", QUICK)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Make a call in a workspace: exit code, the JSON of stdout, and stderr."""

    def made(workspace: Path, *words: str) -> tuple[int, Any, str]:
        with pytest.raises(SystemExit) as ended:
            main(["call", "--workspace", str(workspace), *words])
        told = capsys.readouterr()
        return int(ended.value.code or 0), json.loads(told.out) if told.out else None, told.err

    return made


@contextmanager
def listening(workspace: Path, hasty: bool = False) -> Generator[Web]:
    web = Web(workspace, hasty=hasty)
    try:
        yield web
    finally:
        web.process.terminate()
        web.process.communicate()


def test_where_no_server_works_one_is_started_for_the_call(
    workspace: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(PATCH.encode())))
    code, told, said = call(workspace, "apply_patch", "patch=@-", "--", *OPTIONS)
    assert code == Exit.REFUSED and "no baseline" in told["error"] and "no baseline" in said


def test_a_server_over_http_is_found_by_its_workspace(workspace: Path, call: Call) -> None:
    with listening(workspace) as web:
        code, told, _ = call(workspace, "read_train", "start_line=2", "end_line=2")
        assert (code, told["first_line"], told["last_line"]) == (Exit.ANSWERED, 2, 2)
        code, told, said = call(workspace, "keep", "--json", '{"reason": "x"}')
        assert code == Exit.REFUSED and "keep is refused" in told["error"] and "keep is refused" in said
        url = ("--url", f"http://127.0.0.1:{web.port}/mcp")
        assert call(workspace.parent, "status", *url, "--token", web.token)[0] == Exit.ANSWERED
        code, told, said = call(workspace.parent, "status", *url, "--token", "x" * 32)
        assert code == Exit.UNREACHABLE and told is None and "Give its token with --token" in said
    code, told, said = call(workspace, "status", *url)
    assert code == Exit.UNREACHABLE and "cannot be reached" in said and "serve --http" in said


def test_a_server_that_is_just_starting_is_waited_for(workspace: Path, call: Call) -> None:
    with listening(workspace, hasty=True):
        until(lambda: lock_holder(workspace) is not None)
        code, told, said = call(workspace, "read_train", "start_line=2", "end_line=2")
        assert code == Exit.ANSWERED, said
        assert told["first_line"] == 2


def test_what_a_server_tells_of_a_run_meanwhile_comes_before_its_answer(workspace: Path) -> None:
    told = list[str]()
    with listening(workspace) as web:
        server = HttpServer(f"http://127.0.0.1:{web.port}/mcp", web.token)
        arguments = {"description": "the baseline", "wait_seconds": 300}
        result = server.request("tools/call", {"name": "run_experiment", "arguments": arguments}, told.append)
    assert result["structuredContent"]["status"] == "finished" and told


def test_the_names_on_the_wire_are_those_of_the_protocol() -> None:
    names = (CLIENT_INFO_META_KEY, CLIENT_CAPABILITIES_META_KEY, PROTOCOL_VERSION_META_KEY)
    assert all(name.startswith(META) for name in names) and PROTOCOL in MODERN_PROTOCOL_VERSIONS


@pytest.mark.slow
def test_a_server_of_another_client_is_named_with_the_next_step(workspace: Path, call: Call) -> None:
    async def beside() -> tuple[int, Any, str]:
        arguments = ["-E", "-P", "-m", "server", "--workspace", str(workspace), *OPTIONS]
        async with Client(StdioServerParameters(command=sys.executable, args=arguments, cwd=ROOT)):
            return await anyio.to_thread.run_sync(call, workspace, "status")

    code, told, said = anyio.run(beside)
    assert code == Exit.UNREACHABLE and told is None
    assert "over stdio" in said and "study t1" in said and "serve --http" in said


def test_a_misspelt_call_starts_nothing(workspace: Path, call: Call) -> None:
    code, told, said = call(workspace, "read_train", "start=1")
    assert code == Exit.MISSPELT and told is None and "start_line" in said
    assert not (workspace / ".autoresearch").exists()


@pytest.mark.slow
def test_why_no_server_starts_is_said_once(call: Call, workspace: Path) -> None:
    (workspace / "program.md").write_text("---\nno_such_field: 1\n---\n", encoding="utf-8")
    code, told, said = call(workspace, "status")
    assert (code, told) == (Exit.UNREACHABLE, None) and "No server could be started for this call" in said
    assert "no_such_field" not in said  # the server itself has said that, to the same terminal


def test_a_call_without_a_tool_lists_them(call: Call, tmp_path: Path) -> None:
    code, told, said = call(tmp_path)
    assert (code, told) == (Exit.MISSPELT, None) and "Name a tool" in said and "run_experiment" in said
