"""No number that train.py could have made up: cheats are caught or harmless, and odd honest models pass."""

import re
from pathlib import Path

import pytest

from server.records import Outcome, Trust
from server.runs.spawn import probe_guards
from tests.attack.cases import Case, Ended, cases, run_all

CHEATS = [case for case in cases("cheats") if not case.thorough]
UNUSUAL = [case for case in cases("unusual") if not case.thorough]
pytestmark = pytest.mark.timeout(600)  # the first test of each kind waits for all runs


def named(chosen: list[Case]) -> list[str]:
    return [re.sub(r"\W+", "-", case.name) for case in chosen]


@pytest.fixture(scope="module")
def caught(tmp_path_factory: pytest.TempPathFactory, data: Path) -> dict[str, Ended]:
    """Every cheat's end. Without a preflight, which would refuse many before the referee sees them."""
    folder = tmp_path_factory.mktemp("cheats")
    return {ended.case.name: ended for ended in run_all(CHEATS, folder, data, preflight=False)}


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory, data: Path) -> dict[str, Ended]:
    folder = tmp_path_factory.mktemp("unusual")
    return {ended.case.name: ended for ended in run_all(UNUSUAL, folder, data, preflight=True)}


@pytest.mark.parametrize("case", CHEATS, ids=named(CHEATS))
def test_a_cheat_is_caught_or_harmless(caught: dict[str, Ended], case: Case) -> None:
    ended = caught[case.name]
    assert not ended.objection, (ended.objection, ended.result, ended.log[-2000:])
    if ended.result.score is not None:
        assert 2.0 < ended.result.score.val_bpb < 3.4  # what attentive.py reaches; no cheat moves it
        assert ended.result.trust is Trust.SEALED or set(probe_guards().values()) != {"held"}


@pytest.mark.parametrize("case", UNUSUAL, ids=named(UNUSUAL))
def test_an_unusual_honest_model_passes(passed: dict[str, Ended], case: Case) -> None:
    result = passed[case.name].result
    assert result.outcome is Outcome.FINISHED, result
    assert result.figures.preflight_seconds and result.score and result.score.val_bpb < 3.4
