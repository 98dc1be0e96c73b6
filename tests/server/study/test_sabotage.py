"""An incumbent that does its worst beside a candidate makes no winner of it; a changed machine hides none."""

import pytest

from server.records import Experiment, Purpose, Verdict
from server.study.phase import Phase
from server.study.study import Study
from tests.support.failing_audits import patch, root
from tests.support.lifecycle import ran

FIRST = "model = Bigram()"
SECOND = "RATE = 0.04"
BASELINE = 2.0


@pytest.fixture
def kept(strict: Study) -> Experiment:
    """An incumbent of 1.9 beside a baseline of 2.0, with a noise of 0.002."""
    strict.apply_patch(patch(FIRST))
    for score in (1.9, 1.901):
        ran(strict, score)
    return strict.keep("confirmed")


def decided(study: Study, candidate: float, incumbent: float, baseline: float) -> list[int]:
    """Two runs of the incumbent, another change, and all runs until its verdict, each with the score of its text.

    Returns:
        The experiments that were run, in turn.
    """
    for _ in range(2):
        assert ran(study, incumbent).attempt.purpose is Purpose.REFERENCE
    study.apply_patch(patch(SECOND, "RATE = 0.03"))
    runs = [ran(study, candidate)]
    own, first = runs[0].number, study.ledger.baseline()
    while study.phase() is Phase.PROMISING and len(runs) < 12:
        plan = study.verdicts.plan(Phase.PROMISING, study.program().task)
        score = candidate if plan.of == own else baseline if first and plan.of == first.number else incumbent
        runs.append(ran(study, score))
    return [run.attempt.of or run.number for run in runs]


def test_an_incumbent_that_does_its_worst_beside_a_candidate_is_no_lower_bar(strict: Study, kept: Experiment) -> None:
    runs = decided(strict, candidate=1.95, incumbent=1.99, baseline=BASELINE)
    assert 1 in runs, "nothing has told a changed machine from a text that does its worst"
    assert root(strict).verdict in (Verdict.WITHIN_NOISE, Verdict.WORSE)
    assert "those runs do not count" in str(root(strict).judgement)


def test_a_scattered_worst_is_no_lower_bar_either(strict: Study, kept: Experiment) -> None:
    for score in (1.93, 2.05, 1.93, 2.05):
        assert ran(strict, score).attempt.of == kept.number
    decided(strict, candidate=1.95, incumbent=2.05, baseline=BASELINE)
    assert root(strict).verdict in (Verdict.WITHIN_NOISE, Verdict.WORSE)


def test_a_machine_that_has_become_slower_hides_no_better_candidate(strict: Study, kept: Experiment) -> None:
    runs = decided(strict, candidate=1.95, incumbent=1.99, baseline=2.09)
    assert 1 in runs and root(strict).verdict == Verdict.IMPROVED


def test_what_really_is_better_wins_against_an_incumbent_that_does_its_worst(strict: Study, kept: Experiment) -> None:
    decided(strict, candidate=1.85, incumbent=1.99, baseline=BASELINE)
    assert root(strict).verdict == Verdict.IMPROVED


def test_an_incumbent_that_was_kept_with_some_luck_costs_no_run_of_the_baseline(
    strict: Study, kept: Experiment
) -> None:
    runs = decided(strict, candidate=1.88, incumbent=1.904, baseline=BASELINE)
    assert 1 not in runs and root(strict).verdict == Verdict.IMPROVED
    assert strict.ledger.repeats(1, Purpose.REFERENCE)[-1].number < kept.number
