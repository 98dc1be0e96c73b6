"""What people see of several lanes, slots and agents; and that of one alone they see nothing more than before."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from server.cli.screens.study_now import as_json, facts_of
from server.history.export import csv
from server.paths import StudyPaths
from server.records import Experiment, Verdict
from server.reporting.morning.report_file import render
from server.reporting.study_view import StudyView
from server.reporting.view_model import LaneState
from server.watch.terminal import drawn
from tests.server.reporting.test_report import HOSTILE, safe
from tests.server.reporting.test_view_summary import NIGHT, view_of
from tests.support.made_studies import made, measured, running
from tests.support.night import Night, constants
from tests.support.repositories import make_repository


def asked(row: Experiment, **by: Any) -> Experiment:
    return row.model_copy(update={"attempt": row.attempt.model_copy(update=by)})


ADA = {"agent": "ada", "lane": "ada"}
BEA = {"agent": "bea", "lane": "bea"}
TEAM = [
    *NIGHT[:3],
    asked(NIGHT[3], **ADA),
    asked(NIGHT[4], **ADA),
    asked(NIGHT[5], **BEA),
    *NIGHT[6:],
    asked(measured(made(9, "wider"), 0.96, Verdict.IMPROVED, (4, 0.97)), agent="bea", lane="bea-2"),
    asked(Experiment(attempt=made(10, "deeper")), slot="0", concurrency=2, **ADA),
    asked(Experiment(attempt=made(11, "warmer")), queued_at="2026-01-02T00:00:00+00:00", **BEA),
]


def test_each_lane_tells_where_it_is_and_how_many_slots_are_busy(tmp_path: Path) -> None:
    view = view_of(tmp_path, TEAM)
    for name in ("bea-2", "c", "not a lane"):
        view.paths.lane_worktree(name).mkdir(parents=True)
    with running(view.paths, 10):
        summary = view.summary()
        assert [(lane.name, lane.state, lane.number, lane.place) for lane in summary.lanes] == [
            ("main", LaneState.IDLE, 1, None),
            ("ada", LaneState.RUNNING, 10, None),
            ("bea", LaneState.QUEUED, 11, 1),
            ("bea-2", LaneState.OPEN, 9, None),
            ("c", LaneState.IDLE, None, None),
        ]
        assert summary.slots == 2 and summary.lanes[1].slot == "0" and summary.lanes[3].agent == "bea"
        pulse = view.pulse()
        assert pulse and view.lanes(pulse[1]) == summary.lanes
        lines = dict(facts_of(summary, view.paths))["lanes"]
        assert "1 of 2 slots busy; lane main: no run; lane ada: 10, training: deeper; lane bea: 11, waits at" in lines
        document = as_json(summary, view.paths)
        assert document["lanes"][1]["now"]["number"] == 10 and "curve" not in document["lanes"][1]["now"]
        out = StringIO()
        Console(file=out, width=120).print(drawn(summary))
        assert "lane bea-2 of bea: 9, waits for a decision: wider" in out.getvalue()


def test_one_lane_and_one_agent_show_nothing_more_than_before(tmp_path: Path) -> None:
    view = view_of(tmp_path, [*NIGHT, Experiment(attempt=made(9, "it runs"))])
    with running(view.paths, 9):
        summary = view.summary()
    assert summary.lanes == [] and summary.slots == 1 and summary.agents == []
    known = dict(facts_of(summary, view.paths))
    assert not known["lanes"] and not known["agents"]
    assert "Who found what" not in render(view.paths, "html") + render(view.paths, "md")


def test_one_lane_with_several_slots_says_how_many_are_busy(tmp_path: Path) -> None:
    view = view_of(tmp_path, [*NIGHT, asked(Experiment(attempt=made(9, "it runs")), slot="1", concurrency=4)])
    with running(view.paths, 9):
        summary = view.summary()
    assert (summary.slots, [lane.name for lane in summary.lanes]) == (4, ["main"])


def test_who_found_what_is_told_by_counts_the_best_gain_and_the_time_of_runs(tmp_path: Path) -> None:
    refused = asked(NIGHT[5], **BEA).model_copy(update={"decision": None})
    assert refused.judgement
    refused = refused.model_copy(
        update={"judgement": refused.judgement.model_copy(update={"verdict": Verdict.REFUSED})}
    )
    view = view_of(tmp_path, [*TEAM[:-2], asked(refused, number=12)])
    ada, bea = view.summary().agents
    assert (ada.name, ada.experiments, ada.kept, ada.sure, ada.best, ada.seconds) == ("ada", 1, 1, 1, 4, 660.0)
    assert ada.change == pytest.approx(-0.032) and ada.error
    assert (bea.name, bea.experiments, bea.kept, bea.best, bea.change) == ("bea", 2, 0, None, None)
    assert dict(facts_of(view.summary(), view.paths))["agents"].startswith("ada kept 1 of 1, best −0.0320 (#4); bea")


def study(folder: Path, first: str, second: str) -> StudyPaths:
    made_ = Night(make_repository(folder / "work", constants(A=1)))
    made_.baseline(2.0, (2.001, 1.999))
    made_.tried({"train.py": constants(A=2)}, 1.8, Verdict.IMPROVED, "A to 2", [1.8, 1.801], agent=first, lane=first)
    made_.tried({"train.py": constants(A=9)}, 1.9, Verdict.WORSE, "A to 9", agent=second, lane=second)
    return StudyPaths(made_.write())


def test_the_report_has_a_line_for_each_agent_in_every_form(tmp_path: Path) -> None:
    paths = study(tmp_path, "ada", "bea")
    html = safe(render(paths, "html")).text
    assert "2 agents tried 2 changes; 1 was kept" in html and "Kept changes by agent: ada 1." in html
    assert "Who found whatagentchanges triedkeptsurebest gain ± errorGPUada111−0.1995 ± 0.0" in html
    assert "| ada | 1 | 1 | 1 | −0.1995 ± 0.0" in render(paths, "md")
    document = json.loads(render(paths, "json"))
    assert [line[0] for line in document["agents"]] == ["ada", "bea"]
    assert [one["name"] for one in document["summary"]["agents"]] == ["ada", "bea"]


def test_hostile_names_of_agents_and_lanes_stay_words(tmp_path: Path) -> None:
    said = HOSTILE.encode("utf-8", "replace").decode()
    paths = study(tmp_path, said, f"{said}2")
    assert "<script>alert(1)</script>" in safe(render(paths, "html")).text
    markdown = render(paths, "md")
    assert "\x1b" not in markdown and "\u202e" not in markdown
    assert not any("<script>" in line for line in markdown.splitlines() if not line.startswith(("+", "-", " ")))
    view = StudyView(paths)
    shown = "".join(f"{name}{text}" for name, text in facts_of(view.summary(), paths))
    assert "\x1b" not in shown and "\x00" not in shown
    assert said.splitlines()[0][:20] in csv(view.material()[0])  # as data, quoted
    view.close()
