"""Lanes: each with a candidate of its own, one queue before the slots, and one incumbent that moves by comparison."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from server.api import history_views, views
from server.api.lanes.caller import Caller
from server.api.lanes.lane_states import to_watch
from server.errors import AlreadyMeasured, PatchRefused, UnknownLane, WrongPhase
from server.records import Purpose
from server.serve_options import ServeOptions
from server.study import limits, sweep
from server.study.background import dispatch
from server.study.find_study import OperatorRequest, write_request
from server.study.phase import Phase
from server.study.study import Study
from server.study.sweep_queue import Sweep
from tests.support.failing_audits import INVALID
from tests.support.lanes import HeldExecutor, TwoSlots, end, patched
from tests.support.repositories import HARDLY_LEARNS, make_repository

B = Caller("b")


def opened(folder: Path, engine: type[HeldExecutor] = HeldExecutor) -> Study:
    return Study(folder, "t1", ServeOptions(profile="smoke"), engine)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    root = make_repository(tmp_path / "work", HARDLY_LEARNS)
    program = root / "program.md"
    program.write_text("---\nname: lanes\nbudget_seconds: 1\nkeep_rule: any\n---\nDo research.\n", encoding="utf-8")
    return root


@pytest.fixture
def study(place: Path) -> Iterator[Study]:
    """A baseline of 2.0, and one slot."""
    with closing(opened(place)) as study:
        study.run("the baseline")
        end(study, 1, 2.0)
        yield study


def test_a_second_lane_has_a_candidate_of_its_own_and_waits_for_the_slot(study: Study) -> None:
    patched(study, "x = 1")
    study.run("one")
    assert study.phase() is Phase.RUNNING
    patched(study, "y = 1", "b")
    assert study.phase("b") is Phase.PATCHED and "x = 1" not in study.lanes.at("b").candidate().text
    row = study.run("two", lane="b")
    assert row.queued and row.attempt.lane == "b" and study.phase("b") is Phase.QUEUED and row.verdict == "queued"
    assert study.workspace.recorded(3) == row.commit, "the candidate is in git at once"
    end(study, 2, 2.1)
    dispatch(study)
    started = study.ledger.get(3)
    assert started and started.running and not started.queued and study.phase("b") is Phase.RUNNING
    assert started.attempt.commit == row.commit and started.attempt.slot == "0"
    assert study.phase() is Phase.WORSE, "main waits for its decision all the while"


def test_what_waits_survives_the_server(study: Study, place: Path) -> None:
    patched(study, "x = 1")
    study.run("one")
    patched(study, "y = 1", "b")
    study.run("two", lane="b")
    study.close()
    with closing(opened(place)) as after:
        assert (after.phase(), after.phase("b")) == (Phase.RUNNING, Phase.QUEUED)
        assert [lane.id for lane in after.lanes.all()] == ["main", "b"]
        dispatch(after)
        assert after.phase("b") is Phase.QUEUED, "the slot is taken"
        end(after, 2, 2.1)
        dispatch(after)
        assert end(after, 3, 1.9).attempt.lane == "b" and after.phase("b") is Phase.IMPROVED


def test_a_keep_leaves_the_other_candidate_stale_and_a_run_brings_it_to_the_new_incumbent(study: Study) -> None:
    patched(study, "x = 1")
    patched(study, "y = 1", "b", at="model =")
    study.run("one")
    study.run("two", lane="b")
    end(study, 2, 1.9)
    dispatch(study)
    study.keep("better")
    assert end(study, 3, 1.8).verdict == "improved", "against what it was built on"
    assert study.phase("b") is Phase.STALE
    with pytest.raises(WrongPhase, match="incumbent has changed"):
        study.keep("better", "b")
    row = study.run("two again", lane="b")
    text = study.lanes.at("b").candidate().text
    assert "x = 1" in text and "y = 1" in text and row.attempt.parent == study.workspace.tip()
    old = study.ledger.get(3)
    assert old and old.decision and not old.decision.kept and "experiment 2" in old.decision.reason
    end(study, 4, 1.7)
    assert (study.keep("better", "b").kept and study.workspace.tip() == row.commit) or study.workspace.tip()
    assert study.phase() is Phase.IDLE and "y = 1" in study.lane.candidate().text, "main, unchanged, follows"


@pytest.mark.parametrize(("second", "told"), [(1.95, True), (1.8, False)])
def test_a_stale_candidate_is_told_where_the_new_incumbent_is_as_good(study: Study, second: float, told: bool) -> None:
    patched(study, "x = 1")
    study.run("one")
    end(study, 2, 1.9)
    patched(study, "y = 1", "b")
    study.run("two", lane="b")
    end(study, 3, second)
    study.keep("it is better")
    why = str(views.show_run(study, 3).why)
    assert "The incumbent is now experiment 2" in why and ("not worse than this run's score" in why) is told


def test_a_candidate_that_waits_is_brought_to_the_new_incumbent_when_its_run_starts(study: Study) -> None:
    patched(study, "x = 1")
    patched(study, "y = 1", "b", at="model =")
    study.run("one")
    study.run("two", lane="b")
    end(study, 2, 1.9)
    study.keep("better")
    dispatch(study)
    waited, goes_on = study.ledger.get(3), study.ledger.get(4)
    assert waited and waited.verdict == "refused" and waited.result and "as experiment 4" in waited.result.reason
    assert goes_on and goes_on.running and goes_on.attempt.description == "two"
    assert goes_on.attempt.parent == study.workspace.tip() and study.phase("b") is Phase.RUNNING
    assert "x = 1" in study.workspace.files(goes_on.commit).text
    shown = views.show_run(study, 3)  # as an MCP task asks, which knows the first number alone
    assert (shown.experiment, shown.status) == (4, "running")
    assert views.show_first(study, {3}, Caller()).experiment == 4
    end(study, 4, 1.8)
    assert views.show_first(study, {3}, Caller()).verdict == "improved"


def test_what_waits_in_a_stopped_night_stays_and_a_conflict_ends_it_where_it_is(study: Study) -> None:
    patched(study, "x = 1")
    patched(study, "y = 1", "b")
    study.run("one")
    study.run("two", lane="b")
    write_request(study.workspace.state, OperatorRequest.STOP)
    end(study, 2, 1.9)
    dispatch(study)
    told = views.show_run(study, 3, B)
    assert told.status == "queued" and "stopped the study" in (told.why or "")
    first, *others = told.next_actions
    assert first.startswith("No new runs: the operator stopped the study. Tell the user")
    assert any("cancel_experiment" in one for one in others) and not any("wait_experiment" in one for one in others)
    study.keep("better")
    assert "stopped" in limits.end_of(study), "what waits keeps no night open"
    write_request(study.workspace.state, None)
    dispatch(study)
    told = views.show_run(study, 3, B)
    assert (told.experiment, told.status, study.phase("b")) == (3, "refused", Phase.FAILED)
    assert "conflict" in (told.why or "") and "y = 1" in study.lanes.at("b").candidate().text, "nothing is lost"


def test_a_conflict_is_shown_and_changes_nothing_and_a_patch_solves_it(study: Study) -> None:
    patched(study, "x = 1")
    patched(study, "x = 2", "b")
    study.run("one")
    study.run("two", lane="b")
    end(study, 2, 1.9)
    dispatch(study)
    end(study, 3, 1.8)
    study.keep("better")
    before = study.lanes.at("b").candidate()
    with pytest.raises(PatchRefused, match="conflicts") as refused:
        study.run("again", lane="b")
    assert "x = 1" in str(refused.value) and "x = 2" in str(refused.value)
    assert study.lanes.at("b").candidate() == before and study.phase("b") is Phase.STALE
    study.apply_patch("<<<<<<< SEARCH\nx = 2\n=======\nx = 1\n>>>>>>> REPLACE", lane="b")
    patched(study, "y = 2", "b", at="model =")
    assert study.phase("b") is Phase.PATCHED
    row = study.run("solved", lane="b")
    assert row.attempt.parent == study.workspace.tip()
    assert study.lanes.at("b").candidate().text.count("x = 1") == 1


def test_two_runs_at_once_where_there_are_two_slots(place: Path) -> None:
    with closing(opened(place, TwoSlots)) as study:
        study.run("the baseline")
        end(study, 1, 2.0)
        for lane, line in (("main", "x = 1"), ("b", "y = 1"), ("c", "z = 1")):
            patched(study, line, lane)
            study.run(lane, lane=lane)
        phases = [study.phase(lane) for lane in ("main", "b", "c")]
        assert phases == [Phase.RUNNING, Phase.RUNNING, Phase.QUEUED]
        assert [row.attempt.slot for row in study.ledger.unfinished()] == ["0", "1", None]
        end(study, 3, 1.9)
        dispatch(study)
        assert [row.attempt.slot for row in study.ledger.unfinished()] == ["0", "1"]


def test_what_decides_goes_first_and_nobody_waits_for_ever(study: Study) -> None:
    study.run("the incumbent again")
    patched(study, "x = 1", "b")
    study.run("new", lane="b")
    study.run("the incumbent again", lane="c")
    waiting = study.slots.waiting()
    assert [row.attempt.purpose for row in waiting] == [Purpose.REFERENCE, Purpose.MEASURE]


def test_the_queue_waits_for_the_operator(study: Study) -> None:
    patched(study, "x = 1")
    study.run("one")
    patched(study, "y = 1", "b")
    study.run("two", lane="b")
    end(study, 2, 2.1)
    write_request(study.workspace.state, OperatorRequest.PAUSE)
    dispatch(study)
    assert study.phase("b") is Phase.QUEUED and "paused" in study.slots.held
    write_request(study.workspace.state, None)
    dispatch(study)
    assert study.phase("b") is Phase.RUNNING


def test_a_limit_counts_what_waits_and_is_not_overrun(study: Study, place: Path) -> None:
    text = (place / "program.md").read_text(encoding="utf-8")
    (place / "program.md").write_text(text.replace("keep_rule", "stop:\n  experiments: 3\nkeep_rule"), encoding="utf-8")
    patched(study, "x = 1")
    views.start_run(study, "one", "")
    patched(study, "y = 1", "b")
    views.start_run(study, "two", "", B)
    assert study.ledger.last() and views.status(study).over
    end(study, 2, 2.1)
    dispatch(study)
    assert study.phase("b") is Phase.RUNNING, "it was counted when it was queued"


def test_a_run_is_taken_out_of_the_queue(study: Study) -> None:
    patched(study, "x = 1")
    study.run("one")
    patched(study, "y = 1", "b")
    study.run("two", lane="b")
    with pytest.raises(WrongPhase, match="waits for its run"):
        patched(study, "y = 2", "b")
    study.cancel("not now", "b")
    assert study.phase("b") is Phase.FAILED and study.phase() is Phase.RUNNING
    row = study.ledger.get(3)
    assert row and row.verdict == "cancelled" and "not now" in (row.result.reason if row.result else "")


@pytest.mark.parametrize("move", [views.keep, views.discard, views.cancel])
def test_a_lane_that_nobody_has_opened_is_refused_with_those_that_there_are(study: Study, move: object) -> None:
    patched(study, "x = 1", "b")
    with pytest.raises(UnknownLane, match=r"no lane 'c'.* main, b"):
        move(study, "why", Caller("c"))  # pyright: ignore[reportCallIssue, reportUnknownVariableType]
    with pytest.raises(UnknownLane, match="not a valid name of a lane"):
        views.apply_patch(study, "x", "", 0, Caller("No Lane"))


def test_status_shows_the_lanes_and_next_actions_teach_the_second_one(study: Study) -> None:
    patched(study, "x = 1")
    views.start_run(study, "one", "")
    told = views.status(study)
    assert told.lanes is None and "lane" not in told.model_dump()
    assert any("prepare the next candidate in lane b" in action for action in told.next_actions)
    patched(study, "y = 1", "b")
    reply = views.start_run(study, "two", "", B)
    assert (reply.status, reply.place, reply.lane) == ("queued", 1, "b")
    told = views.status(study)
    assert told.lanes == {"main": "running, experiment 2", "b": "queued, experiment 3, place 1"}
    assert not any("prepare" in action for action in told.next_actions)
    assert any(action.startswith("wait_experiment(any=true)") for action in told.next_actions)


def test_no_client_decides_in_the_lane_of_another_without_naming_it_and_the_history_tells_who(study: Study) -> None:
    ada, bea = Caller("ada", "ada", "ada"), Caller("bea", "bea", "bea")
    views.apply_patch(study, "<<<<<<< SEARCH\nRATE = 1e-6\n=======\nRATE = 2e-6\n>>>>>>> REPLACE", "", 0, ada)
    started = views.start_run(study, "one", "", ada)
    assert started.lane == "ada" and not any(action.startswith("keep") for action in started.next_actions)
    end(study, 2, 1.9)
    with pytest.raises(WrongPhase, match="nothing to keep"):
        views.keep(study, "mine", bea)
    assert views.status(study, bea).phase == "idle"
    views.keep(study, "hers is better", Caller("ada", "bea", "bea"))
    row = study.ledger.get(2)
    assert row and row.kept and row.attempt.agent == "ada" and row.decision and row.decision.agent == "bea"
    assert history_views.lessons_reply(study).agents == {"ada": "1 experiment, 1 kept"}
    told = views.status(study, bea)
    assert told.lanes and set(told.lanes) == {"main", "ada", "bea"} and "shared" in told.lanes["bea"]


def test_no_client_starves_another(study: Study) -> None:
    patched(study, "x = 1")
    study.run("one")
    for place, lane in enumerate(("ada", "ada-b", "ada-c", "bea")):
        patched(study, f"y{place} = 1", lane)
        study.run(lane, lane=lane, agent=lane[:3])
    served: list[str] = []
    for number in range(2, 6):
        end(study, study.ledger.unfinished()[0].number if number == 2 else _running(study), 2.1)
        dispatch(study)
        row = study.ledger.get(_running(study))
        served.append(row.attempt.agent or "" if row else "")
    assert served == ["ada", "bea", "ada", "ada"], "who was served longest ago comes first"


def _running(study: Study) -> int:
    (row,) = [row for row in study.ledger.unfinished() if not row.queued]
    return row.number


def test_the_seventeenth_lane_takes_the_place_of_an_idle_one(study: Study) -> None:
    for number in range(15):
        patched(study, f"x{number} = 1", f"l{number}")
    with pytest.raises(UnknownLane, match="16 lanes are open"):
        patched(study, "y = 1", "more")
    study.discard("no", "l3")
    patched(study, "y = 1", "more")
    names = [lane.id for lane in study.lanes.all()]
    assert "more" in names and "l3" not in names and len(names) == 16
    assert len(views.status(study).model_dump_json(indent=2).encode()) <= 4096


def test_waiting_for_any_lane_answers_with_what_ended_first(place: Path) -> None:
    with closing(opened(place, TwoSlots)) as study:
        study.run("the baseline")
        end(study, 1, 2.0)
        for lane, line in (("main", "x = 1"), ("b", "y = 1")):
            patched(study, line, lane)
            study.run(lane, lane=lane)
        watched = to_watch(study)
        assert watched == {2, 3} and views.show_first(study, watched, Caller()).status == "running"
        end(study, 3, 2.1)
        assert views.show_first(study, watched, Caller()).experiment == 3
        assert to_watch(study) == {3}, "it waits for its decision"
        study.discard("worse", "b")
        assert to_watch(study) == {2}


def test_one_code_is_not_run_in_two_lanes(study: Study) -> None:
    patched(study, "x = 1")
    study.run("one")
    patched(study, "x = 1", "b")
    with pytest.raises(AlreadyMeasured, match="experiment 2"):
        study.run("the same", lane="b")


def test_a_sweep_goes_on_while_another_lane_moves_the_incumbent(place: Path) -> None:
    with closing(opened(place, TwoSlots)) as study:
        study.run("the baseline")
        end(study, 1, 2.0)
        sweep.begin(study, Sweep.of("rates", [{"RATE": "2e-6"}, {"RATE": "3e-6"}]))
        patched(study, "y = 1", "b", at="model =")
        study.run("two", lane="b")
        end(study, 3, 1.5)
        study.keep("better", "b")
        end(study, 2, 1.9)
        assert study.phase() is Phase.STALE, "better than what it was built on, and nothing is kept by that"
        sweep.step(study)
        anew = study.lane.run()
        assert anew and anew.number == 4 and anew.attempt.parent == study.workspace.tip()
        end(study, 4, 1.6)
        for _ in range(2):
            sweep.step(study)
        assert (active := study.queue.active) and [item.experiment for item in active.items] == [4, 5], "4 continues 2"
        with pytest.raises(WrongPhase, match="sweep is running"):
            views.apply_patch(study, "x", "", 0)
        patched(study, "z = 1", "b")


def test_a_revoked_keep_is_taken_out_of_the_lanes_that_were_built_on_it(study: Study) -> None:
    patched(study, "x = 1")
    study.run("one")
    end(study, 2, 1.9)
    study.keep("better")
    patched(study, "y = 1", "b", at="model =")
    assert "x = 1" in study.lanes.at("b").candidate().text
    study.run("the incumbent again")
    end(study, 3, INVALID)
    assert study.ledger.revoked() and "x = 1" not in study.lane.candidate().text
    assert study.phase("b") is Phase.PATCHED
    row = study.run("two", lane="b")
    text = study.workspace.files(row.commit).text
    assert "y = 1" in text and "x = 1" not in text and row.attempt.parent == study.workspace.tip()


def test_what_is_queued_when_its_incumbent_is_revoked_goes_on_without_it(study: Study) -> None:
    patched(study, "x = 1")
    study.run("one")
    end(study, 2, 1.9)
    study.keep("better")
    study.run("the incumbent again")
    patched(study, "y = 1", "b", at="model =")
    study.run("two", lane="b")
    end(study, 3, INVALID)
    dispatch(study)
    row = study.lanes.at("b").run()
    assert row and row.number == 5 and row.running and not row.queued
    assert "y = 1" in (text := study.workspace.files(row.commit).text) and "x = 1" not in text
