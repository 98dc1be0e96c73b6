"""Runs without a study: an executor with folders of a test's, and what it is asked."""

from pathlib import Path

from server.paths import StudyPaths
from server.records import Attempt
from server.runs.executor import Executor, RunHandle, RunRequest, RunSite
from server.runs.local_executor import LocalExecutor
from server.runs.run_spec import RunLimits


def site(state: Path, data: Path, imports: Path, home: Path | None = None) -> RunSite:
    """Where runs are: below `state`. `home` is where the device's lease is; None: there as well."""
    study = StudyPaths(state.resolve())
    return RunSite(study.runs, study.kernels, data, imports, (home or state).resolve())


def local_executor(state: Path, data: Path, imports: Path, home: Path | None = None) -> LocalExecutor:
    return LocalExecutor(site(state, data, imports, home))


def start_run(executor: Executor, attempt: Attempt, text: str, limits: RunLimits) -> RunHandle:
    return executor.submit(RunRequest(attempt=attempt, text=text, limits=limits))
