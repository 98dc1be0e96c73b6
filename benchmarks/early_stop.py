"""What `early_stop: true` would have saved of a night, and how often it would have been wrong.

    python benchmarks/early_stop.py [--changes 24] [--budget 4] [--profile smoke]

A night of random learning rates, from far too low to far too high, through the real server with early stop off; then
every run's loss curve is replayed against the ceiling that the server would have given it. Wrong is a stop of a run
that was kept, or lower than its incumbent.
"""

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path

import anyio
from mcp import Client, StdioServerParameters

from server.cli.scaffold import create
from server.history import comparisons
from server.history.ledger import Ledger
from server.paths import Home, StudyPaths
from server.records import Purpose
from server.runs.run_folder import RunFolders
from server.scoring.early_stopping import loss_ceiling
from trainer.run.early_stop import EarlyStop

_POINTS = 300


async def study(workspace: Path, given: argparse.Namespace) -> None:
    arguments = ["-m", "server", "--workspace", str(workspace), "--tag", "b"]
    arguments += ["--profile", given.profile, "--budget", str(given.budget)]
    draw = random.Random(0)
    changes = [{"MATRIX_LR": f"{0.02 * 10 ** draw.uniform(-1.5, 1):.4g}"} for _ in range(given.changes)]
    async with Client(StdioServerParameters(command=sys.executable, args=arguments)) as client:
        for _ in range(3):
            await client.call_tool("run_experiment", {"description": "baseline", "wait_seconds": 3600})
        answer = await client.call_tool("sweep", {"changes": changes, "description": "rates", "wait_seconds": 3600})
        assert not answer.is_error, json.dumps(str(answer.content))


def replay(paths: StudyPaths) -> None:
    """Print what would have been stopped, and when."""
    ledger, runs = Ledger(paths.ledger, read_only=True), RunFolders(paths.runs)
    rows = list(ledger.all())
    saved = spent = 0.0
    stopped = wrong = 0
    for row in rows:
        budget = row.attempt.budget_seconds
        spent += budget
        if row.attempt.purpose is not Purpose.MEASURE or row.attempt.baseline:
            continue
        good = [number for number in comparisons.good_runs(ledger, row.attempt) if number < row.number]
        limit = EarlyStop(loss_ceiling([runs.of(number).curve(_POINTS) for number in good], budget), budget)
        points = runs.of(row.number).curve(_POINTS)
        at = next((point.seconds for point in points if limit.hopeless(point.seconds, point.loss)), None)
        if at is None:
            continue
        delta = row.judgement.delta if row.judgement else None
        stopped, saved = stopped + 1, saved + budget - at
        wrong += row.kept or (delta is not None and delta < 0)
        print(f"experiment {row.number}, {row.verdict}, delta {delta}: stopped at {at:.1f} of {budget:g} s")
    ledger.close()
    share = 100 * saved / spent
    print(f"{stopped} of {len(rows)} runs stopped, {wrong} wrongly; {share:.0f} % of the training time saved")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=24)
    parser.add_argument("--budget", type=float, default=4)
    parser.add_argument("--profile", default="smoke")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "workspace"
        create(workspace)
        anyio.run(study, workspace, given)
        replay(Home(workspace).study("b"))


if __name__ == "__main__":
    main()
