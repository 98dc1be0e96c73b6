"""The steps of a run, one by one, as a server makes them that dies in between; no process is started."""

from typing import Any

from server.records import Attempt, Experiment, Figures, Outcome, Result, Score
from server.study.phase import Phase
from server.study.study import Study
from tests.support.builders import NOON

PATCH = "<<<<<<< SEARCH\nmodel = Bigram().to(session.device)\n=======\nmodel = Bigram()\n>>>>>>> REPLACE"


def measured(value: float, **figures: Any) -> Result:
    score = Score(name="val_bpb", value=value, unit="bits per byte", details={"val_tokens": 10, "val_bytes": 30})
    told = Figures.model_validate({"device": "cpu", **figures})
    return Result(outcome=Outcome.FINISHED, reason="ok", score=score, figures=told, finished_at=NOON)


def begin(study: Study, number: int) -> Attempt:
    """The first steps of a run, up to the ledger's row: then the server dies."""
    phase = study.phase()
    plan, parent = study.verdicts.plan(phase, study.program().task), study.workspace.tip()
    attempt = Attempt(
        number=number,
        baseline=phase in (Phase.NEW, Phase.BASELINE_FAILED),
        purpose=plan.purpose,
        of=plan.of,
        description="idea",
        parent=parent,
        commit="",
        train_sha256=plan.candidate.sha256,
        fingerprint=plan.candidate.fingerprint,
        task=study.program().task.sha256,
        profile=study.profile,
        seed=42,
        budget_seconds=1,
        started_at=NOON,
    )
    attempt = attempt.model_copy(update={"commit": study.workspace.commit_attempt(attempt, plan.candidate)})
    made = None if plan.of or number == 1 else plan.candidate.changed_from(study.workspace.files(parent))
    study.ledger.begin(attempt, made)
    return attempt


def leave_result(study: Study, number: int, result: Result) -> None:
    """What a supervisor leaves behind."""
    folder = study.runs.path(number)
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(result.model_dump_json(), encoding="utf-8")


def ran(study: Study, result: Result | float) -> Experiment:
    """The next run, from the row to the imported result."""
    last = study.ledger.last()
    number = last.number + 1 if last else 1
    begin(study, number)
    leave_result(study, number, result if isinstance(result, Result) else measured(result))
    row = study.settle()
    assert row and row.number == number
    return row


def kept_baseline(study: Study) -> Experiment:
    """The first run, with a score."""
    baseline = ran(study, 2.0)
    assert baseline.kept
    return baseline


def improved(study: Study) -> Experiment:
    """A baseline, and a better candidate that waits for a decision."""
    kept_baseline(study)
    study.apply_patch(PATCH)
    row = ran(study, 1.9)
    assert study.phase() is Phase.IMPROVED
    return row
