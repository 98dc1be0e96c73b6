"""Studies that several tests of this folder begin with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.records import Experiment
from server.study.study import Study
from tests.support.builders import crashed
from tests.support.failing_audits import begun
from tests.support.lifecycle import ran
from tests.support.lost_refs import PATCH, last_patch, leave_text


@pytest.fixture
def told(study: Study) -> list[Experiment]:
    """A baseline, two kept, and between them one discarded and one crashed; then the server ends."""
    ran(study, 2.0)
    for number, score in enumerate((1.9, 2.1, crashed(), 1.8, 2.2), 2):
        old = ".to(session.device)" if number == 2 else ".float()"
        new = ".float()" + f"  # ü {number}\r" * (number > 2)
        study.apply_patch(PATCH.replace(".to(session.device)", old).format(new) if number < 6 else last_patch())
        ran(study, score)
        study.keep("better") if score in (1.9, 1.8) else study.discard("not better")
    for number in range(1, 7):
        leave_text(study, number)
    rows = list(study.ledger.all())
    assert [row.kept for row in rows] == [True, True, False, False, True, False]
    study.close()
    return rows


@pytest.fixture(params=["confirmed", "any"])
def ruled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Study]:
    """A baseline whose noise is known, under each rule."""
    study = begun(tmp_path / "work", request.param)
    yield study
    study.close()


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Study]:
    """The same, under the rule that confirms."""
    study = begun(tmp_path / "work", "confirmed")
    yield study
    study.close()
