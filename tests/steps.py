"""The steps of a run, one by one, as a server makes them that dies in between; no process is started."""

from typing import Any

from server import message
from server.change import change
from server.experiment import Attempt, Experiment, Figures, Outcome, Result, Score
from server.phase import Phase
from server.session import Session
from server.structure import fingerprint, sha256
from tests.records import NOON

PATCH = "<<<<<<< SEARCH\nmodel = Bigram().to(session.device)\n=======\nmodel = Bigram()\n>>>>>>> REPLACE"


def measured(val_bpb: float, **figures: Any) -> Result:
    score = Score(val_bpb=val_bpb, val_tokens=10, val_bytes=30)
    told = Figures.model_validate({"device": "cpu", **figures})
    return Result(outcome=Outcome.FINISHED, reason="ok", score=score, figures=told, finished_at=NOON)


def begin(night: Session, number: int) -> Attempt:
    """The first steps of a run, up to the ledger's row: then the server dies."""
    plan, parent = night.court.plan(night.phase(), night.program().task), night.workspace.tip()
    commit = night.workspace.commit(plan.text, parent, message.before(number, "idea", ""), NOON)
    attempt = Attempt(
        number=number, baseline=number == 1, purpose=plan.purpose, of=plan.of, description="idea", parent=parent,
        commit=commit, train_sha256=sha256(plan.text), fingerprint=fingerprint(plan.text), profile=night.profile,
        seed=42, budget_seconds=1, started_at=NOON,
    )  # fmt: skip
    made = None if plan.of or number == 1 else change(night.workspace.text(parent), plan.text)
    night.ledger.begin(attempt, made)
    return attempt


def leave_result(night: Session, number: int, result: Result) -> None:
    """What a supervisor leaves behind."""
    folder = night.runner.folder(number)
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(result.model_dump_json(), encoding="utf-8")


def ran(night: Session, result: Result | float) -> Experiment:
    """The next run, from the row to the imported result."""
    last = night.ledger.last()
    number = last.number + 1 if last else 1
    begin(night, number)
    leave_result(night, number, result if isinstance(result, Result) else measured(result))
    row = night.settle()
    assert row and row.number == number
    return row


def kept_baseline(night: Session) -> Experiment:
    """The first run, with a score."""
    baseline = ran(night, 2.0)
    assert baseline.kept
    return baseline


def improved(night: Session) -> Experiment:
    """A baseline, and a better candidate that waits for a decision."""
    kept_baseline(night)
    night.apply_patch(PATCH)
    row = ran(night, 1.9)
    assert night.phase() is Phase.IMPROVED
    return row
