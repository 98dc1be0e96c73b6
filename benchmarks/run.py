"""One run of a train.py under the real referee, without a server: what the benchmarks measure."""

import time
from pathlib import Path

from server.records import Attempt, Result
from server.runs.run_spec import RunLimits
from server.runs.runner import Runner

TRAIN = Path(__file__).parent.parent / "train.py"
_TERMS = RunLimits(setup_seconds=600, evaluation_seconds=600, grace_seconds=600)
_POLL_SECONDS = 0.05


def run(place: Path, text: str, profile: str, budget: float, seed: int = 42) -> tuple[Result, str]:
    """The result of `text` as train.py, and the end of its log.

    Args:
        place: folder of the run; the tokenised data are beside it. budget: training seconds.

    Raises:
        SystemExit: the run gave no score.
    """
    runner = Runner(place, place.parent / "data", place)
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
    runner.start(attempt, text, _TERMS)
    while (result := runner.result(1)) is None:
        time.sleep(_POLL_SECONDS)
    if result.score is None:
        raise SystemExit(f"{result.outcome}: {result.reason}\n{result.traceback}")
    return result, runner.log_tail(1, 4000)
