"""The server under an account of its own: its unit, and what another account of the machine can do, as that account."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.cli.entry import app_of
from server.clients.service import Service
from server.runs.boundary import ANOTHER, SAME, UNKNOWN, boundary
from tests.integration.test_http import Web
from tests.support.repositories import git, make_quick

AGENT = 54321  # an account without a name
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another account")
# Other accounts cannot run a Python below /root.
PYTHON = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
TRIES = """
import json, os, sys, urllib.request
state, server, port, token = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
run = f"{state}/t1/runs/00001"
done = []

def tried(what, action):
    try:
        action()
        done.append(what)
    except OSError:
        pass

tried("list", lambda: os.listdir(state))
tried("read the token", lambda: open(f"{state}/token").read())
tried("read the ledger", lambda: open(f"{state}/t1/ledger.sqlite3", "rb").read())
tried("write the ledger", lambda: open(f"{state}/t1/ledger.sqlite3", "r+b"))
tried("write a result", lambda: open(f"{run}/result.json", "w"))
tried("swap train.py", lambda: open(f"{run}/train.py", "w"))
tried("move the state", lambda: os.rename(state, state + "2"))
tried("edit git's copy", lambda: open(f"{state}/../.git/refs/autoresearch-rows/t1/1", "w"))
tried("write the lock", lambda: open(f"{state}/../.git/autoresearch.lock", "w"))
tried("signal", lambda: os.kill(server, 0))
tried("read memory", lambda: open(f"/proc/{server}/mem", "rb").read(1))
tried("read the environment", lambda: open(f"/proc/{server}/environ", "rb").read())

session = {}

def post(method, params, **more):
    told = json.dumps({"jsonrpc": "2.0", "method": method, "params": params, **more}).encode()
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
               "Authorization": f"Bearer {token}", **session}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/mcp", told, headers)
    with urllib.request.urlopen(request, timeout=600) as answer:
        session.update({key: value for key, value in answer.headers.items() if key.lower() == "mcp-session-id"})
        return [line.removeprefix("data: ") for line in answer.read().decode().splitlines() if "jsonrpc" in line]

def call(tool, **arguments):
    told = post("tools/call", {"name": tool, "arguments": arguments}, id=2)
    return json.loads(told[-1])["result"]["structuredContent"]

info = {"name": "agent", "version": "1"}
post("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info}, id=1)
post("notifications/initialized", {})
status = call("status")
result = call("run_experiment", description="the baseline", wait_seconds=300)
after = call("status")
print(json.dumps([os.getuid(), done, status["phase"], result["verdict"], after["phase"], after["boundary"]]))
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other accounts may enter, as the service's home."""
    folder = Path(tempfile.mkdtemp(prefix="service-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@ROOT
@pytest.mark.thorough
def test_another_account_plays_the_loop_over_http_and_reaches_nothing_else(place: Path, data: Path) -> None:
    workspace = make_quick(place / "night", data)
    state = workspace / ".autoresearch"
    state.chmod(0o700)
    web = Web(workspace, budget="0.5")
    try:
        told = [str(state), str(web.process.pid), str(web.port), web.token]
        agent = [PYTHON, "-c", TRIES, *told]
        done = subprocess.run(agent, user=AGENT, group=AGENT, extra_groups=[], capture_output=True, text=True, cwd="/")
        assert done.returncode == 0, done.stderr
        account, reached, *loop = json.loads(done.stdout)
        assert (account, reached) == (AGENT, [])
        assert loop == ["new", "baseline", "idle", SAME], "root started the server: the test, too, is a shell of its"
    finally:
        web.end()
        if web.process.stderr:
            web.process.stderr.close()


@ROOT
def test_the_account_of_the_server_decides_which_boundary_holds(place: Path) -> None:
    waiting = ["sleep", "600"]
    for owner, mode, expected in ((AGENT, 0o755, ANOTHER), (AGENT, 0o777, UNKNOWN), (AGENT + 1, 0o755, UNKNOWN)):
        os.chown(place, owner, owner)
        place.chmod(mode)
        with subprocess.Popen(waiting, user=AGENT, group=AGENT, extra_groups=[], cwd="/") as server:
            found = boundary(place, server.pid)
            server.kill()
        assert found.word == expected and str(AGENT) in found.detail, found
    with subprocess.Popen(waiting) as server:
        assert boundary(place, server.pid).word == SAME
        server.kill()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd")
def test_the_unit_is_one_that_systemd_reads_without_a_complaint(tmp_path: Path) -> None:
    service = Service(tmp_path / "my 100% $night", "127.0.0.1:8765", "root")
    unit = tmp_path / service.unit_path.name
    # A path of this machine's in the place of what the service is to have.
    unit.write_text(service.unit().replace(str(service.workspace), str(tmp_path)), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, unit.name in done.stdout + done.stderr) == (0, False), done.stderr


def test_without_write_all_is_printed_and_nothing_is_done(repository: Path) -> None:
    git(repository, "mv", "train.py", "model.py")
    (repository / "program.md").write_text("---\neditable: model.py\n---\n", encoding="utf-8")
    git(repository, "commit", "--quiet", "--all", "--message", "another name")
    before = sorted(repository.rglob("*"))
    done = CliRunner().invoke(app_of(), ["install-service", "--workspace", str(repository)])
    if sys.platform != "linux":
        assert "launchd" in str(done.exception)
        return
    assert done.exit_code == 0, done.output
    for word in ("useradd --system", "--mode=0700", "clone --no-local", "NoNewPrivileges=yes", "--http 127.0.0.1:8765"):
        assert word in done.output, word
    assert "Nothing was changed" in done.output and sorted(repository.rglob("*")) == before
