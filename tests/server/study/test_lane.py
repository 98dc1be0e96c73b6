"""A lane: whose run is meant, whose candidate, and what may be done with it."""

from server.records import Purpose
from server.study.lane import MAIN, Lane
from server.study.phase import Phase
from server.study.study import Study
from tests.support.builders import only
from tests.support.lifecycle import PATCH, begin, improved, kept_baseline, ran


def test_a_new_lane_has_no_run_and_the_text_that_the_study_begins_with(study: Study) -> None:
    lane = study.lane
    assert (lane.id, lane.run(), lane.measured(), lane.failure(), lane.phase()) == (MAIN, None, None, None, Phase.NEW)
    assert lane.candidate() == study.incumbent()


def test_the_last_run_may_repeat_what_another_has_measured(study: Study) -> None:
    baseline = kept_baseline(study)
    assert study.lane.phase() is Phase.IDLE and study.lane.holds(baseline)
    ran(study, 2.0)
    run, measured = study.lane.run(), study.lane.measured()
    assert run and run.number == 2 and run.attempt.purpose is Purpose.REFERENCE
    assert measured and measured.number == baseline.number


def test_what_is_written_is_the_candidate_and_no_longer_what_was_measured(study: Study) -> None:
    baseline = kept_baseline(study)
    study.lane.write(only(study.lane.candidate().text + "\nx = 1\n"))
    assert study.lane.candidate().text.endswith("x = 1\n")
    assert not study.lane.holds(baseline) and study.lane.phase() is Phase.PATCHED


def test_a_lane_that_is_opened_again_stands_where_it_stood(study: Study) -> None:
    better = improved(study)
    again = Lane(study.ledger, study.workspace)
    assert again.phase() is study.lane.phase() is Phase.IMPROVED
    assert again.measured() == study.ledger.get(better.number) and again.holds(better)


def test_a_lane_whose_run_was_not_imported_is_running(study: Study) -> None:
    kept_baseline(study)
    study.apply_patch(PATCH)
    begin(study, 2)
    assert study.lane.phase() is Phase.RUNNING
