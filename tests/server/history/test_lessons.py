"""The past helps the next idea: what is like it, what nearly worked, what has not been combined."""

from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest

from server.api import history_views, views
from server.errors import PatchRefused, UnknownExperiment
from server.history.ledger import Ledger
from server.history.lessons import lessons, near_misses
from server.metric import Metric
from server.records import Decision, Verdict
from server.serve_options import ServeOptions
from server.source.python_source import Change
from server.study.study import Study
from tests.support.builders import NOON, enter, experiment
from tests.support.lifecycle import ran
from tests.support.repositories import STAND_INS, make_repository

TRAIN = "WIDTH = 8\n" + (STAND_INS / "honest.py").read_text(encoding="utf-8")
MODEL = "model = Bigram().to(session.device)"


def block(before: str, after: str) -> str:
    return f"<<<<<<< SEARCH\n{before}\n=======\n{after}\n>>>>>>> REPLACE"


@pytest.fixture
def study(tmp_path: Path):
    """Three ideas: a rate that was worse, a width and a model that were hardly better."""
    repository = make_repository(tmp_path / "work", TRAIN)
    (repository / "program.md").write_text("---\nbudget_seconds: 1\n---\n", encoding="utf-8")
    study = Study(repository, "t1", ServeOptions(profile="smoke"))
    for score in (2.0, 2.002, 1.998):
        ran(study, score)
    for before, after, score in (
        ("RATE = 0.03", "RATE = 0.05", 2.1),
        ("WIDTH = 8", "WIDTH = 9", 1.9985),
        (MODEL, f"{MODEL}.float()", 1.9990),
    ):
        study.apply_patch(block(before, after))
        ran(study, score)
        study.discard("not better")
    yield study
    study.close()


def test_a_patch_is_answered_with_the_attempts_like_it_and_what_became_of_them(study: Study) -> None:
    told = views.apply_patch(study, block("RATE = 0.03", "RATE = 0.04"), "", 0).similar
    assert [(like.experiment, like.likeness, like.verdict) for like in told] == [(4, 1.0, "worse")]
    assert told[0].knobs == {"RATE": "0.03 → 0.05"} and told[0].delta == pytest.approx(0.1)
    study.discard("enough")
    other = block("    model.zero_grad()", "    model.zero_grad(set_to_none=True)")
    assert views.apply_patch(study, other, "", 0).similar == []


def test_the_lessons_name_values_near_misses_and_what_was_not_combined(study: Study) -> None:
    told = history_views.lessons_reply(study).lessons
    assert told is not None
    assert (told.attempts, told.keep_rate, told.since_last_keep) == (3, 0, 5)
    assert [(gain.category, gain.tried, gain.kept) for gain in told.gains] == [("knob", 2, 0), ("architecture", 1, 0)]
    assert {tried.knob: len(tried.values) for tried in told.knobs} == {"RATE": 1, "WIDTH": 1}
    assert "0.03 → 0.05 (experiment 4: worse +0.1" in str(told.knobs)
    assert [miss.experiment for miss in told.near_misses] == [5, 6]
    assert len(told.combinations) == 1 and "apply_patch(experiment=5)" in told.combinations[0]


def test_earlier_attempts_are_applied_again_on_top_of_each_other(study: Study) -> None:
    assert "+WIDTH = 9" in views.apply_patch(study, "", "", 5).diff
    both = views.apply_patch(study, "", "", 6)
    assert "+WIDTH = 9" in both.diff and f"+{MODEL}.float()" in both.diff
    assert [like.experiment for like in both.similar] == [6, 5]
    assert ran(study, 1.9).verdict == Verdict.PROMISING
    study.discard("only a test")
    told = history_views.lessons_reply(study).lessons
    assert told and told.combinations == []  # they were tried together


def test_a_large_change_that_is_applied_again_is_shown_in_part(study: Study) -> None:
    many = "\n".join(f"CONSTANT_{number} = {number}" for number in range(200))
    written = views.apply_patch(study, block("WIDTH = 8", f"WIDTH = 8\n{many}"), "", 0)
    assert written.diff.count("\n+CONSTANT") == 200
    number = ran(study, 3.0).number
    study.discard("only a test")
    again = views.apply_patch(study, "", "", number)
    assert "+CONSTANT_0 = 0\n" in again.diff and "more lines: read_train()" in again.diff
    assert len(again.diff) < 2100 and again.sha256 == written.sha256


def test_what_cannot_be_applied_again_is_refused_with_both_sides(study: Study) -> None:
    study.apply_patch(block("WIDTH = 8", "WIDTH = 12"))
    before = study.workspace.candidate()
    with pytest.raises(PatchRefused, match=r"(?s)conflicts.*WIDTH = 12.*WIDTH = 8.*WIDTH = 9.*experiment 5"):
        views.apply_patch(study, "", "", 5)
    with pytest.raises(UnknownExperiment, match="no experiment 99"):
        views.apply_patch(study, "", "", 99)
    for text, number in (("", 0), ("x", 5)):
        with pytest.raises(PatchRefused, match="either a patch, or the number"):
            views.apply_patch(study, text, "", number)
    assert study.workspace.candidate() == before
    study.discard("enough")
    with pytest.raises(PatchRefused, match="already in the candidate"):
        study.apply_patch(block("WIDTH = 8", "WIDTH = 9"))
        views.apply_patch(study, "", "", 5)


@pytest.mark.parametrize("direction", ["lower", "higher"])
def test_near_misses_come_best_first_whichever_way_is_better(
    tmp_path: Path, direction: Literal["lower", "higher"]
) -> None:
    metric = Metric("score", direction)
    with closing(Ledger(tmp_path / "ledger.sqlite3")) as ledger:
        enter(ledger, experiment(1, Verdict.BASELINE, 2.0, kept=True))
        for number, gain in ((2, 0.0002), (3, 0.0012), (4, -0.0015), (5, 0.0007)):
            delta = metric.sign * gain
            row = experiment(number, Verdict.WITHIN_NOISE, 2 + delta, kept=False)
            assert row.result and row.judgement
            ledger.begin(row.attempt, Change(category="knob", knobs={f"K{number}": "1 → 2"}, places=[]))
            ledger.finish(number, row.result, row.judgement.model_copy(update={"delta": delta}))
        told = lessons(ledger, metric)
        assert told.near_misses == near_misses(ledger, metric)
    assert [miss.experiment for miss in told.near_misses] == [3, 5, 2]
    assert [miss.delta * metric.sign > 0 for miss in told.near_misses] == [True] * 3
    pairs = [line.partition(":")[0] for line in told.combinations]
    assert pairs == ["3 + 5", "3 + 2", "5 + 2"]
    assert f"{metric.sign * 0.0019:+.6f} if they add up" in told.combinations[0]


def test_what_has_too_little_in_common_is_left_out_before_the_limit_counts(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "ledger.sqlite3")) as ledger:
        for number, places in enumerate((["a", "b"], ["a"], ["b", "c", "d"]), 1):
            ledger.begin(
                experiment(number, Verdict.WORSE).attempt, Change(category="knob", knobs={"K": "1 → 2"}, places=places)
            )
        features = ("knob K", "a", "b")
        assert ledger.sharing(features, 5) == [(1, 3, 3), (2, 2, 2), (3, 2, 4)]
        assert ledger.sharing(features, 5, least=3) == ledger.sharing(features, 1) == [(1, 3, 3)]


def test_what_was_promising_and_given_up_is_a_near_miss_and_what_is_open_is_none(tmp_path: Path) -> None:
    metric = Metric("score", "lower")
    with closing(Ledger(tmp_path / "ledger.sqlite3")) as ledger:
        enter(ledger, experiment(1, Verdict.BASELINE, 2.0, kept=True))
        for number in (2, 3):
            row = experiment(number, Verdict.PROMISING, 1.9, kept=False)
            assert row.result and row.judgement
            ledger.begin(row.attempt, None)
            ledger.finish(number, row.result, row.judgement.model_copy(update={"delta": -0.1}))
        ledger.decide(2, Decision(kept=False, decided_at=NOON))
        assert [miss.experiment for miss in near_misses(ledger, metric)] == [2]
