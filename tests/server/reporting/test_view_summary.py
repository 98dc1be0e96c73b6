"""The summary of a study: its headline, its counts, the run under way, one experiment in depth."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from server.history import comparisons
from server.history.ledger import Ledger
from server.records import Experiment, Point, Progress, Purpose, Revocation, Verdict
from server.reporting.position import position
from server.reporting.study_view import StudyView
from server.reporting.view_detail import diff_lines
from server.reporting.view_model import Kind, StudyState
from server.reporting.view_summary import gap_curve, now_view, thinned
from server.study.find_study import OperatorRequest, write_request
from tests.support.builders import experiment, of_task
from tests.support.made_studies import curve, decided, made, measured, repeated, running, study_paths, write
from tests.support.repositories import git, make_repository

NIGHT = [
    decided(measured(made(1, "the baseline"), 1.000, Verdict.BASELINE), kept=True),
    repeated(2, 1, Purpose.REFERENCE, 1.002),
    repeated(3, 1, Purpose.REFERENCE, 0.998),
    decided(measured(made(4, "a smaller batch"), 0.968, Verdict.IMPROVED, (1, 1.0)), kept=True),
    repeated(5, 4, Purpose.CONFIRM, 0.969),
    decided(measured(made(6, "no good"), 1.2, Verdict.WORSE, (4, 0.97)), kept=False),
    repeated(7, 4, Purpose.REFERENCE, 0.971),
    repeated(8, 4, Purpose.REFERENCE, 0.969),
]


def view_of(folder: Path, rows: Sequence[Experiment], program: str = "") -> StudyView:
    root = folder / "w"
    root.mkdir(exist_ok=True)
    (root / "program.md").write_text(program or "---\nname: a study\n---\nDo research.\n", encoding="utf-8")
    paths = study_paths(root)
    write(paths, rows)
    return StudyView(paths)


def test_the_headline_is_the_best_measured_again_beside_the_lucky_single_score(tmp_path: Path) -> None:
    summary = view_of(tmp_path, NIGHT).summary()
    found = summary.headline
    assert found and not found.provisional and found.better
    assert (found.best.number, found.best.runs, found.best.value) == (4, 2, pytest.approx(0.970))
    assert (found.baseline.number, found.baseline.runs, found.baseline.value) == (1, 3, pytest.approx(1.0))
    assert found.single.value == 0.968
    assert found.change == pytest.approx(-0.03) and found.percent == pytest.approx(-3.0)
    assert summary.noise and found.best.error == pytest.approx(summary.noise.sigma / 2**0.5)
    assert found.error == pytest.approx(summary.noise.sigma * (1 / 2 + 1 / 3) ** 0.5)
    assert (summary.counts.experiments, summary.counts.runs, summary.counts.kept, summary.counts.sure) == (3, 8, 1, 1)


def test_before_the_best_was_measured_again_the_headline_is_provisional(tmp_path: Path) -> None:
    summary = view_of(tmp_path, NIGHT[:6]).summary()
    assert summary.headline and summary.headline.provisional and summary.headline.best.confirmations == 1
    told = [fact.text for fact in summary.health.facts if not fact.good]
    assert any("provisional" in text for text in told)


def test_several_runs_at_once_are_lanes_of_which_the_last_is_the_one_under_way(tmp_path: Path) -> None:
    view = view_of(tmp_path, [*NIGHT, *(Experiment(attempt=made(number, f"idea {number}")) for number in (9, 10, 11))])
    with running(view.paths, 9, elapsed=100.0), running(view.paths, 11):
        summary = view.summary()
        assert [lane.now.number for lane in summary.lanes if lane.now] == [9, 11]  # nobody works on 10 any more
        assert summary.now and summary.now.number == 11
        pulse = view.pulse()
        assert pulse and [now.number for now in pulse[1]] == [9, 11]
    with running(view.paths, 9):
        assert view.summary().study.state is StudyState.RUNNING  # the last one is over, and another goes on
    with running(view.paths, 11):
        summary = view.summary()
        assert summary.lanes == [] and summary.now and summary.now.number == 11


def test_the_numbers_are_those_of_status(tmp_path: Path) -> None:
    view = view_of(tmp_path, NIGHT)
    summary, ledger = view.summary(), Ledger(view.paths.ledger, read_only=True)
    incumbent = ledger.incumbent()
    assert incumbent and summary.headline and summary.noise
    value, runs = comparisons.incumbent_value(ledger, incumbent)
    assert (summary.headline.best.value, summary.headline.best.runs) == (value, runs)
    assert summary.counts.experiments == comparisons.count_experiments(ledger)
    assert summary.counts.since_keep == comparisons.experiments_since_keep(ledger, incumbent)
    ledger.close()


HALF = [*NIGHT[:6], decided(measured(made(9, "luck"), 0.9695, Verdict.IMPROVED, (4, 0.97)), kept=True)]
TAKEN_BACK = [
    *NIGHT[:5],
    decided(measured(made(6, "built on it"), 0.95, Verdict.IMPROVED, (4, 0.97)), kept=True),
    repeated(7, 6, Purpose.REFERENCE, 0.951),
]


@pytest.mark.parametrize("revoked", [False, True])
@pytest.mark.parametrize("rows", [NIGHT[:1], NIGHT[:4], NIGHT, HALF, TAKEN_BACK])
def test_where_a_study_stands_is_told_alike_with_its_rows_and_without(
    tmp_path: Path, rows: list[Experiment], revoked: bool
) -> None:
    if revoked:
        back = Revocation(by=99, of=4, revoked_at="")
        rows = [row.model_copy(update={"revocation": back}) if row.number == 4 else row for row in rows]
    view = view_of(tmp_path, rows)
    summary, ledger = view.summary(), Ledger(view.paths.ledger, read_only=True)
    _, metric = view.material()
    stand = position(ledger, metric)
    assert (stand.headline, stand.noise) == (summary.headline, summary.noise)
    names = ("kept", "sure", "noise", "provisional")
    assert [getattr(stand.counts, name) for name in names] == [getattr(summary.counts, name) for name in names]
    standings = {n: summary.standings[at] for n, at in zip(summary.rows.number, summary.rows.standing, strict=True)}
    assert {n: line.standing for n, line in stand.kept.items()} == {n: told for n, told in standings.items() if told}
    assert all(line.error == summary.rows.error[summary.rows.number.index(n)] for n, line in stand.kept.items())
    assert position(ledger, metric) is stand
    write(view.paths, [measured(made(20, "a new one"), 0.96, Verdict.IMPROVED, (4, 0.97))])
    assert position(ledger, metric) is not stand
    ledger.close()


def test_a_chart_draws_the_best_with_the_error_that_the_headline_tells(tmp_path: Path) -> None:
    summary = view_of(tmp_path, NIGHT).summary()
    assert summary.headline
    for told in (summary.headline.baseline, summary.headline.best):
        at = summary.rows.number.index(told.number)
        assert (summary.rows.again[at], summary.rows.value_error[at]) == (told.value, told.error)


def test_where_higher_is_better_the_best_is_the_highest(tmp_path: Path) -> None:
    program = "---\nname: t\ncommand: ./score\nmetric: {name: f1, direction: higher}\neditable: [a.py]\n---\nGo.\n"
    rows = [of_task(row, "f1", "") for row in NIGHT]
    summary = view_of(tmp_path, rows, program).summary()
    assert (summary.study.metric.name, summary.study.metric.sign) == ("f1", -1)  # that definition was never measured
    (tmp_path / "w/.autoresearch/t1/runs/00008").mkdir(parents=True)
    spec = '{"task": {"metric": "f1", "direction": "higher", "unit": ""}}'
    (tmp_path / "w/.autoresearch/t1/runs/00008/spec.json").write_text(spec, encoding="utf-8")
    found = StudyView(study_paths(tmp_path / "w")).summary()
    assert found.study.metric.sign == 1 and found.headline and found.headline.single.value == 1.0


def test_scores_of_an_earlier_measurement_are_no_part_of_the_headline(tmp_path: Path) -> None:
    new = [of_task(experiment(9, Verdict.BASELINE, 800.0, kept=True)), of_task(experiment(10, Verdict.WORSE, 900.0))]
    summary = view_of(tmp_path, [*NIGHT, *new]).summary()
    assert summary.headline and summary.headline.baseline.value == summary.headline.best.value == 800.0
    assert summary.rows.comparable == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("text", ["---\nname: [broken\n---\n", "", "---\nstop: {hours: soon}\n---\n"])
def test_a_program_that_cannot_be_read_hides_no_number(tmp_path: Path, text: str) -> None:
    view = view_of(tmp_path, NIGHT)
    (view.root / "program.md").write_text(text, encoding="utf-8")
    assert view.summary().headline
    (view.root / "program.md").unlink()
    assert view.summary().headline


def test_a_study_that_does_not_exist_yet_is_empty_and_then_begins(tmp_path: Path) -> None:
    paths = study_paths(tmp_path)
    view = StudyView(paths)
    empty = view.summary()
    assert (empty.study.state, empty.headline, empty.rows.number) == (StudyState.OFF, None, [])
    assert view.pulse() is None and view.now() is None and view.detail(1) is None and not view.changed()
    write(paths, NIGHT[:1])
    assert view.changed() and view.summary().rows.number == [1]


def test_only_what_has_changed_is_read_again_and_the_summary_is_that_of_a_new_reader(tmp_path: Path) -> None:
    view = view_of(tmp_path, NIGHT[:3])
    view.summary()
    running_row = Experiment(attempt=NIGHT[3].attempt)
    undecided = NIGHT[3].model_copy(update={"decision": None})
    for rows in ([running_row], [undecided], [undecided, NIGHT[4]], [NIGHT[3]], NIGHT[5:]):
        write(view.paths, rows)
        assert view.changed()
        told, fresh = view.summary(), StudyView(view.paths)
        other = fresh.summary()
        assert told.model_copy(update={"quiet": 0.0}) == other.model_copy(update={"quiet": 0.0})
        assert not view.changed()
        fresh.close()


def test_a_look_at_one_experiment_hides_no_change_from_the_next_summary(tmp_path: Path) -> None:
    view = view_of(tmp_path, NIGHT[:3])
    view.summary()
    write(view.paths, NIGHT[3:])
    assert view.detail(4) and view.changed()
    assert view.summary().rows.number == [1, 4, 6] and not view.changed()


def test_a_ledger_that_was_put_in_anothers_place_is_read_from_the_start(tmp_path: Path) -> None:
    view = view_of(tmp_path, NIGHT)
    assert len(view.summary().rows.number) == 3
    view.paths.ledger.unlink()
    write(view.paths, NIGHT[:1])
    assert view.changed() and view.summary().rows.number == [1]


def test_a_reader_changes_nothing_and_takes_no_lock(tmp_path: Path) -> None:
    view = view_of(tmp_path, NIGHT)

    def files() -> dict[str, tuple[int, int]]:
        found = [path for path in tmp_path.rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in found}

    before = files()
    view.summary()
    view.pulse()
    view.detail(4)
    view.close()
    assert files() == before


def test_the_run_under_way_is_told_with_its_gap_and_what_is_left(tmp_path: Path) -> None:
    rows = [*NIGHT, Experiment(attempt=made(9, "it runs"))]
    view = view_of(tmp_path, rows)
    view.summary()
    assert view.now() is None  # nobody holds its lease
    curve(view.paths, 4)
    with running(view.paths, 9, elapsed=120.0):
        found = view.summary().now
        assert found and (found.number, found.stage, found.elapsed) == (9, "training", 120.0)
        assert found.eta == pytest.approx(300 - 120 + 24 + 2) and found.share == pytest.approx(0.4)
        assert found.gap is not None and len(found.curve) <= 61 and len(found.against) <= 61
        head, _ = view.pulse() or (None, None)
        assert head and head.state is StudyState.RUNNING
        write_request(view.paths.state, OperatorRequest.PAUSE)
        asked, _ = view.pulse() or (None, None)
        assert asked and (asked.state, asked.asked) == (StudyState.RUNNING, "pause")
    rested, _ = view.pulse() or (None, None)
    assert rested and rested.state is StudyState.PAUSED


def test_the_gap_is_that_to_the_incumbent_at_the_same_time_of_training() -> None:
    own = [Point(seconds=t, step=t, loss=3.0) for t in range(1, 21)]
    slower = [Point(seconds=t, step=t, loss=3.5) for t in range(1, 41, 2)]
    assert gap_curve(own, slower)[-1] == (20, -0.5)
    assert gap_curve(own, []) == gap_curve([], own) == []
    assert gap_curve(own, slower[15:]) == []  # the two have no time in common
    assert thinned([Point(seconds=t, step=t, loss=t) for t in range(500)])[-1] == (499, 499)


def test_a_task_tells_what_is_left_by_what_its_runs_took() -> None:
    row = Experiment(attempt=made(9, "it runs", task="t"))
    past = [of_task(found).model_copy(update={"attempt": made(1, "", task="t")}) for found in NIGHT[:3]]
    told = now_view(row, Progress(stage="command", elapsed_seconds=30.0), past, ([], []))
    assert told.eta == 300.0 and told.share == pytest.approx(30 / 330)
    first = now_view(row, Progress(), [], ([], []))
    assert first.eta is None and first.share is None


def test_a_training_on_shared_cores_takes_as_long_as_its_pace_says() -> None:
    row = Experiment(attempt=made(9, "it runs").model_copy(update={"budget_seconds": 60.0}))
    quiet, shared = (
        now_view(row, Progress(stage="training", elapsed_seconds=30.0, pace=pace), [], ([], [])) for pace in (1.0, 0.5)
    )
    assert quiet.eta is not None and shared.eta == quiet.eta + 30.0 and quiet.share == shared.share == 0.5


def test_an_experiment_in_depth_has_its_words_and_its_repeats(tmp_path: Path) -> None:
    view = view_of(tmp_path, NIGHT)
    found = view.detail(4)
    assert found and found.kind is Kind.KEPT and found.title.startswith("Better by 0.03200 ± ")
    assert [(run.number, run.purpose) for run in found.repeats] == [(5, "confirm"), (7, "reference"), (8, "reference")]
    assert found.diff[0].kind == "file"  # what git says: this is not a repository
    assert (view.detail(7) or found).number == 4 and view.detail(99) is None
    worse = view.detail(6)
    assert worse and worse.title.startswith("Worse by 0.23000")


DIFF = """\
diff --git a/train.py b/train.py
index 1..2 100644
--- a/train.py
+++ b/train.py
@@ -10,3 +10,3 @@ def model():
 x = 1
-LR = 0.04  # rate
+LR = 0.03  # rate
-gone = entirely
+quite(another, line)
"""


def test_a_diff_marks_the_tokens_that_differ_and_no_line_that_is_another() -> None:
    lines, cut = diff_lines(DIFF)
    assert [(line.kind, line.text[:8]) for line in lines[:3]] == [
        ("file", "train.py"),
        ("@", "line 10:"),
        (" ", "x = 1"),
    ]
    assert cut == 0 and [line.kind for line in lines[3:]] == ["-", "+", "-", "+"]
    told = [[line.text[slice(*mark)] for mark in line.marks] for line in lines[3:]]
    assert told == [["0.04"], ["0.03"], [], []]  # the last two lines have nothing in common


def test_a_line_that_looks_like_a_header_of_a_diff_is_a_line() -> None:
    text = "diff --git a/q.sql b/q.sql\n--- a/q.sql\n+++ /dev/null\n@@ -1,2 +0,0 @@\n--- a comment\n-++ b\n"
    lines, _ = diff_lines(text)
    assert [(line.kind, line.text) for line in lines] == [
        ("file", "q.sql (deleted)"),
        ("@", "line 0"),
        ("-", "-- a comment"),
        ("-", "++ b"),
    ]


@pytest.mark.parametrize("hostile", ["+" + "A" * 1_000_000, "@@ x @@\n" + "+ a\n" * 100_000, "\x00\x1b[31m\u202e"])
def test_a_diff_of_any_size_is_cut(hostile: str) -> None:
    lines, cut = diff_lines(hostile)
    assert len(lines) <= 1200 and all(len(line.text) <= 1002 for line in lines)
    assert cut == max(hostile.count("\n") - 1200, 0)


def test_the_diff_comes_from_git(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "w", "x = 1\n")
    before = git(root, "rev-parse", "HEAD")
    (root / "train.py").write_text("x = 2\n", encoding="utf-8")
    (root / "ä b.txt").write_text("new\n", encoding="utf-8")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "a change")
    after = git(root, "rev-parse", "HEAD")
    attempt = made(2, "a change", parent=before, commit=after)
    write(study_paths(root), [NIGHT[0], decided(measured(attempt, 0.9, Verdict.IMPROVED, (1, 1.0)), kept=True)])
    found = StudyView(study_paths(root)).detail(2)
    assert found and [(line.kind, line.text) for line in found.diff if line.kind in "+-"] == [
        ("-", "x = 1"),
        ("+", "x = 2"),
        ("+", "new"),
    ]
    assert [line.text for line in found.diff if line.kind == "file"] == ["train.py", "ä b.txt"]
