"""A study over the cluster through a real server and a real client, and the same study on this machine."""

from pathlib import Path

import anyio

from server.records import Experiment
from tests.ray.bench import until
from tests.ray.cluster import Cluster
from tests.slurm.night import JobNight

EXPERIMENTS = 20


class RayNight(JobNight):
    """One repository with one tag, whose servers use a Ray cluster; without one, this machine."""

    def __init__(self, folder: Path, data: Path, nodes: Cluster | None) -> None:
        folder.mkdir(parents=True)
        data.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, data, None)
        self.engine: tuple[str, ...] = ("--executor", "ray", "--ray-address", nodes.address) if nodes else ()

    def command(self, *options: str) -> list[str]:
        return super().command(*self.engine, *options)


async def _study(night: RayNight, experiments: int) -> list[Experiment]:
    """A baseline and ideas after it; the server is killed in the middle of one. Returns the rows."""
    async with night.agent() as agent:
        for _ in range(experiments // 2):
            await agent.experiment()
        await agent.start("6")
        until(lambda: night.stage() == "measuring", what="the run has begun")
        night.server().kill()
    async with night.agent() as agent:
        await agent.finish()
        while len(night.rows()) < experiments:
            await agent.experiment()
    night.check()
    return night.rows()


def same_verdicts(folder: Path, nodes: Cluster, experiments: int = EXPERIMENTS) -> None:
    """The same study here and on the cluster. Raises AssertionError: their verdicts differ."""
    told: list[list[tuple[object, ...]]] = []
    for place in (nodes, None):
        night = RayNight(folder / ("cluster" if place else "here"), folder / "data", place)
        rows = anyio.run(_study, night, experiments)
        told.append([(row.judgement and row.judgement.verdict, row.value) for row in rows])
        if place:
            assert all(row.result and row.result.figures.node_name for row in rows), "each ran on a node"
    assert told[0] == told[1] and len(told[0]) >= experiments, told
    assert len({verdict for verdict, _ in told[0]}) >= 2, told[0]
