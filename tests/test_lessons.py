"""The past helps the next idea: what is like it, what nearly worked, what has not been combined."""

from pathlib import Path

import pytest

from server import answer, recall
from server.choices import Choices
from server.errors import PatchRefused, UnknownExperiment
from server.experiment import Verdict
from server.session import Session
from tests.conftest import STAND_INS, make_repository
from tests.steps import ran

TRAIN = "WIDTH = 8\n" + (STAND_INS / "honest.py").read_text(encoding="utf-8")
MODEL = "model = Bigram().to(session.device)"


def block(before: str, after: str) -> str:
    return f"<<<<<<< SEARCH\n{before}\n=======\n{after}\n>>>>>>> REPLACE"


@pytest.fixture
def night(tmp_path: Path):
    """Three ideas: a rate that was worse, a width and a model that were hardly better."""
    repository = make_repository(tmp_path / "work", TRAIN)
    (repository / "program.md").write_text("---\nbudget_seconds: 1\n---\n", encoding="utf-8")
    session = Session(repository, "t1", Choices(profile="smoke"))
    for score in (2.0, 2.002, 1.998):
        ran(session, score)
    for before, after, score in (
        ("RATE = 0.03", "RATE = 0.05", 2.1),
        ("WIDTH = 8", "WIDTH = 9", 1.9985),
        (MODEL, f"{MODEL}.float()", 1.9990),
    ):
        session.apply_patch(block(before, after))
        ran(session, score)
        session.discard("not better")
    yield session
    session.close()


def test_a_patch_is_answered_with_the_attempts_like_it_and_what_became_of_them(night: Session) -> None:
    told = answer.patched(night, block("RATE = 0.03", "RATE = 0.04"), "", 0).similar
    assert [(like.experiment, like.likeness, like.verdict) for like in told] == [(4, 1.0, "worse")]
    assert told[0].knobs == {"RATE": "0.03 → 0.05"} and told[0].delta == pytest.approx(0.1)
    night.discard("enough")
    other = block("    model.zero_grad()", "    model.zero_grad(set_to_none=True)")
    assert answer.patched(night, other, "", 0).similar == []


def test_the_lessons_name_values_near_misses_and_what_was_not_combined(night: Session) -> None:
    told = recall.learnt(night).lessons
    assert told is not None
    assert (told.attempts, told.keep_rate, told.since_last_keep) == (3, 0, 5)
    assert [(gain.category, gain.tried, gain.kept) for gain in told.gains] == [("knob", 2, 0), ("architecture", 1, 0)]
    assert {tried.knob: len(tried.values) for tried in told.knobs} == {"RATE": 1, "WIDTH": 1}
    assert "0.03 → 0.05 (experiment 4: worse +0.1" in str(told.knobs)
    assert [miss.experiment for miss in told.near_misses] == [5, 6]
    assert len(told.combinations) == 1 and "apply_patch(experiment=5)" in told.combinations[0]


def test_earlier_attempts_are_applied_again_on_top_of_each_other(night: Session) -> None:
    assert "+WIDTH = 9" in answer.patched(night, "", "", 5).diff
    both = answer.patched(night, "", "", 6)
    assert "+WIDTH = 9" in both.diff and f"+{MODEL}.float()" in both.diff
    assert [like.experiment for like in both.similar] == [6, 5]
    assert ran(night, 1.9).verdict == Verdict.PROMISING
    night.discard("only a test")
    told = recall.learnt(night).lessons
    assert told and told.combinations == []  # they were tried together


def test_what_cannot_be_applied_again_is_refused_with_both_sides(night: Session) -> None:
    night.apply_patch(block("WIDTH = 8", "WIDTH = 12"))
    before = night.workspace.candidate()
    with pytest.raises(PatchRefused, match=r"(?s)conflicts.*WIDTH = 12.*WIDTH = 8.*WIDTH = 9.*experiment 5"):
        answer.patched(night, "", "", 5)
    with pytest.raises(UnknownExperiment, match="no experiment 99"):
        answer.patched(night, "", "", 99)
    for text, number in (("", 0), ("x", 5)):
        with pytest.raises(PatchRefused, match="either a patch, or the number"):
            answer.patched(night, text, "", number)
    assert night.workspace.candidate() == before
    night.discard("enough")
    with pytest.raises(PatchRefused, match="in the candidate already"):
        night.apply_patch(block("WIDTH = 8", "WIDTH = 9"))
        answer.patched(night, "", "", 5)
