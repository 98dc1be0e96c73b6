"""Runs on the test's cluster without a study: an executor, what it is asked, and who works on which node."""

import ctypes
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from server.paths import StudyPaths
from server.records import Attempt, Experiment, Result
from server.runs.engines.ray.executor import RayEngine, RayExecutor
from server.runs.engines.ray.where import Where
from server.runs.engines.remote import Job, RemoteRun
from server.runs.executor import RunHandle, RunRequest, RunSite, SlotRequest
from server.runs.run_spec import RunLimits
from tests.ray.cluster import Cluster
from trainer.contract import COOKIE_VARIABLE, Referee, RunFile, TaskSpec, utc_now

PATIENCE = float(os.environ.get("AR_RAY_PATIENCE", "240"))  # a bound for what hangs
_LIMITS = RunLimits(setup_seconds=60, evaluation_seconds=60, grace_seconds=5, preflight=False)
_NEWNET = 0x40000000


def enter(cluster: Cluster) -> None:
    """Work on the head's network from here on, and as one who may use the cluster."""
    os.environ |= {name: value for name, value in cluster.environment(0).items() if name.startswith("RAY_")}
    if cluster.networks:
        space = os.open(f"/run/netns/{cluster.space(0)}", os.O_RDONLY)
        if ctypes.CDLL(None, use_errno=True).setns(space, _NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(space)


def until(condition: Callable[[], object], seconds: float = PATIENCE, what: str = "") -> float:
    """Wait. Returns the seconds that it took. Raises AssertionError."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() < begun + seconds, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - begun


class Bench:
    """One study's executor."""

    def __init__(self, place: Path, cluster: Cluster, slots: int = 2) -> None:
        self.place, self.cluster, self._slots, self._number = place, cluster, slots, 0
        self.paths = StudyPaths(place / "state" / "t1")
        self.executor = self.open()

    def open(self, address: str = "") -> RayExecutor:
        """A server's executor, on what an earlier one has left."""
        paths = self.paths
        asked = SlotRequest(self._slots, "cpu")
        site = RunSite(paths.runs, paths.kernels, self.place / "data", self.place, self.place / "home", asked)
        made = RayEngine.of(address or self.cluster.address)(site)
        assert isinstance(made, RayExecutor)
        return made

    def start(self, command: str = "sleep 3", **limits: Any) -> RemoteRun:
        """A run of a command, once the cluster has a slot for it."""
        self._number += 1
        return self.executor.submit(self.request(self._number, command, **limits))

    def request(self, number: int, command: str, **limits: Any) -> RunRequest:
        attempt = Attempt(
            number=number,
            baseline=False,
            description="a run of the test",
            parent="0" * 40,
            commit="0" * 40,
            train_sha256="0" * 64,
            profile="cpu",
            seed=42,
            budget_seconds=limits.pop("budget", 600.0),
            started_at=utc_now(),
            slot="0",
            concurrency=2,
        )

        def lay_out(folder: Path) -> None:
            (folder / RunFile.TREE).mkdir(parents=True)
            (folder / RunFile.TREE / "value").write_text("1\n", encoding="ascii")

        task = TaskSpec("cost", command=f"{command}; echo METRIC cost=1", editable=("value",))
        terms = _LIMITS.model_copy(update=limits)
        key = "0" * 64
        return RunRequest(attempt=attempt, limits=terms, referee=Referee.COMMAND, task=task, trees=lay_out, key=key)

    def row(self, run: RemoteRun) -> Experiment:
        """As a ledger has it."""
        return Experiment(attempt=self.request(int(run.folder.path.name), "true").attempt)

    def node(self, run: RemoteRun) -> int:
        """On which node a run is, once it has begun there."""
        until(lambda: begun(run) or run.result(), what="the run has begun")
        assert begun(run), run.result()
        job = Job.read(run.folder.path)
        assert job
        return int(Where.of(job).address[-1]) if self.cluster.networks else self._labelled(run)

    def _labelled(self, run: RemoteRun) -> int:
        return next(node for node in (1, 2) if (self.on_node(run, node)).exists())

    def on_node(self, run: RemoteRun, node: int) -> Path:
        """The run's folder there."""
        job = Job.read(run.folder.path)
        assert job
        return self.cluster.home(node) / "runs" / job.name

    def processes(self, run: RemoteRun, node: int) -> list[psutil.Process]:
        """Every living process of a run: tether, seat, supervisor and what it has started."""
        folder, found = str(self.on_node(run, node)), list[psutil.Process]()
        for process in psutil.process_iter():
            try:
                mine = folder in process.cmdline() or process.environ().get(COOKIE_VARIABLE) == folder
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def end_command(self, run: RemoteRun, node: int) -> None:
        """Let a run come to its score: its command's `sleep` is over."""
        until(lambda: self._waited_for(run, node), what="the run's command")
        for process in self._waited_for(run, node):
            process.terminate()

    def _waited_for(self, run: RemoteRun, node: int) -> list[psutil.Process]:
        supervisors = (one for one in self.processes(run, node) if "trainer.supervisor" in one.cmdline())
        with suppress(psutil.NoSuchProcess):
            below = (child for one in supervisors for child in one.children(recursive=True))
            return [child for child in below if child.name() == "sleep"]
        return []

    def clear(self) -> None:
        """No run of ours keeps a slot from the next trial."""
        for number in self.executor.runs.numbers():
            if self.executor.handle(number).result() is None:
                self.executor.handle(number).cancel("the trial is over")
        until(lambda: all(self.executor.handle(number).result() for number in self.executor.runs.numbers()))

    def works(self) -> None:
        """A next run goes through."""
        run = self.start("true")
        result = ended(run)
        assert result.outcome == "finished", result


def begun(run: RemoteRun) -> bool:
    """Whether the run's command may be under way."""
    return run.progress().stage == "measuring"


def ended(run: RunHandle, seconds: float = PATIENCE) -> Result:
    """The result of a run, once it is there."""
    until(lambda: run.result() is not None, seconds, f"the end of a run, {run.progress()}")
    result = run.result()
    assert result
    return result


@contextmanager
def bench(place: Path, cluster: Cluster) -> Generator[Bench]:
    made = Bench(place, cluster)
    try:
        yield made
    finally:
        made.clear()
        made.executor.close()
