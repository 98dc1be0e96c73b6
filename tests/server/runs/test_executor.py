"""The seam between a study and whatever runs its experiments."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from threading import Thread

import pytest

from server.records import Experiment, Figures, Outcome, Progress, Purpose, Result, Verdict
from server.runs.executor import (
    Executor,
    RunHandle,
    RunRequest,
    RunSite,
    Slot,
    ending,
    make_order,
    make_spec,
    request_cancel,
    startable,
    write_run_folder,
)
from server.runs.local_executor import LocalExecutor
from server.runs.run_folder import RunFolder, RunFolders
from server.runs.run_spec import RunLimits, draw_seed
from server.serve_options import ServeOptions
from server.study.phase import Phase
from server.study.study import Study
from tests.support.builders import attempt, experiment
from tests.support.polling import ended, until
from tests.support.repositories import make_quick
from tests.support.runs import local_executor, site
from trainer.contract import ORDER_VARIABLE, Entry, Spec, utc_now


class Waiting(Thread):
    """One run: a thread that waits for the supervisor."""

    def __init__(self, folder: RunFolder, order: bytes = b"") -> None:
        super().__init__(daemon=True)
        self.folder, self._order = folder, order

    def run(self) -> None:
        command = [sys.executable, "-P", "-B", "-m", Entry.SUPERVISOR, str(self.folder.path)]
        environment = {**os.environ, ORDER_VARIABLE: "0"}
        subprocess.run(command, check=False, cwd=Path(__file__).parents[3], input=self._order, env=environment)

    def progress(self) -> Progress:
        return self.folder.progress()

    def alive(self) -> bool:
        return self.is_alive()

    def cancel(self, reason: str) -> None:
        request_cancel(self.folder, reason)

    def result(self) -> Result | None:
        if self.alive():
            return None
        lost = Result(outcome=Outcome.LOST, reason="nobody waits for it", finished_at=utc_now())
        return self.folder.result() or lost


class ThreadExecutor:
    """Knows no lease: a run lives for as long as its thread."""

    signs = True

    def __init__(self, site: RunSite) -> None:
        self._site, self._runs, self.threads = site, RunFolders(site.runs), dict[int, Waiting]()

    @property
    def slots(self) -> Sequence[Slot]:
        return (Slot(),)

    def require_free(self, profile: str, lasts: Mapping[str, Experiment]) -> Slot:
        """There is always a place."""
        return self.slots[0]

    def submit(self, request: RunRequest) -> RunHandle:
        folder = self._runs.path(request.attempt.number)
        spec = make_spec(self._site, request, folder)
        with startable():
            write_run_folder(folder, spec, request)
        run = self.threads[request.attempt.number] = Waiting(RunFolder(folder), make_order(spec, request))
        run.start()
        return run

    def handle(self, number: int) -> RunHandle:
        return self.threads.get(number) or Waiting(self._runs.of(number))


def test_a_study_runs_on_another_executor_from_the_first_run_to_a_cancelled_one(tmp_path: Path, data: Path) -> None:
    repository = make_quick(tmp_path / "work", data)
    choices = ServeOptions(profile="smoke", budget_seconds=0.5, confine=False)
    with closing(Study(repository, "t1", choices, ThreadExecutor)) as study:
        started = study.run("the baseline")
        assert study.phase() is Phase.RUNNING and not study.runs.of(started.number).alive(), "it holds no lease"
        assert ended(study.executor, started.number).outcome is Outcome.FINISHED
        assert study.phase() is Phase.IDLE
        row = study.ledger.get(started.number)
        assert row and row.kept and row.value
        again = study.run("the baseline again")
        study.cancel("enough")
        assert ended(study.executor, again.number).outcome is Outcome.CANCELLED


def test_a_run_of_an_executor_that_is_gone_is_lost(repository: Path) -> None:
    with closing(Study(repository, "t1", ServeOptions(profile="smoke"), ThreadExecutor)) as study:
        assert ended(study.executor, 7).outcome is Outcome.LOST


def test_the_local_executor_keeps_one_handle_for_a_run(tmp_path: Path) -> None:
    executor = LocalExecutor(site(tmp_path, tmp_path, tmp_path))
    seam: Executor = executor  # checked by pyright
    assert seam.handle(3) is executor.handle(3) and seam.handle(3) is not seam.handle(4)


@pytest.mark.parametrize(("slot", "told"), [(None, "no GPU."), ("1", "no GPU. It ran in slot 1.")])
def test_a_failure_of_the_machine_names_the_slot_where_there_are_several(
    tmp_path: Path, slot: str | None, told: str
) -> None:
    executor = local_executor(tmp_path, tmp_path, tmp_path)
    failed = Result(outcome=Outcome.ENV_FAIL, reason="no GPU.", cause="no_device", finished_at=utc_now())
    executor.signs = False
    for number, result in ((1, failed), (2, failed.model_copy(update={"outcome": Outcome.CRASHED}))):
        executor.runs.path(number).mkdir(parents=True)
        (executor.runs.path(number) / "result.json").write_text(result.model_dump_json(), encoding="utf-8")
    runs = [attempt(number).model_copy(update={"slot": slot}) for number in (1, 2)]
    found = [ending(executor, run, executor.runs.of(run.number)) for run in runs]
    assert [one and one.reason for one in found] == [told, "no GPU."]


def test_a_run_folder_holds_the_whole_spec_and_who_looks_changes_nothing(tmp_path: Path) -> None:
    place = site(tmp_path / "state", tmp_path / "data", tmp_path / "imports")
    runs = RunFolders(place.runs)
    limits = RunLimits(setup_seconds=30, evaluation_seconds=40, grace_seconds=1, ceiling=[(1.0, 9.0)])
    request = RunRequest(attempt=attempt(5).model_copy(update={"dataset": "embedded"}), text="x\n", limits=limits)
    spec = make_spec(place, request, runs.path(5))
    write_run_folder(runs.path(5), spec, request)
    assert Spec.from_json((runs.path(5) / "spec.json").read_text(encoding="utf-8")).cookie == str(runs.path(5))
    folder, before = runs.of(5), {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert folder.spec()["evaluation_seconds"] == 40 and folder.progress() == Progress() and not folder.cancelled
    bare = request.model_copy(update={"modules": {}})
    assert make_spec(place, bare, runs.path(5)).imports == str(runs.path(5) / "modules")
    assert folder.result() is None and not folder.alive() and folder.over()
    assert folder.log_tail(10) == "" and folder.curve(10) == [] and runs.numbers() == [5]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    request_cancel(folder, "enough")
    until(lambda: folder.cancelled)
    write_run_folder(runs.path(5), spec, request)
    assert sorted(number for number, _ in runs.copies()) == [5, 5] and runs.numbers() == [5]


def test_a_run_is_told_nothing_of_what_it_is_for(tmp_path: Path) -> None:
    limits, of = (
        RunLimits(setup_seconds=300, evaluation_seconds=300, grace_seconds=2),
        site(tmp_path, tmp_path, tmp_path),
    )
    told: list[Spec] = []
    for purpose in Purpose:
        run = attempt(7).model_copy(update={"purpose": purpose, "of": None if purpose is Purpose.MEASURE else 2})
        told.append(make_spec(of, RunRequest(attempt=run, text="", limits=limits), tmp_path))
    assert told[0] == told[1] == told[2] and told[0].kernels


def test_seeds_are_drawn_from_all_that_every_generator_takes() -> None:
    seeds = [draw_seed() for _ in range(200)]
    assert len(set(seeds)) == 200 and all(0 <= seed < 1 << 32 for seed in seeds)
    assert max(seeds) > 1 << 29, "a number that grows with the run's tells train.py which run this is"


@pytest.mark.parametrize(
    ("profile", "budget", "figures", "allowed"),
    [
        ("cpu", 300.0, {"setup_cpu_seconds": 3.0, "setup_seconds": 90.0}, 35.0),
        ("cpu", 300.0, {"setup_cpu_seconds": 40.0}, 80.0),
        ("cpu", 10.0, {"setup_cpu_seconds": 1.0}, 6.0),
        ("gpu-24gb", 300.0, {"setup_cpu_seconds": 400.0, "setup_seconds": 20.0}, 90.0),
        ("gpu-24gb", 300.0, {"setup_seconds": 70.0}, 140.0),
        ("cpu", 300.0, {"setup_seconds": 3.0}, None),  # of an earlier version
    ],
)
def test_set_up_is_free_up_to_twice_the_baselines_and_a_floor(
    profile: str, budget: float, figures: dict[str, float], allowed: float | None
) -> None:
    baseline = experiment(1, Verdict.BASELINE, 2.0, kept=True)
    assert baseline.result
    found = baseline.model_copy(
        update={
            "attempt": baseline.attempt.model_copy(update={"profile": profile}),
            "result": baseline.result.model_copy(update={"figures": Figures(**figures)}),  # pyright: ignore[reportArgumentType]
        }
    )
    terms = RunLimits(setup_seconds=300, evaluation_seconds=300, grace_seconds=5)
    about = attempt(2).model_copy(update={"profile": profile, "budget_seconds": budget})
    assert terms.beside(found, about).setup_allowed == allowed
    assert terms.beside(None, about) == terms == terms.beside(found, about.model_copy(update={"profile": "mps"}))
