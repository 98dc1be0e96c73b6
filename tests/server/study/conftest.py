"""Studies that several tests of this folder begin with."""

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from server.records import Experiment
from server.serve_options import ServeOptions
from server.study.study import Study
from tests.support.builders import crashed
from tests.support.failing_audits import calibrate, opened
from tests.support.lifecycle import ran
from tests.support.lost_refs import PATCH, last_patch, leave_text
from tests.support.repositories import HARDLY_LEARNS, copy_repository, make_repository


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Experiment]]:
    """A repository with a study that is over, and its rows. Each test has a copy: `told`."""
    root = make_repository(tmp_path_factory.mktemp("finished") / 'my "re" pô\'s', HARDLY_LEARNS)
    study = Study(root, "t1", ServeOptions(profile="smoke"))
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
    return root, rows


@pytest.fixture
def told(finished: tuple[Path, list[Experiment]], repository: Path) -> list[Experiment]:
    """A baseline, two kept, and between them one discarded and one crashed; then the server ends."""
    root, rows = finished
    shutil.rmtree(repository)
    copy_repository(root, repository)
    return list(rows)


@pytest.fixture(scope="session")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A repository with a baseline whose noise is known, by the name of its rule. Each test has a copy."""

    @cache
    def made(rule: str) -> Path:
        return calibrate(tmp_path_factory.mktemp("calibrated") / "work", rule)

    return made


@pytest.fixture(params=["confirmed", "any"])
def ruled(request: pytest.FixtureRequest, calibrated: Callable[[str], Path], tmp_path: Path) -> Iterator[Study]:
    """A baseline whose noise is known, under each rule."""
    study = opened(copy_repository(calibrated(request.param), tmp_path / "work"), request.param)
    yield study
    study.close()


@pytest.fixture
def loose(calibrated: Callable[[str], Path], tmp_path: Path) -> Iterator[Study]:
    """The same, under the rule that keeps what is better once."""
    study = opened(copy_repository(calibrated("any"), tmp_path / "work"), "any")
    yield study
    study.close()


@pytest.fixture
def strict(calibrated: Callable[[str], Path], tmp_path: Path) -> Iterator[Study]:
    """The same, under the rule that confirms."""
    study = opened(copy_repository(calibrated("confirmed"), tmp_path / "work"), "confirmed")
    yield study
    study.close()
