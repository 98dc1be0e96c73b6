"""Run every scenario that needs no fixture tool against the real server, tasks-* against ours, and the Inspector.

Exit code 1 if anything failed that is not named below.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from server.cli.scaffold import create
from tests.conformance import packages
from tests.conformance.served import served

SERVER = [
    "server-initialize",
    "server-session-lifecycle",
    "server-stateless",
    "ping",
    "tools-list",
    "resources-list",
    "prompts-list",
    "dns-rebinding-protection",
    "caching",
    "http-header-validation",
    "sep-2164-resource-not-found",
    "server-sse-multiple-streams",
    "input-required-result-unsupported-methods",
]
TASKS = [
    "tasks-lifecycle",
    "tasks-capability-negotiation",
    "tasks-wire-fields",
    "tasks-request-state-removal",
    "tasks-request-headers",
    "tasks-dispatch-and-envelope",
    "tasks-mrtr-composition",
]
# Checks that we fail on purpose: {check: reason}. tasks-required-task-error and tasks-mrtr-input are not run: no tool
# of ours refuses clients without tasks, none asks for input in the middle of its work.
KNOWN = {
    "sep-2575-server-rejects-undeclared-capability": "wants the fixture tool test_missing_capability",
    "sep-2575-missing-capability-http-400": "wants the fixture tool test_missing_capability",
}
LIMIT = 120


def main() -> int:
    """Print a table; 1 if anything failed unexpectedly."""
    modules = packages.install(*packages.OFFICIAL)
    suite = modules / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "workspace"
        create(workspace)
        options = ["--workspace", str(workspace), "--tag", "c", "--profile", "smoke", "--budget", "1"]
        with served("server", *options, "--http", "127.0.0.1:0", "--no-token") as url:
            failed = [name for name in SERVER if not scenario(suite, url, name)]
        with served("tests.conformance.fixture") as url:
            failed += [name for name in TASKS if not scenario(suite, url, name)]
        failed += [name for name in INSPECTIONS if not inspection(modules, options, name)]
    print(f"{len(SERVER) + len(TASKS) + len(INSPECTIONS) - len(failed)} passed, {len(failed)} failed {failed or ''}")
    return bool(failed)


def scenario(suite: Path, url: str, name: str) -> bool:
    """Whether every check of a scenario passed, or failed for a known reason."""
    command = [str(packages.node() / "node"), str(suite), "server", "--url", url, "--scenario", name]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=LIMIT, check=False)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    failures = set(re.findall(r"\[([\w-]+) *\] FAILURE", plain))
    passed = re.search(r"Passed: (\d+/\d+)", plain)
    print(f"{name:<42} {passed[1] if passed else '-':>6}  {', '.join(sorted(failures))}", flush=True)
    if passed is None or (failures and failures - KNOWN.keys()):
        print(plain + done.stderr)
    return passed is not None and not failures - KNOWN.keys()


INSPECTIONS = {
    "tools/list": ["--strict"],
    "resources/list": [],
    "resources/templates/list": [],
    "prompts/list": [],
    "prompts/get": ["--prompt-name", "start", "--prompt-args", "tag=x"],
    "resources/read": ["--uri", "autoresearch://program"],
    "tools/call": ["--tool-name", "status"],
}


def inspection(modules: Path, options: list[str], method: str) -> bool:
    """Whether the Inspector accepts what the server says over stdio."""
    command = [str(packages.node() / "node"), str(modules / ".bin" / "mcp-inspector"), "--cli", "--format", "json"]
    done = subprocess.run(
        [*command, sys.executable, "-m", "server", *options, "--method", method, *INSPECTIONS[method]],
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT,
        check=False,
        env=packages.environment(),
    )
    fine = done.returncode == 0 and bool(json.loads(done.stdout or "0"))
    print(f"inspector {method:<32} {'ok' if fine else f'exit {done.returncode}'}", flush=True)
    if not fine:
        print(done.stdout + done.stderr)
    return fine


if __name__ == "__main__":
    sys.exit(main())
