"""One study with known seeds, here and on an engine: each experiment has the same seed, score and verdict in both."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from server.records import Experiment
from tests.faults.night import Agent, Night
from tests.slurm.faults import broken
from tests.support.polling import until
from tests.support.repositories import QUICK, UNGUARDED, git
from trainer.contract import RunFile

EXPERIMENTS = 20
# The server draws the seeds of runs in secret; here each server draws the same.
_DRAWS = "import random, runpy, secrets; secrets.randbelow = random.Random(28).randrange"
_SHARE = "min(RATE / 0.03"
_LUCKY = 'min(RATE * (1 + config["seed"] % 100 / 1000) / 0.03'  # up to a tenth more by luck
_SEEDED = QUICK.replace("RATE = 1e-6", "RATE = 0.001").replace(_SHARE, _LUCKY)


class _Agent(Agent):
    """A client whose ideas are RATEs: two of three are better than the incumbent's, by a little or by much."""

    async def patch(self, train: str = "", lane: str = "") -> None:
        (line,) = re.findall(r"RATE = \S+$", (await self.call("read_train", lane=lane))["text"], re.MULTILINE)
        self._night.ideas += 1  # no idea comes twice
        rate = float(line.split()[-1]) * (self._night.chance.choice((0.7, 1.03, 1.5)) + self._night.ideas / 1000)
        patch = f"<<<<<<< SEARCH\n{line}\n=======\nRATE = {rate:.6g}\n>>>>>>> REPLACE"
        await self.call("apply_patch", patch=patch, lane=lane)


class SeededNight(Night):
    """A language model's study under the default rule, whose seeds are known. `engine`: options of `serve`."""

    def __init__(self, folder: Path, data: Path, *engine: str) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self.engine = engine
        super().__init__(folder, data, seed=1)
        (self.repository / "train.py").write_text(_SEEDED, encoding="utf-8")
        git(self.repository, "commit", "--quiet", "-am", "a score that depends on the seed")
        self.accept()

    def write_program(self, extra: str = "") -> None:
        super().write_program(extra)
        program = self.repository / "program.md"
        program.write_text(program.read_text(encoding="utf-8").replace("keep_rule: any\n", ""), encoding="utf-8")

    def command(self, *options: str) -> list[str]:
        _, _, *words = super().command(*UNGUARDED, *self.engine, *options)
        return ["-c", f"{_DRAWS}; runpy.run_module('server', run_name='__main__')", *words]

    @asynccontextmanager
    async def agent(self, *options: str, command: str = "", **environment: str) -> AsyncGenerator[_Agent]:
        async with super().agent(*options, command=command, **environment) as agent:
            yield _Agent(agent._client, self)  # pyright: ignore[reportPrivateUsage]

    def under_way(self) -> bool:
        """Whether the last run has begun: on a node its seat says so, here its supervisor is there."""
        folder = self.state / "runs" / f"{len(self.rows()):05d}"
        begun = any((folder / name).exists() for name in (RunFile.STARTED, RunFile.RESULT))
        return begun or (not self.engine and bool(self.processes("trainer.supervisor")))


async def _study(night: SeededNight) -> list[Experiment]:
    """A study whose server is killed in the middle of a run. Returns its rows."""
    with broken() as killed:
        async with night.agent() as agent:
            while not killed:
                await agent.experiment()
                if len(night.rows()) >= EXPERIMENTS // 2:
                    await agent.start()
                    until(night.under_way)
                    killed.append(bool(night.kill("server")))
    assert night.rows()[-1].running
    async with night.agent() as agent:
        await agent.finish()
        while len(night.rows()) < EXPERIMENTS:
            await agent.experiment()
    until(lambda: not night.processes())  # a seat ends after its run
    night.check()
    return night.rows()


def same_study(folder: Path, *engine: str) -> None:
    """The same study here and on an engine. Raises AssertionError: their verdicts differ."""
    told: list[list[dict[str, Any]]] = []
    for options in ((), engine):
        place = folder / f"of {len(told)}"
        place.mkdir(parents=True)
        rows = anyio.run(_study, SeededNight(place, folder / "data", *options))
        on_nodes = [bool(row.result and row.result.figures.node_name) for row in rows]
        assert on_nodes == [bool(options)] * len(rows), "each run was where it should be"
        told.append([_told(row) for row in rows])
    assert told[0] == told[1], told
    verdicts = [one["verdict"] for one in told[0]]
    print(f"           {len(verdicts)} experiments: {' '.join(map(str, verdicts))}", flush=True)
    assert len(verdicts) >= EXPERIMENTS and len(set(verdicts)) > 1 and any(one["kept"] for one in told[0][1:]), told[0]
    assert len({one["score"] for one in told[0]}) > len(verdicts) // 2, "the seeds change the scores"


def _told(row: Experiment) -> dict[str, Any]:
    """All that a study decides by, and what it has decided."""
    named = row.attempt.model_dump(include={"number", "seed", "purpose", "repeats", "train_sha256"})
    judged = row.judgement.model_dump(exclude={"commit"}) if row.judgement else {}
    return {**named, **judged, "score": row.score and row.score.value, "verdict": row.verdict, "kept": row.kept}
