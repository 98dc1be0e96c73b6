"""No number that train.py could have made up: cheats are caught or harmless, and odd honest models pass."""

import re
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from server.records import Outcome, Trust
from server.runs.spawn import probe_guards
from server.source import patch
from tests.attack.cases import BASE, Case, cases, run_all

QUICK = [case for case in cases("cheats") if not case.thorough]
CHEATS = [case for case in QUICK if not case.together]
UNUSUAL = [case for case in cases("unusual") if not case.thorough]


def parameters(chosen: list[Case]) -> list[ParameterSet]:
    return [
        pytest.param(case, id=re.sub(r"\W+", "-", case.name), marks=pytest.mark.slow if case.slow else [])
        for case in chosen
    ]


def together() -> Case:
    """All that try to reach what they must not, and change no model: one after the other in one train.py."""
    text = BASE
    for case in QUICK:
        if case.together:
            text = patch.apply(text, case.patch, "train.py")
    return Case(name="all that leave the model as it is", patch="", base=text)


def test_every_kind_of_cheat_is_tried_by_the_check() -> None:
    """By `make test` and `make slow`; the rest is for `make attack`. For text in train.py: the tests of source_size."""
    kinds = "descriptors,kernel state,lies,unseen children,handing in,set-up,evaluation,figures,reach"
    assert {case.kind for case in QUICK} == set(kinds.split(","))
    assert {case.ends for case in QUICK if case.together} == {"finished"}


@pytest.mark.parametrize("case", parameters([together(), *CHEATS]))
def test_a_cheat_is_caught_or_harmless(tmp_path: Path, data: Path, case: Case) -> None:
    """Without a preflight, which would refuse many before the referee sees them."""
    (ended,) = run_all([case], tmp_path, data, preflight=False)
    assert not ended.objection, (ended.objection, ended.result, ended.log[-2000:])
    if ended.result.score is not None:
        assert 2.0 < ended.result.score.value < 3.4  # what attentive.py reaches; no cheat moves it
        assert ended.result.trust is Trust.SEALED or set(probe_guards().values()) != {"held"}


@pytest.mark.slow
@pytest.mark.parametrize("case", parameters(UNUSUAL))
def test_an_unusual_honest_model_passes(tmp_path: Path, data: Path, case: Case) -> None:
    (ended,) = run_all([case], tmp_path, data, preflight=True)
    result = ended.result
    assert result.outcome is Outcome.FINISHED, result
    assert result.figures.preflight_seconds and result.score and result.score.value < 3.4
