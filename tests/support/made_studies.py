"""Studies as files on disk, made up: as many rows as are wanted, without a run. Readers of files cannot tell."""

import fcntl
import json
import os
import sqlite3
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from server.history.ledger import Ledger
from server.history.ledger_schema import columns
from server.paths import Home, StudyPaths
from server.records import Attempt, Decision, Experiment, Figures, Judgement, Outcome, Purpose, Result, Verdict
from tests.support.builders import attempt, finished
from trainer.contract import RunFile

START = datetime(2026, 1, 1, 22, 0, tzinfo=UTC)
RUN_SECONDS = 330.0
HELD = dict.fromkeys(("files", "network", "signals", "privileges"), "held")


def made(number: int, description: str, **told: object) -> Attempt:
    """An attempt that began when `number - 1` runs were over."""
    begun = START + timedelta(seconds=(number - 1) * (RUN_SECONDS + 20))
    fields = {"description": description, "started_at": begun.isoformat(timespec="seconds"), **told}
    return attempt(number).model_copy(update=fields)


def result(of: Attempt, value: float | None, outcome: Outcome = Outcome.CRASHED, **told: object) -> Result:
    """How it ended, `RUN_SECONDS` later; without a value as `outcome`."""
    end = datetime.fromisoformat(of.started_at) + timedelta(seconds=RUN_SECONDS)
    figures = Figures(steps=950, tokens_per_second=1.4e6, peak_memory_mb=41200.0, total_seconds=RUN_SECONDS)
    figures = figures.model_copy(update={"evaluation_seconds": 24.0, "device": "NVIDIA H100 80GB", "loss": 2.71})
    base = finished(value) if value is not None else Result(outcome=outcome, reason="it ended", finished_at="")
    fields = {"figures": figures, "guards": HELD, "finished_at": end.isoformat(timespec="seconds"), **told}
    return base.model_copy(update=fields)


def measured(of: Attempt, value: float, verdict: Verdict, against: tuple[int, float] | None = None) -> Experiment:
    """A scored experiment without a decision. `against`: the incumbent's number and value."""
    judged = Judgement(verdict=verdict, why="as the rule says", commit=of.commit)
    if against:
        compared = {"delta": value - against[1], "incumbent": against[0], "value": value}
        judged = judged.model_copy(update=compared)
    return Experiment(attempt=of, result=result(of, value), judgement=judged)


def repeated(number: int, of: int, purpose: Purpose, value: float) -> Experiment:
    """A further run of an experiment's code."""
    again = made(number, f"experiment {of} again", of=of, purpose=purpose, baseline=False)
    verdict = Verdict.CONFIRMATION if purpose is Purpose.CONFIRM else Verdict.REFERENCE
    return measured(again, value, verdict)


def decided(row: Experiment, kept: bool, reason: str = "as the verdict says") -> Experiment:
    return row.model_copy(update={"decision": Decision(kept=kept, reason=reason, decided_at=row.attempt.started_at)})


def write(
    paths: StudyPaths, rows: Sequence[Experiment], changes: Mapping[int, Mapping[str, str]] | None = None
) -> None:
    """Make a study of these rows, in one go. `changes`: what each has changed, and under `category` of which kind."""
    paths.state.mkdir(parents=True, exist_ok=True)
    Ledger(paths.ledger).close()
    with closing(sqlite3.connect(paths.ledger)) as connection, connection:
        connection.executemany("INSERT OR REPLACE INTO experiments VALUES (?, ?, ?, ?, ?, ?, ?)", map(columns, rows))
        places = [(name, number, value) for number, one in (changes or {}).items() for name, value in one.items()]
        connection.executemany("INSERT OR REPLACE INTO changes VALUES (?, ?, ?)", places)


def study_paths(root: Path, tag: str = "t1") -> StudyPaths:
    return Home(root).study(tag)


@contextmanager
def running(paths: StudyPaths, number: int, points: int = 40, elapsed: float = 150.0) -> Generator[Path]:
    """A run under way, as it looks from outside: its folder, and its lease in somebody's hand."""
    folder = paths.runs / f"{number:05d}"
    curve(paths, number, points, elapsed)
    report(folder, elapsed)
    with (folder / RunFile.LEASE).open("w") as lease:
        fcntl.flock(lease, fcntl.LOCK_EX)
        yield folder


def report(folder: Path, elapsed: float, stage: str = "training", loss: float = 2.8) -> None:
    """Say where a run is, as a supervisor does: by a new file."""
    told = {"stage": stage, "elapsed_seconds": elapsed, "limit_seconds": 300.0, "steps": int(3 * elapsed), "loss": loss}
    fresh = folder / "progress.new"
    fresh.write_text(json.dumps(told), encoding="utf-8")
    os.replace(fresh, folder / RunFile.PROGRESS)


def curve(paths: StudyPaths, number: int, points: int = 60, seconds: float = 300.0, shift: float = 0.0) -> None:
    """A loss curve that falls as they do."""
    folder = paths.runs / f"{number:05d}"
    folder.mkdir(parents=True, exist_ok=True)
    lines = list[str]()
    for at in range(points):
        t = seconds * (at + 1) / points
        loss = 2.6 + 5.5 / (1 + t / 12) + shift + 0.03 * ((at * 7919) % 11 - 5) / 5
        lines.append(json.dumps({"seconds": round(t, 2), "step": int(3 * t), "loss": round(loss, 5)}))
    (folder / RunFile.CURVE).write_text("\n".join(lines) + "\n", encoding="utf-8")
