"""A night of a study whose runs are jobs: the night of `tests.faults`, with a task that costs no core."""

import json
import random
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from server.records import Experiment
from server.runs.engines.remote import Job
from tests.faults.night import Agent, Night
from tests.slurm.cluster import Cluster
from tests.support.repositories import git, make_repository
from trainer.contract import RunFile

_PROGRAM = """\
---
name: a study of jobs
command: sleep $(sed -n 2p value); echo METRIC cost=$(sed -n 1p value)
metric: cost
editable: value
keep_rule: any
budget_seconds: 300
---
Make the value smaller.
"""
SHORT = "0.2"  # seconds of a run
LONG = "280"  # of one that something else ends


class JobAgent(Agent):
    """A client whose ideas are numbers; a better one is kept."""

    async def patch(self, train: str = "", lane: str = "") -> None:
        """The next idea, in a lane; `train`: the seconds that its run takes."""
        night = self._night
        old = (night.state / "worktree" / "value").read_text(encoding="ascii").strip()
        night.ideas += 1
        number = 1000 - night.ideas if night.chance.random() < 0.5 else 2000 + night.ideas
        new = f"{number}\n{train or SHORT}"
        await self.call(
            "apply_patch", patch=f"value\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE", lane=lane
        )


class JobNight(Night):
    """One repository with one tag; its servers start jobs."""

    def __init__(self, folder: Path, data: Path, cluster: Cluster, options: str = "--partition=main") -> None:
        self.folder, self.data, self.chance, self.ideas = folder, data, random.Random(1), 0
        self._budget, self._short, self.slots = 300.0, False, 2
        self.cluster, self.options = cluster, options
        self.open: JobAgent | None = None  # that serves one fault after the other
        data.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        self.repository = make_repository(folder / "a night, pérhaps", "")
        (self.repository / "program.md").write_text(_PROGRAM, encoding="utf-8")
        (self.repository / "value").write_text(f"1000\n{SHORT}\n", encoding="ascii")
        git(self.repository, "add", ".")
        git(self.repository, "commit", "--quiet", "-am", "the task")
        self._acknowledged: dict[str, set[int]] = {"run": set(), "keep": set()}
        self.move(self.repository)

    def command(self, *options: str) -> list[str]:
        slurm = ("--executor", "slurm", "--slurm", self.options)
        return super().command(*slurm, "--slots", str(self.slots), *options)

    @asynccontextmanager
    async def agent(self, *options: str, command: str = "", **environment: str) -> AsyncGenerator[JobAgent]:
        async with super().agent(*options, command=command, **environment) as agent:
            yield JobAgent(agent._client, self)  # pyright: ignore[reportPrivateUsage]

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[JobAgent]:
        """The agent that is open, or one for this alone."""
        if self.open:
            yield self.open
            return
        async with self.agent() as agent:
            yield agent

    @asynccontextmanager
    async def under_way(self) -> AsyncGenerator[JobAgent]:
        """An agent with a run whose command has begun, and goes on until something ends it."""
        async with self.session() as agent:
            await agent.start(LONG)
            self.until_measuring()
            self.cluster.until(self._waited_for)
            yield agent

    def run_folder(self, number: int = 0) -> Path:
        """That of a run; 0: of the last one."""
        return self.state / "runs" / f"{number or self.last().number:05d}"

    def stage(self) -> str:
        """Where the last run is."""
        try:
            return str(json.loads((self.run_folder() / RunFile.PROGRESS).read_bytes())["stage"])
        except (OSError, ValueError, KeyError):
            return ""

    def until_measuring(self) -> None:
        """Wait until the command of the last run runs."""
        self.cluster.until(lambda: self.stage() == "measuring")

    def end_command(self) -> None:
        """Let the run under way come to its score: what its command waits for is over."""
        for process in self._waited_for():
            process.terminate()

    def _waited_for(self) -> list[psutil.Process]:
        """The `sleep` of the run under way."""
        with suppress(psutil.NoSuchProcess):
            below = (child for one in self.processes("trainer.supervisor") for child in one.children(recursive=True))
            return [child for child in below if child.name() == "sleep"]
        return []

    def job(self, number: int = 0) -> Job:
        """The job of a run."""
        job = Job.read(self.run_folder(number))
        assert job, "the run has no job"
        return job

    def rows(self) -> list[Experiment]:
        return super().rows() if (self.state / "ledger.sqlite3").exists() else []

    def last(self) -> Experiment:
        return self.rows()[-1]

    def node(self) -> str:
        """The node of the run under way."""
        return str(json.loads((self.run_folder() / RunFile.STARTED).read_bytes())["node"])

    def kill_all(self, name: str) -> Sequence[psutil.Process]:
        """Kill (-9) every seat or supervisor. Returns who was hit."""
        hit = self.processes(f"trainer.{name}")
        for process in hit:
            process.send_signal(signal.SIGKILL)
        assert hit, "nothing was killed"
        return hit

    def told(self) -> str:
        """How the last run ended, in its own words."""
        result = self.last().result
        assert result
        return f"{result.outcome}: {' '.join(result.reason.split())}"

    def require_score(self) -> None:
        """The last run must have one, and must have been on a node."""
        row = self.last()
        assert row.score is not None and row.result, self.told()
        assert row.result.figures.node_name in ("n1", "n2")

    def require_unjudged(self, *outcomes: str) -> str:
        """The last run must have ended so, and no idea must have been judged by it. Returns its words."""
        row = self.last()
        assert row.result and row.result.outcome in outcomes and row.score is None, self.told()
        assert row.judgement and row.judgement.verdict == row.result.outcome
        return self.told()

    async def recover(self) -> dict[str, Any]:
        """The cluster is mended; the next run; then everything that must hold."""
        self.cluster.heal()
        async with self.session() as agent:
            await agent.start()
            ended = await agent.finish()
        self.require_score()
        self.check()
        return ended

    def check(self) -> None:
        """What must hold, once the last run's supervisor and seat, which write a result last, have ended."""
        self.cluster.until(lambda: not self.processes() or self.last().running)
        super().check()
