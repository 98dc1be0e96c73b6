"""How busy one slot is while a scripted agent thinks: with one lane, and with two.

    python benchmarks/pipeline.py [--seconds 20] [--runs 20] [--think 0.1]

The agent takes a share of a run to think before each patch. With one lane the slot waits for that; with two the agent
writes the next patch while the slot works on the last one, and `run_experiment` queues it. What a run costs beside its
time is measured first, with an agent that does not think; where the machine's load changes later, `busy` says more. The
runs sleep, so that they need no core, and their scores are always worse: each patch costs one run. Everything else is
real: client and server over stdio, git, supervisors.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters

from server.paths import Home
from server.runs.hardware import cores
from trainer.contract import RunFile

_TAG = "bench"
_WAIT_SECONDS = 600.0
_WITHOUT_THOUGHT = 5  # runs that tell what a run costs beside its time
_PROGRAM = """\
---
name: pipeline
command: sleep {seconds}; echo METRIC cost=$(cat value)
metric: cost
editable: value
budget_seconds: {limit:g}
---
Make the value smaller.
"""
_UNFINISHED = ("running", "queued")


@dataclass
class Shift:
    """What a slot did: one row for each run, in the order of their beginnings."""

    begun: list[float]  # seconds since the epoch
    ended: list[float]

    @classmethod
    def of(cls, workspace: Path) -> "Shift":
        """By the times of the files that begin and end a run, less the baseline's."""
        folders = sorted(Home(workspace.resolve()).study(_TAG).runs.glob("[0-9]*"))[1:]
        times = [[(folder / name).stat().st_mtime for name in (RunFile.SPEC, RunFile.RESULT)] for folder in folders]
        begun, ended = zip(*sorted(times), strict=True)
        return cls(list(begun), list(ended))

    @property
    def period(self) -> float:
        """Seconds from one beginning to the next, on average."""
        return (self.begun[-1] - self.begun[0]) / (len(self.begun) - 1)

    @property
    def idle(self) -> list[float]:
        """Seconds between the end of a run and the beginning of the next."""
        return [after - before for before, after in zip(self.ended, self.begun[1:], strict=False)]

    @property
    def busy(self) -> float:
        """The share of the time in which a run had the slot, whatever a run cost just then."""
        return 1 - sum(self.idle) / (self.ended[-1] - self.begun[0])


class Agent:
    """Turns a value, never for the better."""

    def __init__(self, client: Client, think: float) -> None:
        self._client, self._think, self._value = client, think, 100

    async def call(self, tool: str, **given: Any) -> dict[str, Any]:
        """An answer. Raises SystemExit: the call was refused."""
        answer = await self._client.call_tool(tool, given, read_timeout_seconds=_WAIT_SECONDS + 60)
        if answer.is_error:
            raise SystemExit(f"{tool}: {answer.content}")
        return answer.structured_content or {}

    async def propose(self, lane: dict[str, str], wait: float) -> dict[str, Any]:
        """Think, change the value, and ask for its run."""
        await anyio.sleep(self._think)
        self._value += 1
        text = f"<<<<<<< SEARCH\n100\n=======\n{self._value}\n>>>>>>> REPLACE"
        await self.call("apply_patch", patch=text, **lane)
        return await self.call("run_experiment", description=f"try {self._value}", wait_seconds=wait, **lane)

    async def in_one_lane(self, runs: int) -> None:
        """A run, its verdict, the next patch."""
        for _ in range(runs):
            reply = await self.propose({}, _WAIT_SECONDS)
            while reply["status"] in _UNFINISHED:
                reply = await self.call("wait_experiment", wait_seconds=_WAIT_SECONDS)
            await self.call("discard", reason="worse")

    async def in_two_lanes(self, runs: int) -> None:
        """A patch in one lane while the run of the other is under way."""
        free = [dict[str, str](), {"lane": "b"}]
        for number in range(runs + 2):
            if not free or number >= runs:
                free.append(await self._decided())
            if number < runs:
                await self.propose(free.pop(0), 0)

    async def _decided(self) -> dict[str, str]:
        """The lane whose run ends first, once its candidate is given up."""
        reply = await self.call("wait_experiment", any=True, wait_seconds=_WAIT_SECONDS)
        while reply["status"] in _UNFINISHED:
            reply = await self.call("wait_experiment", any=True, wait_seconds=_WAIT_SECONDS)
        lane = {"lane": reply["lane"]} if reply.get("lane") else {}
        await self.call("discard", reason="worse", **lane)
        return lane


@asynccontextmanager
async def agent(workspace: Path, think: float) -> AsyncGenerator[Agent]:
    """An agent of a server of its own; the baseline is measured."""
    arguments = ["-m", "server", "--workspace", str(workspace), "--tag", _TAG, "--profile", "cpu"]
    async with Client(StdioServerParameters(command=sys.executable, args=arguments)) as client:
        made = Agent(client, think)
        await made.call("run_experiment", description="the baseline", wait_seconds=_WAIT_SECONDS)
        yield made


def make_workspace(folder: Path, seconds: float) -> Path:
    """A repository with a task whose runs sleep."""
    folder.mkdir()
    (folder / "program.md").write_text(_PROGRAM.format(seconds=seconds, limit=2 * seconds + 60), encoding="ascii")
    (folder / "value").write_text("100\n", encoding="ascii")
    git = ["git", "-C", str(folder), "-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    for words in ("init --quiet", "add .", "commit --quiet -m start"):
        subprocess.run([*git, *words.split()], check=True)
    return folder


async def shift(seconds: float, think: float, runs: int, lanes: int) -> Shift:
    """What one slot does for an agent."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = make_workspace(Path(folder) / "workspace", seconds)
        async with agent(workspace, think) as one:
            await (one.in_one_lane(runs) if lanes == 1 else one.in_two_lanes(runs))
        return Shift.of(workspace)


async def main_(seconds: float, think: float, runs: int) -> None:
    overhead = (await shift(seconds, 0.0, _WITHOUT_THOUGHT, 1)).period - seconds
    limit = 3600 / (seconds + overhead)
    print(f"overhead {overhead:.2f} s a run without a thought: at most {limit:.1f} experiments an hour", flush=True)
    for lanes in (1, 2):
        found = await shift(seconds, think * seconds, runs, lanes)
        hourly = 3600 / found.period
        told = f"{hourly:6.1f} experiments an hour, {hourly / limit:6.1%} of the limit"
        idle = f"idle {statistics.median(found.idle):.2f} s between runs, median; busy {found.busy:.1%}"
        print(f"{lanes} lane{'s' * (lanes > 1)}   {told}; {idle}; load {os.getloadavg()[0]:.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="that a run sleeps")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--think", type=float, default=0.1, help="share of a run that the agent thinks before a patch")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{platform.platform(terse=True)}, Python {platform.python_version()}, {cores()} cores, load {load:.1f}")
    print(f"{given.runs} runs that sleep for {given.seconds:g} s, {given.think:.0%} of that to think")
    anyio.run(main_, given.seconds, given.think, given.runs)


if __name__ == "__main__":
    main()
