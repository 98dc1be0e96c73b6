"""What the referee of a command adds to it: the time of an experiment, less that of the command itself.

    python benchmarks/task_overhead.py [--long 60] [--runs 3]

A command that computes for some seconds is measured through the real server, as a short experiment and as a long one.
It prints how long it ran by its own clock, from its first line on. The rest of the call is overhead: the commit, the
private copy of the files, the confinement, Python's start, and the verdict. The same command is run bare beside it.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters

from server.vcs.git_environment import init_repository

PROGRAM = """---
metric: {{name: ms}}
direction: lower
command: "{{python}} bench.py"
editable: [work.py]
metrics: {{own_seconds: {{weight: 0}}}}
budget_seconds: {budget}
---
# Make it faster
"""
BENCH = """import time
BEGUN = time.monotonic()
import work
end = time.monotonic() + work.SECONDS
while time.monotonic() < end:
    pass
taken = time.monotonic() - BEGUN
print(f"METRIC ms={taken * 1000:.3f}")
print(f"METRIC own_seconds={taken:.4f}")
"""


def make_workspace(folder: Path, seconds: float) -> None:
    folder.mkdir(parents=True)
    (folder / "program.md").write_text(PROGRAM.format(budget=max(10, round(seconds * 2))), encoding="utf-8")
    (folder / "bench.py").write_text(BENCH, encoding="utf-8")
    (folder / "work.py").write_text(f"SECONDS = {seconds}\n", encoding="utf-8")
    (folder / ".gitignore").write_text(".autoresearch/\n__pycache__/\n", encoding="utf-8")
    init_repository(folder, "Start")


async def measured(workspace: Path, runs: int) -> list[tuple[float, float]]:
    """Seconds of each run's call, and of the command by its own clock: the incumbent, measured again and again."""
    arguments = ["-m", "server", "--workspace", str(workspace), "--tag", "overhead"]
    found: list[tuple[float, float]] = []
    async with Client(StdioServerParameters(command=sys.executable, args=arguments)) as client:
        for run in range(runs + 1):
            begun = time.monotonic()
            answer = await client.call_tool("run_experiment", {"description": f"run {run}", "wait_seconds": 3600})
            taken, told = time.monotonic() - begun, answer.structured_content
            if answer.is_error or told is None or told["status"] != "finished":
                raise SystemExit(f"run {run}: {answer.content}")
            figures: dict[str, Any] = told["figures"]
            found.append((taken, figures["own_seconds"]))
    return found[1:]  # the first looks at the machine as well


def bare(workspace: Path) -> float:
    begun = time.monotonic()
    subprocess.run([sys.executable, "bench.py"], cwd=workspace, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", type=float, default=60.0, help="seconds of the long experiment")
    parser.add_argument("--runs", type=int, default=3, help="of each")
    options = parser.parse_args()
    load = f"load {os.getloadavg()[0]:.1f}"
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores, {load}")
    for name, seconds in (("short", 0.2), ("long", options.long)):
        with tempfile.TemporaryDirectory() as folder:
            workspace = Path(folder) / "workspace"
            make_workspace(workspace, seconds)
            whole, own = zip(*anyio.run(measured, workspace, options.runs), strict=True)
            overhead = statistics.median(one - two for one, two in zip(whole, own, strict=True))
            print(
                f"{name}: experiment {statistics.median(whole):.2f} s, command {statistics.median(own):.2f} s "
                f"({bare(workspace):.2f} s bare): overhead {overhead:.2f} s, {overhead / statistics.median(own):.1%}"
            )


if __name__ == "__main__":
    main()
