"""A whole study made up: real commits, refs and rows, without a run. What reads a study reads it as any other.

    python -m tests.support.night FOLDER

makes one of 126 experiments, for eyes.
"""

import random
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from server.history.ledger import Ledger
from server.history.notes import Notebook
from server.metric import Metric
from server.records import (
    Attempt,
    Decision,
    Experiment,
    Figures,
    Judgement,
    Outcome,
    Purpose,
    Result,
    Score,
    Trust,
    Verdict,
)
from server.source.candidate import Candidate
from server.task.program import load
from server.vcs import objects
from server.vcs.commit_message import attempt_message
from server.vcs.objects import Made, with_files
from server.vcs.refs import Move
from server.vcs.workspace import Workspace
from tests.support.repositories import git, make_repository

TAG = "t1"
EVENING = "2026-01-01T21:00:00+00:00"
Files = Mapping[str, str | None]


class Night:
    """A study in the making: rows are tried one after another, and written down together."""

    def __init__(self, root: Path, seconds: float = 330.0) -> None:
        """Begin in a repository with a program.md; `seconds` a run takes."""
        self.root, self._seconds = root, seconds
        self._task = load(root / "program.md").task
        self.metric: Metric = self._task.measure
        self._clock = datetime.fromisoformat(EVENING)
        self._made: list[Made] = []
        self._known: dict[str, Made] = {}
        self._workspace = Workspace.open(root, TAG, self._editable())
        self._workspace.prepare()
        self.base = self._workspace.tip()
        self.rows: list[Experiment] = []
        self._changes: dict[int, Any] = {}
        self.incumbent: Experiment | None = None
        self.files: dict[str, str] = dict(self._workspace.files(self.base))

    def _editable(self) -> Any:
        return self._task.editable if self._task.kind == "sealed" else tuple(self._task.editable)

    def baseline(self, value: float, again: Sequence[float] = ()) -> Experiment:
        """The first run, and further ones of it."""
        row = self._row(self.files, "baseline", Verdict.BASELINE, value, baseline=True)
        self.rows[-1] = self.incumbent = self._decided(row, True)
        for score in again:
            self.reference(score)
        return self.incumbent

    def reference(self, value: float) -> Experiment:
        """The incumbent again."""
        assert self.incumbent
        return self._row(self.files, "the incumbent again", Verdict.REFERENCE, value, Purpose.REFERENCE, self.incumbent)

    def tried(
        self,
        files: Files,
        value: float | None,
        verdict: Verdict,
        description: str = "an idea",
        confirmed: Sequence[float] = (),
        **more: Any,
    ) -> Experiment:
        """A change: improved and simpler ones are kept. `more`: of the attempt, or `result`, `why` and `figures`."""
        after = {path: text for path, text in {**self.files, **files}.items() if text is not None}
        row = self._row(after, description, verdict, value, **more)
        for score in confirmed:
            self._row(after, "once more", Verdict.CONFIRMATION, score, Purpose.CONFIRM, row)
        if confirmed:
            counted = sum(confirmed) / len(confirmed)
            row = self._replaced(self._judged(row, verdict, counted, more.get("why", "")))
        kept = verdict in (Verdict.IMPROVED, Verdict.SIMPLER)
        row = self._replaced(self._decided(row, kept))
        if kept:
            self.incumbent, self.files = row, after
        return row

    def failed(
        self, files: Files, outcome: Outcome, reason: str, description: str = "an idea", **more: Any
    ) -> Experiment:
        """A change without a score."""
        return self.tried(files, None, Verdict(outcome.value), description, result={"reason": reason, **more})

    def write(self) -> Path:
        """Write commits, refs, ledger and branch. Returns the study's folder."""
        self._workspace.objects.add(list({one.name: one for one in self._made}.values()))
        moves = [Move(f"{self._workspace.attempts}/{row.number}", row.commit, None) for row in self.rows]
        self._workspace.refs.put(moves)
        tip = self.incumbent.commit if self.incumbent else self.base
        git(self.root, "update-ref", f"refs/heads/autoresearch/{TAG}", tip)
        with closing(Ledger(self._workspace.paths.ledger)) as ledger:
            ledger._connection.execute("PRAGMA synchronous = OFF")  # pyright: ignore - no power fails in a test
            for row in self.rows:
                ledger.begin(row.attempt, self._changes.get(row.number))
                if row.result and row.judgement:
                    ledger.finish(row.number, row.result, row.judgement)
                if row.decision:
                    ledger.decide(row.number, row.decision)
        self._workspace.close()
        return self._workspace.state

    def _row(
        self,
        files: Mapping[str, str],
        description: str,
        verdict: Verdict,
        value: float | None,
        purpose: Purpose = Purpose.MEASURE,
        of: Experiment | None = None,
        **more: Any,
    ) -> Experiment:
        number, parent = len(self.rows) + 1, self.incumbent.commit if self.incumbent else self.base
        self._clock += timedelta(seconds=self._seconds)
        candidate = Candidate(files)
        attempt = Attempt(
            number=number,
            baseline=bool(more.pop("baseline", False)),
            purpose=purpose,
            of=of.number if of else None,
            description=description,
            hypothesis=str(more.pop("hypothesis", "")),
            parent=parent,
            commit=parent,
            train_sha256=candidate.sha256,
            fingerprint=candidate.fingerprint,
            task=self._task.sha256,
            profile="cpu",
            seed=42,
            budget_seconds=self._task.budget_seconds,
            started_at=(self._clock - timedelta(seconds=self._seconds)).isoformat(),
            **{name: more.pop(name) for name in ("source", "lane", "agent") if name in more},
        )
        if of is None and not attempt.baseline:
            before = Candidate(self.files)
            self._changes[number] = candidate.changed_from(before)
        row = Experiment(attempt=attempt, result=self._result(value, verdict, more))
        commit = self._commit(files, attempt, row.result, verdict)
        attempt = attempt.model_copy(update={"commit": commit})
        row = self._judged(row.model_copy(update={"attempt": attempt}), verdict, value, str(more.get("why", "")))
        self.rows.append(row)
        return row

    def _result(self, value: float | None, verdict: Verdict, more: Mapping[str, Any]) -> Result:
        figures = Figures.model_validate(
            {
                "total_seconds": self._seconds,
                "training_seconds": 300.0,
                "peak_memory_mb": 2048.0,
                "device": "NVIDIA H100 80GB HBM3" if self._seconds > 60 else "cpu",
                **more.get("figures", {}),
            }
        )
        told: dict[str, Any] = {"reason": "ok", "guards": {"landlock": "held"}, **more.get("result", {})}
        if value is None:
            return Result(outcome=Outcome(verdict.value), figures=figures, finished_at=self._clock.isoformat(), **told)
        trust = {"sealed": Trust.SEALED, "judged": Trust.JUDGED, "command": Trust.PRINTED}[self._task.kind]
        score = Score(
            name=self.metric.name, value=value, unit=self.metric.unit, trust=trust, details=more.get("details", {})
        )
        finished = {"score": score, "figures": figures, "finished_at": self._clock.isoformat()}
        return Result(outcome=Outcome.FINISHED, **finished, **told)

    def _judged(self, row: Experiment, verdict: Verdict, value: float | None, why: str) -> Experiment:
        facts: dict[str, Any] = {}
        if self.incumbent and row.attempt.of is None and value is not None and not row.attempt.baseline:
            before = self.incumbent.value or 0.0
            facts = {"delta": value - before, "value": value, "incumbent": self.incumbent.number}
        judged = Judgement(verdict=verdict, why=why or "as it was judged", commit=row.attempt.commit, **facts)
        return row.model_copy(update={"judgement": judged})

    def _decided(self, row: Experiment, kept: bool) -> Experiment:
        decision = Decision(kept=kept, reason="", decided_at=self._clock.isoformat())
        return row.model_copy(update={"decision": decision})

    def _replaced(self, row: Experiment) -> Experiment:
        self.rows[row.number - 1] = row
        return row

    def _commit(self, files: Mapping[str, str], attempt: Attempt, result: Result | None, verdict: Verdict) -> str:
        before = dict(self.files)
        gone: dict[str, str | None] = dict.fromkeys(before.keys() - files.keys())
        blobs = {path: objects.blob(text) for path, text in files.items() if before.get(path) != text}
        self._take(*blobs.values())
        parent = self._read(attempt.parent)
        assert parent
        tree = parent.content.split(b"\n", 1)[0].split()[1].decode()
        trees = with_files(self._read, tree, {**gone, **{path: made.name for path, made in blobs.items()}})
        message = attempt_message(attempt, result, verdict)
        commit = objects.commit(trees[-1].name, attempt.parent, message, attempt.started_at)
        self._take(*trees, commit)
        return commit.name

    def _take(self, *made: Made) -> None:
        self._made += made
        self._known |= {one.name: one for one in made}

    def _read(self, name: str) -> Made | None:
        return self._known.get(name) or self._workspace.objects.read(name)


def constants(**told: object) -> str:
    """A train.py of constants, a line each, and some code."""
    lines = "\n".join(f"{name} = {value!r}" for name, value in told.items())
    code = "\n".join(f"def layer_{number}(x):\n    return x * {number}\n" for number in range(20))
    return f'"""A model."""\n\n{lines}\n\n\n{code}'


KNOBS: dict[str, Any] = {
    "DEPTH": 8,
    "ASPECT_RATIO": 64,
    "BATCH": 524288,
    "EMBEDDING_LR": 0.6,
    "UNEMBEDDING_LR": 0.004,
    "MATRIX_LR": 0.04,
    "WEIGHT_DECAY": 0.0,
    "WARMUP": 0.0,
    "WARMDOWN": 0.4,
    "FINAL_LR_FRAC": 0.0,
    "ROPE_BASE": 10000,
    "WINDOW": "SSSL",
}


def long_night(root: Path, count: int = 126, kept: int = 22) -> Night:
    """One of many experiments: the kept ones are spread over it, and some of them turn a knob once more."""
    make_repository(root, constants(**KNOBS))
    draw, night, knobs = random.Random(7), Night(root), dict(KNOBS)
    night.baseline(0.9979, (0.9977, 0.9981))
    level, due = 0.9979, sorted(draw.sample(range(2, count + 1), kept))
    for number in range(1, count + 1):
        name = draw.choice([name for name in knobs if name != "WINDOW"])
        new = round(float(knobs[name]) * draw.choice((0.5, 0.8, 1.25, 2)) + 0.001, 6)
        files = {"train.py": constants(**{**knobs, name: new})}
        what, why = f"{name} from {knobs[name]} to {new}", f"{name.lower()} may be far from its best value"
        if number in due:
            gain = draw.choice((0.0002, 0.0003, 0.0006, 0.0012, 0.0043)) if number > due[0] else 0.0119
            level -= gain
            again = [round(level + draw.gauss(0, 0.0002), 6) for _ in range(draw.choice((1, 2, 3)))]
            night.tried(files, round(level - 0.0002, 6), Verdict.IMPROVED, what, again, hypothesis=why)
            knobs[name] = new
        elif draw.random() < 0.1:
            outcome = draw.choice((Outcome.CRASHED, Outcome.OOM, Outcome.TIMEOUT))
            night.failed(files, outcome, f"train.py ended: {outcome.value}", what)
        else:
            worse = draw.choice((-0.0001, 0.0001, 0.0003, 0.0008, 0.002, 0.004))
            verdict = Verdict.WITHIN_NOISE if worse < 0.0004 else Verdict.WORSE
            night.tried(files, round(level + worse, 6), verdict, what, hypothesis=why)
        if number % 20 == 0:
            night.reference(round(level + draw.gauss(0, 0.0002), 6))
    return night


if __name__ == "__main__":
    state = long_night(Path(sys.argv[1])).write()
    Notebook(state / "notes.json").add("try a window of SSLL once the batch is smaller", idea=True, after=40)
    sys.stdout.write(f"{state}\n")
