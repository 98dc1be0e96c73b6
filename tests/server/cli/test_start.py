"""What a server loads before its first answer: a slow import shows here, on a machine of any speed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from server.cli.scaffold import create

pytestmark = pytest.mark.integration

_NEEDLESS = {"matplotlib", "torch", "numpy", "optuna", "pyarrow", "rich.console"}
_OF_THE_SDK = {  # it imports them wherever it is used; but not this server
    "cryptography",
    "httpx2",
    "mcp.client.session",
    "mcp.server.streamable_http",
    "mcp_types._v2026_07_28",  # the client speaks another version
    "starlette.routing",
    "uvicorn",
}
_OURS = {
    "server.adopt",
    "server.api.http",
    "server.cli.adopt",
    "server.cli.control",
    "server.cli.demo",
    "server.cli.doctor",
    "server.cli.library",
    "server.cli.reports",
    "server.cli.setup",
    "server.clients",
    "server.foreign.find",
    "server.reporting.chart",
    "server.runs.engines.slurm",
}
_BY_THE_SDK = "import mcp.server.mcpserver"
_SERVE = "from server.cli import main; main(['serve', '--profile', 'cpu', '--tag', 'night'])"
_REPORT = """
import atexit, sys
def run():
    return [name for name, module in sys.modules.items() if type(module).__name__ != "_LateModule"]
atexit.register(lambda: sys.stderr.write("loaded: " + " ".join(run())))
"""
# The stand-ins that an `except` clause names: there, Python knows classes alone.
_CAUGHT = """
import ast, atexit, sys
from pathlib import Path
def caught(module):
    late = {name for name, value in list(vars(module).items()) if type(value).__name__ == "Late"}
    tree = ast.parse(Path(module.__file__).read_bytes() if late else "")
    handlers = [node.type for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.type]
    return late & {name.id for type in handlers for name in ast.walk(type) if isinstance(name, ast.Name)}
def every():
    return [f"{name}:{one}" for name, module in list(sys.modules.items()) for one in caught(module)]
atexit.register(lambda: sys.stderr.write("loaded: " + " ".join(every())))
"""
_ADAPTERS = """
import atexit, sys
def made():
    import mcp_types._types
    adapters = {name: value for name, value in vars(mcp_types._types).items() if type(value).__name__ == "TypeAdapter"}
    return [name for name, value in adapters.items() if value.pydantic_complete]
atexit.register(lambda: sys.stderr.write("loaded: " + " ".join(made())))
"""
_MESSAGES = """
from pydantic import TypeAdapter
adapter = TypeAdapter[int | str](int | str)
"""
_UNION = """
import sys
from server.late import import_unmade
sys.path.insert(0, ".")
import_unmade("messages")
from messages import adapter
assert not adapter.pydantic_complete
assert adapter.validate_python("7") == "7" and adapter.json_schema()["anyOf"] and adapter.pydantic_complete
assert __import__("pydantic").TypeAdapter is type(adapter)
"""
_SEALED = """
from server.late import import_late
import_late("cryptography")
from server.api.stdio import LateCodec
from mcp.server.request_state import InvalidRequestState
assert not [name for name in run() if name.startswith("cryptography")]
codec = LateCodec()
sealed = codec.seal(b"told")
assert codec.unseal(sealed) == b"told"
try:
    codec.unseal(sealed[:-1] + ("A" if sealed[-1] != "A" else "Q"))
except InvalidRequestState:
    pass
else:
    raise SystemExit("a forged token was opened")
"""
_CALLS: tuple[dict[str, Any], ...] = (
    {
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    },
    {"method": "notifications/initialized"},
    {"id": 2, "method": "tools/list"},
    {"id": 3, "method": "tools/call", "params": {"name": "status", "arguments": {}}},
)


def loaded(program: str, folder: Path, sent: str = "") -> tuple[set[str], dict[int, Any]]:
    """The modules that `program` has loaded at its end, and its answers by their number."""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(sent)
        process.stdin.flush()
        answers: dict[int, Any] = {}
        while len(answers) < sent.count('"id"'):
            told = json.loads(process.stdout.readline())
            if "id" in told:
                answers[told["id"]] = told["result"]
        process.stdin.close()
        told, _, modules = process.stderr.read().rpartition("loaded: ")
        assert process.wait() == 0, told
        return set(modules.split()), answers


def test_a_server_answers_at_once_without_what_it_does_not_need(tmp_path: Path) -> None:
    create(tmp_path / "night")
    calls = "".join(json.dumps({"jsonrpc": "2.0", **call}) + "\n" for call in _CALLS)
    modules, answers = loaded(_REPORT + _SERVE, tmp_path / "night", calls)
    assert "status" in {tool["name"] for tool in answers[2]["tools"]}
    assert not answers[3].get("isError")
    assert "server.study.study" in modules
    by_the_sdk, _ = loaded(_REPORT + _BY_THE_SDK, tmp_path)
    assert by_the_sdk >= _OF_THE_SDK, "what the SDK does not import need not be imported late"
    assert not (_NEEDLESS | _OURS | _OF_THE_SDK) & modules


def test_adapters_that_nobody_asks_are_not_made(tmp_path: Path) -> None:
    create(tmp_path / "night")
    calls = "".join(json.dumps({"jsonrpc": "2.0", **call}) + "\n" for call in _CALLS)
    made, answers = loaded(_ADAPTERS + _SERVE, tmp_path / "night", calls)
    assert not answers[3].get("isError")
    assert not made
    by_the_sdk, _ = loaded(_ADAPTERS + "import mcp_types", tmp_path)
    assert by_the_sdk, "where the SDK makes none, LateAdapters have no use"
    (tmp_path / "messages.py").write_text(_MESSAGES, encoding="utf-8")
    loaded(_REPORT + _UNION, tmp_path)


def test_no_except_clause_of_the_sdk_names_what_is_imported_late(tmp_path: Path) -> None:
    create(tmp_path / "night")
    calls = "".join(json.dumps({"jsonrpc": "2.0", **call}) + "\n" for call in _CALLS)
    caught, _ = loaded(_CAUGHT + _SERVE, tmp_path / "night", calls)
    assert caught == {"mcp.server.request_state:InvalidTag"}, "LateCodec resolves this one before it can be raised"


def test_a_sealed_state_is_opened_again_and_a_forged_one_refused(tmp_path: Path) -> None:
    told, _ = loaded(_REPORT + _SEALED, tmp_path)
    assert "cryptography.exceptions" in told
