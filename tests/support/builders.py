"""Experiments made up for tests of what reads them."""

from server.history.ledger import Ledger
from server.records import Attempt, Decision, Experiment, Figures, Judgement, Outcome, Result, Score, Trust, Verdict
from server.source.candidate import Candidate

NOON = "2026-01-01T12:00:00+00:00"


def only(text: str) -> Candidate:
    """A candidate of one file."""
    return Candidate({"train.py": text})


def attempt(number: int, description: str = "an idea", sha256: str = "0" * 64) -> Attempt:
    return Attempt(
        number=number,
        baseline=number == 1,
        description=description,
        parent="a" * 40,
        commit=f"{number:040x}",
        train_sha256=sha256,
        profile="cpu",
        seed=42,
        budget_seconds=300,
        started_at=NOON,
    )


def finished(value: float) -> Result:
    score = Score(name="val_bpb", value=value, unit="bits per byte", details={"val_tokens": 100, "val_bytes": 300})
    return Result(
        outcome=Outcome.FINISHED, reason="ok", score=score, figures=Figures(peak_memory_mb=2048), finished_at=NOON
    )


def crashed() -> Result:
    return Result(outcome=Outcome.CRASHED, reason="train.py raised ValueError: no", finished_at=NOON)


def judged(number: int, verdict: Verdict, delta: float | None = None) -> Judgement:
    return Judgement(verdict=verdict, why="because", delta=delta, commit=f"{number + 1000:040x}")


def experiment(number: int, verdict: Verdict, value: float | None = None, kept: bool | None = None) -> Experiment:
    """A finished experiment; `kept` None is undecided."""
    return Experiment(
        attempt=attempt(number),
        result=crashed() if value is None else finished(value),
        judgement=judged(number, verdict),
        decision=None if kept is None else Decision(kept=kept, decided_at=NOON),
    )


def of_task(row: Experiment, name: str = "ms", unit: str = "ms", trust: Trust = Trust.PRINTED) -> Experiment:
    """The experiment as one of a task that is no language model's; every guard held."""
    attempt, result = row.attempt.model_copy(update={"task": f"{name} {unit}"}), row.result
    if result is not None:
        score = result.score and Score(name=name, value=result.score.value, unit=unit, trust=trust)
        result = result.model_copy(update={"score": score, "guards": {"landlock": "held"}})
    return row.model_copy(update={"attempt": attempt, "result": result})


def enter(ledger: Ledger, *rows: Experiment) -> None:
    """Write finished experiments down."""
    for row in rows:
        assert row.result and row.judgement
        ledger.begin(row.attempt)
        ledger.finish(row.number, row.result, row.judgement)
        if row.decision:
            ledger.decide(row.number, row.decision)
