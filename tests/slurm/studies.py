"""Whole studies over the cluster, through the MCP client: several runs at once, verdicts, what a run costs."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anyio

from server.runs.hardware import cores
from tests.faults.night import BRANCH, Agent, Refused
from tests.slurm.cluster import Cluster, slurm
from tests.slurm.night import JobNight
from tests.slurm.seeded import EXPERIMENTS, same_study
from tests.support.repositories import git

ROOT = Path(__file__).parents[2]
CHECKS: dict[str, Callable[[Cluster, Path], None]] = {}
_ROUNDS = 10
_LANES = ("main", "second")


def check(name: str) -> Callable[[Callable[[Cluster, Path], None]], Callable[[Cluster, Path], None]]:
    """Add a function to the table. It gets a folder of its own."""

    def add(told: Callable[[Cluster, Path], None]) -> Callable[[Cluster, Path], None]:
        CHECKS[name] = told
        return told

    return add


@check(f"a study of {2 * _ROUNDS} experiments in two lanes, two jobs at once")
def study(cluster: Cluster, folder: Path) -> None:
    night = JobNight(folder / "study", folder / "data", cluster)
    anyio.run(_two_lanes, night)
    rows = night.rows()
    assert len(rows) >= 2 * _ROUNDS and all(row.score for row in rows), [row.verdict for row in rows]
    nodes = {row.result.figures.node_name for row in rows if row.result}
    assert nodes == {"n1", "n2"}, nodes
    assert {row.attempt.slot for row in rows} == {"0", "1"}
    assert any(row.kept for row in rows[1:]), "no idea was kept"
    night.check()


async def _two_lanes(night: JobNight) -> None:
    async with night.agent() as agent:
        await agent.experiment()
        for place in range(_ROUNDS):
            for lane in _LANES:
                number = 1000 - place if lane == "main" else 2000 + place
                old = git(night.repository, "show", f"{BRANCH}:value")  # an idle lane has the incumbent
                new = f"{number}\n1"
                patch = f"value\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE"
                await agent.call("apply_patch", patch=patch, lane=lane)
                await agent.call("run_experiment", description=f"{number}", lane=lane, wait_seconds=0)
            for lane in _LANES:
                await _decide(agent, lane)


async def _decide(agent: Agent, lane: str) -> None:
    """Wait for a lane's run, run again what was overtaken where that is possible, and keep or discard."""
    while True:
        await agent.call("wait_experiment", lane=lane, wait_seconds=300)
        told = await agent.call("status")
        lanes: dict[str, str] = told.get("lanes") or {}
        phase = lanes.get(lane, str(told["phase"])).partition(",")[0]
        if phase in ("running", "queued"):
            continue
        if phase in ("improved", "worse", "failed", "invalid"):
            tool = "keep" if phase == "improved" else "discard"
            await agent.call(tool, reason="as it is", lane=lane)
            return
        if phase in ("idle", "new"):
            return
        try:
            await agent.call("run_experiment", description="again", lane=lane, wait_seconds=0)
        except Refused:  # it changes the line that the other lane's keep has changed
            await agent.call("discard", reason="overtaken", lane=lane)
            return


@check(f"the same study of {EXPERIMENTS} experiments here and on the cluster: the same verdicts for the same seeds")
def same(cluster: Cluster, folder: Path) -> None:
    same_study(folder, "--executor", "slurm", "--slurm", "--partition=main")


def _plain_jobs(folder: Path) -> float:
    """Seconds that eight jobs of `sleep 5` take, two at a time, each submitted when one has ended."""
    begun, left, under_way = time.monotonic(), 8, list[Path]()
    while left or under_way:
        under_way = [done for done in under_way if not done.exists()]
        while left and len(under_way) < 2:
            done, left = folder / f"{left}.done", left - 1
            slurm("sbatch", "--output=/dev/null", f"--wrap=sleep 5; touch {done}")
            under_way.append(done)
        time.sleep(0.05)
    return time.monotonic() - begun


@check("eight runs of 5 s on two nodes: what a run costs beside a plain job")
def scaling(cluster: Cluster, folder: Path) -> None:
    slurm("srun", "true")  # a controller that has just started lets its first job wait
    words = ["--executor", "slurm", "--slots", "2", "--seconds", "5", "--runs", "4", "--place", str(folder)]
    load, plain = os.getloadavg()[0], _plain_jobs(folder)
    done = subprocess.run(
        [sys.executable, "benchmarks/scaling.py", *words], cwd=ROOT, check=True, capture_output=True, text=True
    )
    (wall,) = map(float, re.findall(r"slots +([\d.]+) s", done.stdout))
    print(f"           {wall:.1f} s where 20 are ideal, and plain jobs take {plain:.1f}: {plain / wall:.1%} of them,")
    print(f"           {20 / wall:.1%} of the ideal, {(wall - plain) / 4:+.2f} s a run beside a plain job")
    assert 20 / wall > 0.85 or load > cores(), f"with a load of {load:.1f}"
