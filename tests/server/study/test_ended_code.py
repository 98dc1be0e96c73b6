"""An audit failure in any run of it ends code for good: it is neither confirmed nor run again nor kept."""

import pytest

from server.api import history_views, views
from server.api.views import sweep_reply
from server.errors import AlreadyMeasured
from server.records import Outcome, Result, Verdict
from server.serve_options import ServeOptions
from server.study import sweep
from server.study.phase import Phase
from server.study.study import Study
from server.study.sweep_queue import Sweep
from tests.support.builders import NOON, crashed
from tests.support.failing_audits import (
    INVALID,
    REASON,
    opened,
    patch,
    promising_then_invalid,
    require_ended,
    root,
    set_rule,
)
from tests.support.lifecycle import ran
from tests.support.repositories import git

SEED = "torch.manual_seed(7)\nprint('a run')\n"
REFUSED = Result(outcome=Outcome.REFUSED, reason=f"Preflight: {REASON}", finished_at=NOON)


def test_an_invalid_confirmation_ends_the_candidate_everywhere(strict: Study) -> None:
    promising_then_invalid(strict)
    require_ended(strict, failed=5)
    candidate = root(strict)
    assert candidate.verdict == Verdict.INVALID and candidate.value is None and candidate.trust == ""
    told = views.show_run(strict)
    assert (told.status, told.verdict, told.value, told.delta) == ("invalid", "invalid", None, None)
    assert told.why and "experiment 5" in told.why and REASON in told.why
    message = git(strict.workspace.root, "log", "-1", "--format=%B", "refs/autoresearch/t1/4")
    assert "Verdict: invalid" in message and "Val-Bpb" not in message
    (line,) = (strict.workspace.state / "results.tsv").read_text(encoding="utf-8").splitlines()[2:]
    assert line.split("\t")[1::2] == ["", "crash"]
    (row,) = history_views.list_experiments(strict, 1, 1, "").rows
    assert (row.experiment, row.verdict, row.value, row.delta) == (4, "invalid", None, None)

    given_up = strict.discard("ended")
    assert given_up and given_up.number == 4 and given_up.verdict == Verdict.INVALID
    assert strict.phase() is Phase.IDLE
    strict.apply_patch(patch("model = Bigram().float()"))
    assert ran(strict, 1.9).verdict == Verdict.PROMISING  # another code is judged as ever


def test_a_candidate_that_an_audit_has_ended_may_be_patched_into_another_one(strict: Study) -> None:
    promising_then_invalid(strict)
    strict.apply_patch(patch("model = Bigram()  # the same", "model = Bigram()"))
    require_ended(strict, failed=5)
    strict.apply_patch(patch("model = Bigram().float()", "model = Bigram()  # the same"))
    assert strict.phase() is Phase.PATCHED
    assert ran(strict, 2.1).verdict == Verdict.WORSE
    strict.discard("worse")
    assert ran(strict, 2.001).verdict == Verdict.REFERENCE and views.show_run(strict).verdict == "reference"


def test_a_rule_that_is_loosened_afterwards_changes_nothing(strict: Study) -> None:
    promising_then_invalid(strict)
    set_rule(strict.workspace.root, "any")
    require_ended(strict, failed=5)
    strict.close()
    again = opened(strict.workspace.root, "any")
    require_ended(again, failed=5)
    again.close()


def test_an_invalid_measurement_is_the_end_under_every_rule(ruled: Study) -> None:
    ruled.apply_patch(patch("model = Bigram()"))
    assert ran(ruled, INVALID).verdict == Verdict.INVALID
    require_ended(ruled, failed=4)
    given_up = ruled.discard("ended")
    assert given_up and given_up.number == 4
    for text in ("model = Bigram()  # again", f"{SEED}model = Bigram()", 'model = (\n    Bigram())\n"""again"""'):
        ruled.apply_patch(patch(text))
        require_ended(ruled, failed=4)
        assert ruled.discard("once more") is None and ruled.phase() is Phase.IDLE


def test_four_failures_and_a_pass_are_no_gain(ruled: Study) -> None:
    """As a ledger of before would have them: the rows are made without asking whether the run is legal."""
    ruled.apply_patch(patch("model = Bigram()"))
    for _ in range(4):
        assert ran(ruled, INVALID).verdict == Verdict.INVALID
    lucky = ran(ruled, 1.5)
    assert lucky.verdict == Verdict.INVALID and lucky.judgement and "experiment 4" in lucky.judgement.why
    require_ended(ruled, failed=4)


def test_a_verdict_of_before_is_corrected_by_the_next_server(strict: Study) -> None:
    promising_then_invalid(strict)
    candidate = root(strict)
    assert candidate.result and candidate.judgement
    generous = candidate.judgement.model_copy(update={"verdict": Verdict.IMPROVED})
    strict.ledger.finish(4, candidate.result, generous)
    strict.close()
    again = opened(strict.workspace.root, "confirmed")
    require_ended(again, failed=5)
    again.close()


def test_no_budget_gives_ended_code_another_run(strict: Study) -> None:
    strict.apply_patch(patch("model = Bigram()"))
    ran(strict, INVALID)
    strict.discard("ended")
    strict.choices = ServeOptions(profile="cpu", budget_seconds=30)
    strict.apply_patch(patch("model = Bigram()"))
    require_ended(strict, failed=4)


@pytest.mark.parametrize("rebuilt", [False, True])
def test_the_end_survives_a_restart_and_a_rebuild(ruled: Study, rebuilt: bool) -> None:
    ruled.apply_patch(patch("model = Bigram()"))
    ran(ruled, INVALID)
    rows, rule = list(ruled.ledger.all()), ruled.program().task.keep_rule
    ruled.close()
    if rebuilt:
        (ruled.workspace.state / "ledger.sqlite3").unlink()
    again = opened(ruled.workspace.root, rule)
    assert list(again.ledger.all()) == rows
    require_ended(again, failed=4)
    again.discard("ended")
    again.apply_patch(patch("model = Bigram()  # again"))
    require_ended(again, failed=4)
    again.close()


def test_an_ended_attempt_that_is_applied_again_is_not_run(ruled: Study) -> None:
    ruled.apply_patch(patch("model = Bigram()"))
    ran(ruled, INVALID)
    ruled.discard("ended")
    told = views.apply_patch(ruled, "", "", 4)
    assert "experiment 4, a run of it, was invalid" in told.note
    require_ended(ruled, failed=4)


def test_a_sweep_skips_code_that_was_ended_and_goes_on(ruled: Study) -> None:
    ruled.apply_patch(patch("RATE = 0.04", "RATE = 0.03"))
    ran(ruled, INVALID)
    ruled.discard("ended")
    sweep.begin(ruled, Sweep.of("rates", [{"RATE": "0.04"}, {"RATE": "0.05"}]))
    sweep.step(ruled)
    assert ruled.phase() is Phase.RUNNING
    told = sweep_reply(ruled)
    assert told and "experiment 4, a run of it, was invalid" in told.rows[0].skipped
    assert told.rows[1].experiment and told.rows[1].experiment.experiment == 5


def test_a_sweep_drops_what_an_audit_ends_under_it(strict: Study) -> None:
    strict.apply_patch(patch("model = Bigram()"))
    ran(strict, INVALID)
    strict.queue.begin(sweep.Sweep(description="rates", items=[]))
    sweep.step(strict)
    assert strict.phase() is Phase.IDLE and views.status(strict).counts["invalid"] == 1


def test_other_failures_and_refusals_end_nothing(ruled: Study) -> None:
    ruled.apply_patch(patch("model = Bigram()"))
    for end in (REFUSED, REFUSED, crashed(), REFUSED):
        ran(ruled, end)
        assert ruled.phase() is Phase.FAILED
    assert not ruled.ledger.failed() and views.status(ruled).audits == ""
    assert ran(ruled, 2.1).verdict in (Verdict.WORSE, Verdict.WITHIN_NOISE)
    ruled.discard("worse")
    ruled.apply_patch(patch("model = Bigram()"))
    with pytest.raises(AlreadyMeasured):
        ruled.run("again")
