"""What several slots bring: runs of a fixed length in 1, 2 and 4 slots, through the executor alone.

    python benchmarks/scaling.py [--executor local] [--slots 1 2 4] [--seconds 10] [--runs 4] [--kind sleep]
    python benchmarks/scaling.py --executor ray --slots 1 2 --seconds 5     # RAY_ADDRESS and the token as for `serve`
    python benchmarks/scaling.py --executor slurm --slurm=--partition=main --place /shared/tmp --slots 1 2 --seconds 5

Each slot gets as many runs, one after the other, each as soon as the one before has ended. The efficiency is the time
that the first number of slots took, divided by what it took; `of the ideal` is the same with the seconds that a slot's
runs sleep or compute. The overhead is what a run costs beside. Runs that `sleep` need no core, so that any number of
slots can be tried; those that `compute` need one each, and are tried with as many slots as there are cores. On a
cluster a slot is a job, and what it gets is the cluster's to say.

What else the machine does shows in `waited`: the share of the time in which something waited for a core (Linux). An
efficiency says little where it is high, or differs between the lines: `--slots 1 2 4 4 2 1` tells a drift.
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from server.paths import StudyPaths
from server.records import Attempt, Experiment, Outcome
from server.runs import slots as local_slots
from server.runs.executor import Executor, RunHandle, RunRequest, RunSite, Slot, SlotRequest
from server.runs.hardware import cores
from server.runs.local_executor import LocalExecutor
from server.runs.run_spec import RunLimits
from trainer.contract import Referee, RunFile, TaskSpec, utc_now

_LOOK_SECONDS = 0.05
_LIMITS = RunLimits(setup_seconds=600, evaluation_seconds=600, grace_seconds=600, preflight=False)
_COMPUTE = "import time\nwhile time.process_time() < {}:\n    pass"
_KINDS = {"sleep": "sleep {}", "compute": f"{{{{python}}}} -c '{_COMPUTE}'"}


def _local(place: Path, count: int) -> Executor:
    local_slots.cores = lambda: max(count, cores())  # runs that sleep need none
    paths = StudyPaths(place.resolve())
    asked = SlotRequest(count, "cpu")
    return LocalExecutor(RunSite(paths.runs, paths.kernels, place / "data", place, place / "home", asked))


def _slurm(place: Path, count: int, options: str) -> Executor:
    from server.runs.engines.slurm.executor import SlurmEngine

    paths = StudyPaths(place.resolve())
    asked = SlotRequest(count, "cpu")
    site = RunSite(paths.runs, paths.kernels, place / "data", place, place / "home", asked)
    return SlurmEngine.of(options)(site)


def _ray(place: Path, count: int, _options: str) -> Executor:
    from server.runs.engines.ray.executor import RayEngine

    paths = StudyPaths(place.resolve() / "state" / "benchmark")
    asked = SlotRequest(count, "cpu")
    made = RayEngine.of("")(RunSite(paths.runs, paths.kernels, place / "data", place, place / "home", asked))
    made.require_free("cpu", {})  # connected once for a study: no part of a run
    return made


EXECUTORS: dict[str, Callable[[Path, int, str], Executor]] = {
    "local": lambda place, count, _: _local(place, count),
    "slurm": _slurm,
    "ray": _ray,
}


def request(number: int, command: str, slot: Slot, count: int) -> RunRequest:
    """A run of a command."""
    attempt = Attempt(
        number=number,
        baseline=False,
        description="a run of the benchmark",
        parent="0" * 40,
        commit="0" * 40,
        train_sha256="0" * 64,
        profile="cpu",
        seed=42,
        budget_seconds=600,
        started_at=utc_now(),
        slot=slot.id,
        concurrency=count,
    )

    def lay_out(folder: Path) -> None:
        (folder / RunFile.TREE).mkdir(parents=True)
        (folder / RunFile.TREE / "value").write_text("1\n", encoding="ascii")

    task = TaskSpec("cost", command=f"{command}; echo METRIC cost=1", editable=("value",))
    return RunRequest(attempt=attempt, limits=_LIMITS, referee=Referee.COMMAND, task=task, trees=lay_out, slot=slot)


class Waited:
    """The share of the time since it was made in which something waited for a core."""

    def __init__(self) -> None:
        self._begun, self._before = time.monotonic(), self._seconds()

    def __str__(self) -> str:
        now = self._seconds()
        if now is None or self._before is None:
            return ""
        return f"   waited {(now - self._before) / (time.monotonic() - self._begun):4.0%}"

    @staticmethod
    def _seconds() -> float | None:
        with suppress(OSError):
            first = Path("/proc/pressure/cpu").read_text(encoding="ascii").splitlines()[0]
            return int(first.rpartition("total=")[2]) / 1e6
        return None


def measured(executor: Executor, command: str, count: int, runs: int) -> float:
    """Seconds until each slot has had its runs, one after the other. Raises SystemExit: a run gave no score."""
    left, number, begun = runs * count, 0, time.monotonic()
    under_way: dict[str, tuple[RunHandle, Experiment]] = {}
    while left or under_way:
        for slot, (handle, row) in list(under_way.items()):
            if (result := handle.result()) is not None:
                if result.outcome is not Outcome.FINISHED:
                    raise SystemExit(f"experiment {row.number}, slot {slot}: {result.outcome}, {result.reason}")
                del under_way[slot]
        while left and len(under_way) < count:
            free = executor.require_free("cpu", {slot: row for slot, (_, row) in under_way.items()})
            number, left = number + 1, left - 1
            asked = request(number, command, free, count)
            under_way[free.id] = executor.submit(asked), Experiment(attempt=asked.attempt)
        time.sleep(_LOOK_SECONDS)
    return time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executor", choices=sorted(EXECUTORS), default="local")
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=4, help="in each slot")
    parser.add_argument("--kind", choices=sorted(_KINDS), default="sleep")
    parser.add_argument("--slurm", default="", help="options for sbatch")
    parser.add_argument("--place", help="a folder for the runs; for a cluster, on a disk that all nodes share")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{platform.platform(terse=True)}, Python {platform.python_version()}, {cores()} cores, load {load:.1f}")
    print(f"{given.runs} runs a slot, which {given.kind} for {given.seconds:g} s; executor {given.executor}")
    command, first = _KINDS[given.kind].format(given.seconds), 0.0
    for count in given.slots:
        if given.executor == "local" and given.kind == "compute" and count > cores():
            print(f"{count:3} slots   not tried: they need {count} cores")
            continue
        waited = Waited()
        with tempfile.TemporaryDirectory(dir=given.place) as folder:
            executor = EXECUTORS[given.executor](Path(folder), count, given.slurm)
            wall = measured(executor, command, count, given.runs)
        first = first or wall
        overhead, hourly = wall / given.runs - given.seconds, 3600 * count * given.runs / wall
        ideal = given.seconds * given.runs / wall
        told = f"{count:3} slots   {wall:6.1f} s   {hourly:6.0f} runs an hour   efficiency {first / wall:6.1%}"
        print(f"{told}   of the ideal {ideal:6.1%}   overhead {overhead:5.2f} s a run{waited}", flush=True)


if __name__ == "__main__":
    main()
