"""Lanes, while somebody else moves the branch, deletes a folder, or queues more than the slots can take."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from server.api import history_views, views
from server.api.lanes.caller import Caller
from server.api.next_actions import next_sentences
from server.errors import AlreadyMeasured, LedgerUnavailable, UnknownLane, WrongPhase
from server.records import Figures, Outcome, Purpose, Result, Score, Verdict
from server.serve_options import ServeOptions
from server.study import sweep
from server.study.background import dispatch
from server.study.find_study import latest_study
from server.study.phase import Phase
from server.study.study import Study
from server.study.sweep_queue import Sweep
from tests.support.lanes import HeldExecutor, TwoSlots, end, patched
from tests.support.repositories import HARDLY_LEARNS, git, make_repository


def opened(folder: Path, engine: type[HeldExecutor] = HeldExecutor) -> Study:
    return Study(folder, "t1", ServeOptions(profile="smoke"), engine)


def baseline(study: Study) -> None:
    study.run("the baseline")
    end(study, 1, 2.0)


def cost(value: float) -> Result:
    score = Score(name="cost", value=value)
    return Result(
        outcome=Outcome.FINISHED, reason="ok", score=score, figures=Figures(), finished_at="2026-01-01T12:00:00+00:00"
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    root = make_repository(tmp_path / "work", HARDLY_LEARNS)
    program = "---\nname: lanes\nbudget_seconds: 1\nkeep_rule: any\n---\nDo research.\n"
    (root / "program.md").write_text(program, encoding="utf-8")
    return root


@pytest.fixture
def study(place: Path) -> Iterator[Study]:
    with closing(opened(place)) as study:
        baseline(study)
        yield study


def test_nothing_that_waits_is_built_on_what_somebody_else_has_committed(study: Study, place: Path) -> None:
    patched(study, "x = 1")
    patched(study, "y = 1", "b", at="model =")
    study.run("one")
    study.run("two", lane="b")
    end(study, 2, 1.9)
    study.keep("better")
    kept, branch = study.workspace.tip(), f"refs/heads/{study.workspace.branch}"
    strange = git(place, "commit-tree", "-p", kept, "-m", "the operator's", f"{kept}^{{tree}}")
    git(place, "update-ref", branch, strange)
    dispatch(study)
    row = study.ledger.get(3)
    assert row and row.queued and study.ledger.get(4) is None, "it waits on"
    assert "somebody else moved it" in str(views.show_run(study, 0, Caller("b")).why)
    git(place, "update-ref", branch, kept)
    dispatch(study)
    goes_on = study.ledger.get(4)
    assert goes_on and goes_on.running and goes_on.attempt.parent == kept


def test_a_client_with_many_runs_in_the_queue_does_not_go_before_one_that_was_not_served(study: Study) -> None:
    patched(study, "x = 0")
    study.run("served", agent="a")
    for number in range(1, 8):
        patched(study, f"x = {number}", f"a-{number}")
        study.run("more", lane=f"a-{number}", agent="a")
    patched(study, "z = 1", "b")
    study.run("the first", lane="b", agent="b")
    assert study.slots.waiting()[0].attempt.agent == "b"


def test_a_run_that_never_started_had_no_slot(study: Study) -> None:
    patched(study, "x = 1")
    patched(study, "y = 1", "b", at="model =")
    running = study.run("one", agent="a")
    study.run("two", lane="b", agent="b")
    study.cancel("no", "b")
    for lane, agent in (("c", "a"), ("b", "b")):
        patched(study, f"z = '{agent}'", lane)
        study.run("next", lane=lane, agent=agent)
    assert study.slots.waiting()[0].attempt.agent == "b", "what was cancelled in the queue has not served it"
    assert running.number == 2


def test_a_keep_is_finished_also_where_the_folder_of_its_lane_is_gone(study: Study, place: Path) -> None:
    patched(study, "y = 1", "b")
    study.run("two", lane="b")
    end(study, 2, 1.9)
    folder = study.lanes.at("b").worktree
    study.lanes.stay()
    study.verdicts.decide(2, kept=True, reason="better")  # and then the server is killed
    study.close()
    shutil.rmtree(folder)
    with closing(opened(place)) as after:
        kept = after.ledger.get(2)
        assert kept and after.workspace.tip() == kept.commit and not after.head_moved
        assert after.phase() is Phase.IDLE and "y = 1" in after.lane.candidate().text


def test_a_candidate_that_has_all_of_the_new_incumbent_is_measured_anew(place: Path) -> None:
    with closing(opened(place, TwoSlots)) as study:
        baseline(study)
        patched(study, "x = 1")
        study.run("x")
        patched(study, "x = 1", "b")
        patched(study, "y = 1", "b", at="model =")
        study.run("x and y", lane="b")
        end(study, 2, 1.9)
        study.keep("better")
        assert end(study, 3, 1.7).verdict == Verdict.IMPROVED and study.phase("b") is Phase.STALE
        row = study.run("x and y", lane="b")
        first = study.ledger.get(3)
        assert first and row.attempt.fingerprint == first.attempt.fingerprint
        assert row.attempt.parent == study.workspace.tip()
        end(study, 4, 1.95)
        study.discard("worse than x alone", "b")
        patched(study, "y = 1", "b", at="model =")
        with pytest.raises(AlreadyMeasured):
            study.run("once more", lane="b")


def test_a_sweep_tells_of_the_run_that_its_change_went_on_as(study: Study) -> None:
    patched(study, "x = 1")
    study.run("one")
    sweep.begin(study, Sweep.of("rates", [{"RATE": "0.01"}], lane="b"))
    end(study, 2, 1.9)
    study.keep("better")
    dispatch(study)
    end(study, 4, 1.8)
    while study.queue.active:
        sweep.step(study)
    told = history_views.sweep_reply(study)
    row = told.rows[0].experiment if told else None
    assert row and (row.experiment, row.decision) == (4, "kept")


def test_what_decides_about_a_candidate_is_run_also_where_it_waits_past_the_limit(tmp_path: Path) -> None:
    root = tmp_path / "work"
    root.mkdir()
    program = "---\nname: sums\ncommand: cat value\nmetric: cost\neditable: value\nstop: {experiments: 3}\n---\nGo.\n"
    (root / "program.md").write_text(program, encoding="utf-8")
    (root / "value").write_text("100\n", encoding="utf-8")
    for words in ("init --quiet --initial-branch=main", "add .", "commit --quiet -m start"):
        git(root, *words.split())
    with closing(opened(root)) as study:
        study.run("the baseline")
        end(study, 1, cost(100.0))
        for number, lane in enumerate(("main", "b"), 2):
            study.apply_patch(f"<<<<<<< SEARCH\n100\n=======\n{100 - number}\n>>>>>>> REPLACE", lane=lane)
            study.run(lane, lane=lane)
        end(study, 2, cost(99.9))
        dispatch(study)
        end(study, 3, cost(99.8))
        assert (study.phase(), study.phase("b")) == (Phase.PROMISING, Phase.PROMISING)
        first, waits = study.run("again"), study.run("again", lane="b")
        assert first.attempt.purpose is waits.attempt.purpose is Purpose.REFERENCE and waits.queued
        end(study, first.number, cost(100.1))
        dispatch(study)
        row = study.ledger.get(waits.number)
        assert row and row.running and not row.queued, row and row.result


def test_what_may_be_done_meanwhile_is_told_by_the_slots_and_by_whose_lane_it_is(place: Path) -> None:
    with closing(opened(place, TwoSlots)) as study:
        baseline(study)
        study.run("the incumbent again", lane="b", agent="b")
        end(study, 2, 2.0)
        patched(study, "x = 1")
        study.run("one")
        told = next(one for one in next_sentences(study) if "prepare" in one)
        assert "lane c" in told and "a slot is free" in told, "b is another client's"


def test_a_client_that_is_gone_finds_its_lane_again_and_who_ended_its_run_is_told(study: Study) -> None:
    """A client is its name: the server keeps nothing of a connection."""
    ada, bea = Caller("ada", "ada", "ada"), Caller("bea", "bea", "bea")
    views.apply_patch(study, "<<<<<<< SEARCH\nRATE = 1e-6\n=======\nRATE = 2e-6\n>>>>>>> REPLACE", "", 0, ada)
    views.start_run(study, "one", "", ada)
    with pytest.raises(WrongPhase, match="is running"):  # a second client of this name is in the same lane
        views.apply_patch(study, "x", "", 0, ada)
    views.apply_patch(study, "<<<<<<< SEARCH\nRATE = 1e-6\n=======\nRATE = 3e-6\n>>>>>>> REPLACE", "", 0, bea)
    assert views.start_run(study, "two", "", bea).status == "queued"
    views.cancel(study, "it takes too long", Caller("ada", "bea", "bea"))
    study.settle()
    dispatch(study)
    assert study.phase("bea") is Phase.RUNNING
    told = views.show_run(study, caller=ada)
    assert (told.status, told.why) == ("cancelled", "it takes too long (by bea)")
    assert "RATE = 2e-6" in views.read_train(study, 1, 0, "", ada).text, "the candidate is there still"
    views.discard(study, "nobody wants it", Caller("ada", "bea", "bea"))
    row = study.ledger.get(2)
    assert row and row.attempt.agent == "ada" and row.decision and row.decision.agent == "bea"


def test_no_client_takes_every_lane(study: Study) -> None:
    """Each other client can open its own, whatever one of them has open."""
    for name in ("ada", *(f"l{number}" for number in range(8))):
        study.apply_patch(_line(name), lane=name, agent="ada")
    with pytest.raises(UnknownLane, match=r"8 lanes are open beside the clients' own.* ada is your own lane"):
        study.apply_patch(_line("more"), lane="more", agent="ada")
    with pytest.raises(UnknownLane, match="8 lanes are open beside"):
        study.apply_patch(_line("more"), lane="more", agent="bea")
    with pytest.raises(UnknownLane, match="8 lanes are open beside"):
        sweep.begin(study, Sweep.of("rates", [{"RATE": "2e-6"}], lane="more", agent="bea"))
    for name in ("bea", "cy", "dot", "eva", "fay", "gus"):
        study.apply_patch(_line(name), lane=name, agent=name)
        study.run(name, lane=name, agent=name)
    first = study.ledger.unfinished()[0]
    end(study, first.number, 2.5)
    with pytest.raises(UnknownLane, match="16 lanes are open") as refused:
        study.apply_patch(_line("hal"), lane="hal", agent="hal")
    assert f"These are no better: {first.attempt.lane} (worse)." in refused.value.next_step
    study.discard("no", "l3")
    study.apply_patch(_line("more"), lane="more", agent="bea")
    names = [lane.id for lane in study.lanes.all()]
    assert "more" in names and "l3" not in names and len(names) == 16


def _line(name: str) -> str:
    return f"<<<<<<< SEARCH\nsession.submit(model)\n=======\nx_{name} = 1\nsession.submit(model)\n>>>>>>> REPLACE"


def test_a_study_goes_on_from_a_bundle_with_the_candidates_that_its_lanes_had(study: Study, tmp_path: Path) -> None:
    patched(study, "x = 1")
    study.run("one")
    end(study, 2, 1.9)
    patched(study, "y = 1", "b")
    study.run("two", lane="b")
    end(study, 3, 1.8)
    before = {lane: study.lanes.at(lane).candidate().sha256 for lane in ("", "b")}
    bundle, place = tmp_path / "night.bundle", tmp_path / "elsewhere"
    git(study.workspace.root, "bundle", "create", "--quiet", str(bundle), "--all")
    git(tmp_path, "init", "--quiet", str(place))
    git(place, "fetch", "--quiet", str(bundle), "refs/*:refs/*")
    git(place, "checkout", "--quiet", "--detach", git(study.workspace.root, "rev-parse", "HEAD").strip())
    with pytest.raises(LedgerUnavailable, match="no ledger of the study t1, but git has its rows") as told:
        latest_study(place, "")
    assert "serve --tag t1" in told.value.next_step
    with pytest.raises(LedgerUnavailable, match="No study t2 found"):
        latest_study(place, "t2")
    with closing(opened(place)) as there:
        told = views.status(there).lanes
        assert told and told["b"] == "improved, experiment 3", "nobody writes over a candidate that is not shown"
        assert {lane: there.lanes.at(lane).candidate().sha256 for lane in ("", "b")} == before
        assert (there.phase(), there.phase("b")) == (Phase.IMPROVED, Phase.IMPROVED)
        there.keep("it holds", "b")
