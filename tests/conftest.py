"""Fixtures of all tests, the marker of those that run whole programs, and how tests are spread over the cores."""

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from xdist.remote import Producer  # pyright: ignore[reportMissingTypeStubs]
from xdist.scheduler.loadscope import LoadScopeScheduling  # pyright: ignore[reportMissingTypeStubs]

from server.runs import spawn
from server.serve_options import ServeOptions
from server.study.study import Study
from tests.support.polling import cores
from tests.support.repositories import HARDLY_LEARNS, make_repository
from trainer.datasets import embedded

# Where compiled modules are not kept, each of the hundreds of processes that tests start would compile ours again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

_TESTS = Path(__file__).parent
_WHOLE = [_TESTS / folder for folder in ("integration", "faults", "attack")]
# Files whose tests share a wheel and its environment, a server, a browser, a prepared data set, the import of torch,
# the parsed source; those with the same word, with each other.
_SHARING = {
    "tests/repo/test_architecture.py": "source",
    "tests/repo/test_names.py": "source",
    "tests/repo/test_packaging.py": "wheel",
    "tests/integration/test_http.py": "server",
    "tests/server/watch/test_accessibility.py": "browser",
    "tests/server/watch/test_access.py": "page",
    "tests/server/watch/test_page.py": "browser",
    "tests/server/watch/test_trouble.py": "browser",
    "tests/trainer/datasets/test_prepare.py": "data",
    "tests/trainer/run/test_profiles.py": "torch",
    "tests/trainer/test_session.py": "torch",
    "tests/trainer/test_train.py": "torch",
    "tests/trainer/upstream/test_survey.py": "torch",
}
_MOST_PROCESSES = 8  # of tests: one test is longer than an eighth of the whole
# What takes longest starts first: else one core works on it at the end, and the others wait.
_LONG = [
    _TESTS / name
    for name in (
        *("server/watch", "repo/test_packaging.py", "integration/test_gpu_check.py", "trainer/run/test_profiles.py"),
        *("faults", "trainer/test_model_weights.py", "integration", "attack", "trainer/run", "repo"),
        *("server/runs/test_gpu.py", "server/task/test_dataset.py", "server/clients", "server/cli", "trainer"),
    )
]


class _Together(LoadScopeScheduling):
    """Each test goes to the next free process, but those that share something expensive to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        return _SHARING.get(nodeid.partition("::")[0], nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _Together:
    """In place of `--dist loadgroup`, whose groups pytest 9.2 does not show to xdist 3.8."""
    return _Together(config, log)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores, as tests also wait; none beside this one where files or single tests are named."""
    named = any(".py" in word for word in config.args)
    return 0 if named else min(cores() + 1, _MOST_PROCESSES)


def pytest_configure(config: pytest.Config) -> None:
    """No garbage is collected while a process of tests imports some thousand modules: there is none.

    And the runs of one process of tests do not rest for those of another.
    """
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="autoresearch-state-")
    if hasattr(config, "workerinput"):
        gc.disable()


def pytest_unconfigure() -> None:
    """Remove what `pytest_configure` has made."""
    shutil.rmtree(os.environ["XDG_STATE_HOME"], ignore_errors=True)


def pytest_collection_finish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput"):
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs whole programs: `-m "not integration"` leaves it out. What takes longest comes first."""
    whole = tuple(f"{folder}{os.sep}" for folder in _WHOLE)
    for item in items:
        if str(item.path).startswith(whole):
            item.add_marker(pytest.mark.integration)

    names = [str(path) for path in _LONG]

    def rank(item: pytest.Item) -> int:
        file = str(item.path)
        return next((rank for rank, name in enumerate(names) if file.startswith(name)), len(names))

    items.sort(key=rank)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of tokenised data, built once for the whole session: who comes second waits for it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "data"
    folder.mkdir(exist_ok=True)
    embedded.load(folder)
    return folder


@pytest.fixture(autouse=True)
def no_run_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A run outlives its server, and so the test that failed in between: it would slow down all that follow."""
    folder: Path | None = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    before = _latest_process()
    yield
    if folder is not None:
        for pid in _processes_since(before):
            with suppress(psutil.Error, OSError):
                if any(word.startswith(str(folder)) for word in command_line(pid)):
                    psutil.Process(pid).kill()
        for run in [run for run in spawn._CHILDREN if run.is_relative_to(folder)]:  # pyright: ignore[reportPrivateUsage]
            spawn.reap_supervisor(run)


def _latest_process() -> int:
    """The number of the latest process of this machine, if it tells; else 0."""
    with suppress(OSError):
        return int(Path("/proc/loadavg").read_text(encoding="ascii").split()[-1])
    return 0


def _processes_since(before: int) -> list[int]:
    """Those that are younger than the process of that number: most tests start none, and none is left of these."""
    latest = _latest_process()
    if latest == before != 0:
        return []
    return [pid for pid in psutil.pids() if not 0 < before <= latest or before < pid <= latest]


def command_line(pid: int) -> list[str]:
    """What a process was started with; on Linux read at once: this is asked of every process after every test."""
    if sys.platform == "linux":
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="surrogateescape").split("\0")
    return psutil.Process(pid).cmdline()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository under a path with a space, quotes and letters beyond ASCII; its train.py hardly learns."""
    return make_repository(tmp_path / 'my "re" pô\'s', HARDLY_LEARNS)


@pytest.fixture
def study(repository: Path, data: Path) -> Iterator[Study]:
    """An open study in the repository; its runs have no guards (tests.support.repositories.UNGUARDED)."""
    (repository / ".autoresearch").mkdir()
    (repository / ".autoresearch" / "data").symlink_to(data)
    study = Study(repository, "t1", ServeOptions(profile="smoke", confine=False))
    yield study
    study.close()
