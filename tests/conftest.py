"""Fixtures of all tests, and the marker of those that run whole programs."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from server.serve_options import ServeOptions
from server.study.study import Study
from tests.support.repositories import STAND_INS, make_repository

_WHOLE = [Path(__file__).parent / folder for folder in ("integration", "faults", "attack")]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs whole programs: `-m "not integration"` leaves it out."""
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in _WHOLE):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of tokenised data, built once for all runs."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(autouse=True)
def no_run_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A run outlives its server, and so the test that failed in between: it would slow down all that follow."""
    wanted = {"repository", "study", "runner"} & set(request.fixturenames)
    folder: Path | None = request.getfixturevalue("tmp_path") if wanted else None
    yield
    if folder is not None:
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if any(word.startswith(str(folder)) for word in process.cmdline()):
                    process.kill()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository under a path with a space, quotes and letters beyond ASCII; its train.py hardly learns."""
    honest = (STAND_INS / "honest.py").read_text(encoding="utf-8")
    return make_repository(tmp_path / 'my "re" pô\'s', honest.replace("RATE = 0.03", "RATE = 1e-6"))


@pytest.fixture
def study(repository: Path, data: Path) -> Iterator[Study]:
    """An open study in the repository."""
    (repository / ".autoresearch").mkdir()
    (repository / ".autoresearch" / "data").symlink_to(data)
    study = Study(repository, "t1", ServeOptions(profile="smoke"))
    yield study
    study.close()
