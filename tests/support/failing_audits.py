"""Studies in which audits fail: the steps that several tests make, and what must then be refused. No run is started."""

from pathlib import Path

import pytest

from server.api import views
from server.errors import WrongPhase
from server.records import Experiment, Outcome, Purpose, Result, Verdict
from server.serve_options import ServeOptions
from server.study.phase import Phase
from server.study.study import Study
from tests.support.builders import NOON
from tests.support.lifecycle import ran
from tests.support.repositories import STAND_INS, make_repository

LINE = "model = Bigram().to(session.device)"
REASON = "The audit failed: claims at 9 of 32 audited positions do not hold when later tokens are replaced."
INVALID = Result(outcome=Outcome.INVALID, reason=REASON, finished_at=NOON)


def patch(line: str, before: str = LINE) -> str:
    return f"<<<<<<< SEARCH\n{before}\n=======\n{line}\n>>>>>>> REPLACE"


def opened(folder: Path, rule: str) -> Study:
    if not folder.exists():
        make_repository(folder, (STAND_INS / "honest.py").read_text(encoding="utf-8"))
        set_rule(folder, rule)
    return Study(folder, "t1", ServeOptions(profile="smoke", confine=False))


def set_rule(folder: Path, rule: str) -> None:
    told = f"---\nbudget_seconds: 1\npreflight: false\nkeep_rule: {rule}\n---\n"
    (folder / "program.md").write_text(told, encoding="utf-8")


def calibrate(folder: Path, rule: str) -> Path:
    """Make a repository in which the noise of the baseline is known."""
    study = opened(folder, rule)
    for score in (2.0, 2.002, 1.998):
        ran(study, score)
    study.close()
    return folder


def root(study: Study) -> Experiment:
    found = study.ledger.measured()
    assert found and found.judgement
    return found


def require_ended(study: Study, failed: int) -> None:
    """The candidate's code can only be left: every other move is refused, and the refusal says why and what now."""
    assert study.phase() is Phase.INVALID
    tip = study.workspace.tip()
    for move in (study.run, study.keep):
        with pytest.raises(WrongPhase, match=f"experiment {failed}, a run of it, was invalid") as refused:
            move("it was so low")
        assert REASON in refused.value.problem and "discard(reason)" in refused.value.next_step
        assert "run_experiment" not in refused.value.next_step
    assert study.workspace.tip() == tip
    assert {action.partition("(")[0] for action in views.status(study).next_actions} == {"discard", "apply_patch"}


def promising_then_invalid(study: Study) -> None:
    study.apply_patch(patch("model = Bigram()"))
    assert ran(study, 1.9).verdict == Verdict.PROMISING
    assert ran(study, INVALID).attempt.purpose is Purpose.CONFIRM
