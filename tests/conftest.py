"""What several rooms' tests stand on."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from server.choices import Choices
from server.session import Session

PROGRAM = "---\nname: test\nbudget_seconds: 0.5\npreflight: false\nkeep_rule: any\n---\nDo research.\n"
STAND_INS = Path(__file__).parent / "stand_ins"
IDENTITY = {f"GIT_{role}_{part}": "user@example.org" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of tokenised data, built once for all runs."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(autouse=True)
def no_run_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A run outlives its server, and so the test that failed in between: it would slow down all that follow."""
    wanted = {"repository", "night", "runner"} & set(request.fixturenames)
    folder: Path | None = request.getfixturevalue("tmp_path") if wanted else None
    yield
    if folder is not None:
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if any(word.startswith(str(folder)) for word in process.cmdline()):
                    process.kill()


def git(folder: Path, *arguments: str) -> str:
    """Plain git, as the user runs it."""
    return subprocess.run(
        ["git", *arguments],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        check=True,
        env={**os.environ, **IDENTITY},
    ).stdout.strip()


def make_repository(folder: Path, train: str) -> Path:
    """A user's repository with a program.md and a train.py."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "program.md").write_text(PROGRAM, encoding="utf-8")
    (folder / "train.py").write_text(train, encoding="utf-8")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "start")
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository under a path with a space, quotes and letters beyond ASCII; its train.py hardly learns."""
    honest = (STAND_INS / "honest.py").read_text(encoding="utf-8")
    return make_repository(tmp_path / 'my "re" pô\'s', honest.replace("RATE = 0.03", "RATE = 1e-6"))


@pytest.fixture
def night(repository: Path, data: Path) -> Iterator[Session]:
    """An open session in the repository."""
    (repository / ".autoresearch").mkdir()
    (repository / ".autoresearch" / "data").symlink_to(data)
    session = Session(repository, "t1", Choices(profile="smoke"))
    yield session
    session.close()
