"""A night that faults are done to: a real server, a naive client, real runs, and what must hold whatever happens."""

import hashlib
import os
import random
import re
import signal
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import anyio
import psutil
from mcp import Client, StdioServerParameters

import server
import trainer
from server.history.export import tsv
from server.history.ledger import Ledger
from server.locks import lock_holder
from server.records import Experiment
from tests.support.polling import stretched
from tests.support.repositories import QUICK, STAND_INS, UNGUARDED, git, make_repository

TAG = "t1"
BRANCH = f"autoresearch/{TAG}"
SECOND = "b"  # lane
PATIENCE = 300.0  # a bound for what hangs
_RECOVERY_SECONDS = 60.0  # until the next run must have started, without a human
TRAIN = (STAND_INS / "honest.py").read_text(encoding="utf-8").replace("RATE = 0.03", "RATE = 1e-6")
_PROGRAM = (
    "---\nname: a night of faults\nbudget_seconds: {budget}\npreflight: false\nkeep_rule: any\n---\nDo research.\n"
)
_PACKAGES = [Path(str(package.__file__)).parent for package in (server, trainer)]


class Refused(Exception):
    """The server said no, in words."""


class Agent:
    """A client that does what next_actions says, and remembers what it was told."""

    def __init__(self, client: Client, night: "Night") -> None:
        self._client, self._night = client, night

    async def call(self, tool: str, **given: Any) -> dict[str, Any]:
        """One call. Raises Refused."""
        with anyio.fail_after(2 * PATIENCE):
            answer = await self._client.call_tool(tool, given)
        if answer.is_error or answer.structured_content is None:
            raise Refused("".join(getattr(block, "text", "") for block in answer.content))
        self._night.acknowledge(tool, answer.structured_content)
        return answer.structured_content

    async def start(self, train: str = "") -> int:
        """Start a run: of the baseline, of the open candidate, or of a new one. Returns its number."""
        while True:
            phase = (await self.call("status"))["phase"]
            if phase in ("running", "queued"):
                await self.call("wait_experiment", wait_seconds=PATIENCE)
            elif phase == "improved":
                await self.call("keep", reason="better")
            elif phase in ("worse", "failed", "invalid", "stale"):
                await self.call("discard", reason="not better")
            elif phase == "idle":
                await self.patch(train)
            else:
                break
        started = await self.call("run_experiment", description="an idea", wait_seconds=0)
        if self._night.lanes > 1 and phase != "new":
            await self._queue_another()
        return started["experiment"]

    async def _queue_another(self) -> None:
        """Let a candidate of another lane wait for the slot, if the server bears one more just now."""
        with suppress(Refused):
            if await self._given_up():
                await self.patch(lane=SECOND)
                await self.call("run_experiment", description="another idea", wait_seconds=0, lane=SECOND)

    async def _given_up(self) -> bool:
        """Give the second lane's candidate up, whatever its run has told. Whether the lane is idle."""
        lanes: dict[str, str] = (await self.call("status")).get("lanes") or {}
        told = lanes.get(SECOND, "idle").partition(",")[0]
        if told in ("running", "queued"):
            return False
        if told != "idle":
            await self.call("discard", reason="it went beside", lane=SECOND)
        return True

    async def settle(self) -> None:
        """Until nothing runs or waits in the second lane."""
        while self._night.lanes > 1 and not await self._given_up():
            await self.call("wait_experiment", wait_seconds=PATIENCE, lane=SECOND)

    async def finish(self) -> dict[str, Any]:
        """The result of the run under way."""
        return await self.call("wait_experiment", wait_seconds=PATIENCE)

    async def experiment(self) -> dict[str, Any]:
        """A whole run and the decision about it."""
        await self.start()
        result = await self.finish()
        phase = (await self.call("status"))["phase"]
        if phase in ("improved", "worse", "failed", "invalid"):
            await self.call("keep" if phase == "improved" else "discard", reason="as it is")
        return result

    async def patch(self, train: str = "", lane: str = "") -> None:
        """A new value of the one constant, or another train.py at its end."""
        text = (await self.call("read_train", lane=lane))["text"]
        (line,) = re.findall(r"RATE = \S+$", text, re.MULTILINE)
        self._night.ideas += 1
        new = f"RATE = {0.03 - self._night.ideas / 1e5:.6f}" + (f"\n{train}" if train else "")
        patch = f"<<<<<<< SEARCH\n{line}\n=======\n{new}\n>>>>>>> REPLACE"
        await self.call("apply_patch", patch=patch, lane=lane)

    async def go_on(self) -> None:
        """Work until somebody ends it."""
        while True:
            await self.experiment()


class Night:
    """One repository with one tag; servers and agents come and go."""

    lanes = 1  # in which the agents work; in the second one a candidate waits for the slot while the first one runs

    def __init__(self, folder: Path, data: Path, seed: int = 0, budget: float = 0.4, short: bool = False) -> None:
        """train.py trains with torch in the trial with seed 0, and is the cheapest there is in all others.

        Args:
            short: what is done again and again is done half as often.
        """
        self.folder, self._budget, self._short = folder, budget, short
        train = QUICK if seed else TRAIN
        self.chance = random.Random(seed)  # of this night alone: the other one beside it draws from its own
        self.data = data
        self.repository = make_repository(folder / "a night, pérhaps", train)
        self.write_program()
        git(self.repository, "commit", "--quiet", "-am", "the task")
        self.ideas = 0
        self._acknowledged: dict[str, set[int]] = {"run": set(), "keep": set()}
        self.move(self.repository)

    def move(self, repository: Path) -> None:
        """The night takes place in this repository."""
        self.repository, self.home = repository, repository / ".autoresearch"
        self.state = self.home / TAG
        self.home.mkdir()
        (self.home / "data").symlink_to(self.data)
        self.accept()

    def times(self, count: int) -> range:
        """To do something `count` times; in the short form a third as often."""
        return range(-(-count // 3) if self._short else count)

    def write_program(self, extra: str = "") -> None:
        """program.md, with more lines in its front matter."""
        text = _PROGRAM.format(budget=self._budget).replace("name:", f"{extra}name:")
        (self.repository / "program.md").write_text(text, encoding="utf-8")

    def command(self, *options: str) -> list[str]:
        """What a server is started with, after python's name; the long form runs everything guarded."""
        guards = UNGUARDED if self._short else ()
        words = ["-m", "server", "--workspace", str(self.repository), "--tag", TAG, "--profile", "smoke"]
        return [*words, *guards, *options]

    @asynccontextmanager
    async def agent(self, *options: str, command: str = "", **environment: str) -> AsyncGenerator[Agent]:
        """An agent with a server of its own, which may be killed; `command;` is what the shell does before."""
        words = self.command(*options)
        line = f'{command}exec "$0" "$@" 2>>"{self.folder}/stderr"'
        given = StdioServerParameters(
            command="/bin/sh", args=["-c", line, sys.executable, *words], env={**os.environ, **environment}
        )
        async with Client(given) as client:
            yield Agent(client, self)

    def acknowledge(self, tool: str, told: dict[str, Any]) -> None:
        """Remember what an agent was told: it must be in the ledger for ever."""
        if tool == "run_experiment":
            self._acknowledged["run"].add(told["experiment"])
        elif tool == "keep":
            self._acknowledged["keep"].add(told["experiment"])

    def processes(self, name: str = "") -> list[psutil.Process]:
        """What lives of this night's runs: with the cookie, or named on the command line."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                mine = str(self.state) in " ".join([process.environ().get("AUTORESEARCH_RUN", ""), *process.cmdline()])
                runs = "-m server" not in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE
                if mine and runs and name in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def server(self) -> psutil.Process:
        """The process that holds the lock."""
        held = lock_holder(self.repository)
        assert held
        return psutil.Process(held.pid)

    def kill(self, *names: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to the server, the supervisor, the trainer. Returns how many got it."""
        hit = 0
        for name in names:
            for process in [self.server()] if name == "server" else self.processes(f"trainer.{name}"):
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
                    hit += 1
        return hit

    async def until_running(self) -> None:
        """Wait for a run's train.py."""
        with anyio.fail_after(PATIENCE):
            while not self.processes("trainer.launch"):  # noqa: ASYNC110  # of other processes: no event tells
                await anyio.sleep(0.01)

    def rows(self) -> list[Experiment]:
        with closing(Ledger(self.state / "ledger.sqlite3", read_only=True)) as ledger:
            return list(ledger.all())

    def in_main(self) -> list[Experiment]:
        """The rows of the lane main; those of another one may go on behind a fault's back."""
        return [row for row in self.rows() if row.attempt.lane is None]

    async def recover(self) -> dict[str, Any]:
        """The next server and the next run, in time; then everything that must hold."""
        begun = time.monotonic()
        async with self.agent() as agent:
            number = await agent.start()
            assert time.monotonic() - begun < stretched(_RECOVERY_SECONDS), "the next run came too late"
            result = await agent.finish()
            assert result["experiment"] == number and result["val_bpb"] is not None, result
            await agent.settle()
        self.check()
        return result

    def check(self) -> None:
        """The invariants, between two servers."""
        rows = self.rows()
        assert [row.number for row in rows] == list(range(1, len(rows) + 1))
        for run in (self.state / "runs").glob("[0-9]*[0-9]"):
            assert int(run.name) <= len(rows), f"run {run.name} has no row"
        supervisors = self.processes("trainer.supervisor")
        assert len(supervisors) <= 1, supervisors
        unfinished = [row for row in rows if row.running]
        lanes = {row.attempt.lane for row in unfinished}
        assert len(lanes) == len(unfinished) <= self.lanes, "two runs of one lane"
        assert self.lanes > 1 or unfinished in ([], rows[-1:]), "a row was left open"
        assert self.processes() == [] or unfinished, "something of a run that is over still lives"
        kept = [row for row in rows if row.kept]
        tip = git(self.repository, "rev-parse", f"autoresearch/{TAG}")
        assert tip == (kept[-1].commit if kept else git(self.repository, "rev-parse", "main")), (
            "the branch is elsewhere"
        )
        for row in rows:
            if row in unfinished or row is rows[-1]:
                continue
            assert row.result and row.judgement, f"row {row.number} was left open"
            assert git(self.repository, "rev-parse", f"refs/autoresearch/{TAG}/{row.number}") == row.commit
        assert self._acknowledged["run"] <= {row.number for row in rows}, "a run that was told of is gone"
        assert self._acknowledged["keep"] <= {row.number for row in kept}, "a keep was not a keep"
        self.check_copies(rows, kept)
        assert self.protected() == self._protected, "something of the user's was changed"

    def check_copies(self, rows: list[Experiment], kept: list[Experiment]) -> None:
        """What is told twice is told alike: the branch, git's copies of the rows, results.tsv; and git is whole."""
        line = git(self.repository, "log", "--first-parent", "--reverse", "--format=%H", BRANCH)
        assert line.split()[-len(kept) :] == [row.commit for row in kept] or not kept, "the branch is not what was kept"
        for row in rows:
            copy = git(self.repository, "cat-file", "blob", f"refs/autoresearch-rows/{TAG}/{row.number}")
            assert copy == row.model_dump_json(exclude_none=True), f"the copy of row {row.number} is another"
        if rows and not any(row.running for row in rows):
            assert (self.state / "results.tsv").read_text(encoding="utf-8") == tsv(rows), "results.tsv is another"
        assert git(self.repository, "fsck", "--no-dangling", "--connectivity-only") == "", "git is damaged"

    def protected(self) -> dict[str, str]:
        """Hashes of what no fault and no run may change."""
        repository = self.repository
        shared = repository / git(repository, "rev-parse", "--git-common-dir")
        files = [repository / "train.py", shared / "config", *sorted((shared / "hooks").iterdir())]
        files += [path for package in _PACKAGES for path in sorted(package.rglob("*.py"))]
        told = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        branches = [
            line
            for line in git(repository, "for-each-ref", "refs/heads").splitlines()
            if "\trefs/heads/autoresearch/" not in line
        ]
        return {**told, "HEAD": git(repository, "symbolic-ref", "HEAD"), "branches": "\n".join(branches)}

    def accept(self) -> None:
        """The user has changed something: that is what must stay from now on."""
        self._protected = self.protected()
