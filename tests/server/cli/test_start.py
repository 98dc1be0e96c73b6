"""What a server loads before its first answer: a slow import shows here, on a machine of any speed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from server.cli.scaffold import create

pytestmark = pytest.mark.integration

_NEEDLESS = {"matplotlib", "torch", "numpy", "uvicorn", "optuna", "pyarrow"}
_OURS = {
    "server.adopt",
    "server.api.http",
    "server.cli.demo",
    "server.cli.doctor",
    "server.clients",
    "server.foreign.find",
    "server.reporting.chart",
}
# The SDK imports uvicorn with its HTTP server, wherever it is used.
_BY_THE_SDK = "from mcp.server import MCPServer"
_SERVE = "from server.cli import main; main(['serve', '--profile', 'cpu', '--tag', 'night'])"
_REPORT = """
import atexit, sys
atexit.register(lambda: sys.stderr.write("loaded: " + " ".join(sys.modules)))
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
        return set(process.stderr.read().rpartition("loaded: ")[2].split()), answers


def test_a_server_answers_at_once_without_what_it_does_not_need(tmp_path: Path) -> None:
    create(tmp_path / "night")
    calls = "".join(json.dumps({"jsonrpc": "2.0", **call}) + "\n" for call in _CALLS)
    modules, answers = loaded(_REPORT + _SERVE, tmp_path / "night", calls)
    assert "status" in {tool["name"] for tool in answers[2]["tools"]}
    assert not answers[3].get("isError")
    assert "server.study.study" in modules
    by_the_sdk, _ = loaded(_REPORT + _BY_THE_SDK, tmp_path)
    assert not (_NEEDLESS | _OURS) & (modules - by_the_sdk)
