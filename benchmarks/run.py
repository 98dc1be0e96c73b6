"""One run of a train.py under the real referee, without a server: what the benchmarks measure."""

import time
from pathlib import Path

from server.paths import StudyPaths
from server.records import Attempt, Result
from server.runs.executor import RunRequest, RunSite
from server.runs.local_executor import LocalExecutor
from server.runs.run_spec import RunLimits

TRAIN = Path(__file__).parent.parent / "train.py"
_TERMS = RunLimits(setup_seconds=600, evaluation_seconds=600, grace_seconds=600, first_look=True)
_POLL_SECONDS = 0.05


def run(place: Path, text: str, profile: str, budget: float, seed: int = 42) -> tuple[Result, str]:
    """The result of `text` as train.py, audited as a candidate's first run, and the end of its log.

    Args:
        place: folder of the run; the tokenised data are beside it. budget: training seconds.

    Raises:
        SystemExit: the run gave no score.
    """
    paths = StudyPaths(place.resolve())
    executor = LocalExecutor(RunSite(paths.runs, paths.kernels, place.parent / "data", place, paths.state))
    attempt = Attempt(
        number=1,
        baseline=True,
        description="benchmark",
        parent="0" * 40,
        commit="0" * 40,
        train_sha256="0" * 64,
        profile=profile,
        seed=seed,
        budget_seconds=budget,
        started_at="2026-01-01T12:00:00+00:00",
    )
    started = executor.submit(RunRequest(attempt=attempt, text=text, limits=_TERMS))
    while (result := started.result()) is None:
        time.sleep(_POLL_SECONDS)
    if result.score is None:
        raise SystemExit(f"{result.outcome}: {result.reason}\n{result.traceback}")
    return result, started.folder.log_tail(4000)
