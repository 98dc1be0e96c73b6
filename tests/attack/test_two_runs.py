"""Two runs of one user at once: what one is shown of validation text does not reach the other, which still trains."""

from pathlib import Path

import pytest

from server.records import Outcome
from server.runs.local_executor import LocalExecutor
from server.runs.run_spec import RunLimits
from tests.attack.cases import BASE
from tests.support.builders import attempt
from tests.support.polling import ended, until
from tests.support.runs import local_executor, start_run
from trainer.contract import RunFile

_LIMITS = RunLimits(setup_seconds=300, evaluation_seconds=60, grace_seconds=1, preflight=False)
# Memory that is shared on the whole machine goes up and down: each time could be a bit of what is scored.
_TELLS = """
import os, time
honest, told = F.cross_entropy, []


def tell(*given, **named):
    if named.get("reduction") == "none" and not told:
        told.append(os.memfd_create("told"))
        for _ in range(25):
            os.posix_fallocate(told[0], 0, 32 << 20)
            time.sleep(0.01)
            os.ftruncate(told[0], 0)
            time.sleep(0.01)
    return honest(*given, **named)


F.cross_entropy = tell
session.submit(model)
"""
_LISTENS = """
import ctypes, time
system, low, high, heard = (ctypes.c_ulong * 16)(), 1 << 60, 0, 0
tokens = session.start()
while session.training():
    ctypes.CDLL(None).sysinfo(system)
    shared = system[6]
    low, high = min(low, shared), max(high, shared)
    if shared - low > 24 << 20:
        heard, low, high = heard + 1, 1 << 60, shared
    elif high - shared > 24 << 20:
        low = high = shared
    if heard > 5:
        print("GOT", heard, "bits from another run", flush=True)
    time.sleep(0.003)
    session.log(loss=1.0, tokens=1)
session.submit(model)
"""


def _log(executor: LocalExecutor) -> str:
    return executor.runs.of(1).log_tail(1 << 20)


def _stage(executor: LocalExecutor) -> object:
    return executor.handle(1).progress().stage


def _workspace(folder: Path, data: Path) -> LocalExecutor:
    """One with its own folder beside the data: the two runs are of different studies."""
    folder.mkdir()
    (folder / "data").symlink_to(data)
    return local_executor(folder / "state", folder / "data", folder / "imports")


@pytest.mark.thorough
def test_a_run_that_trains_hears_nothing_of_one_that_is_shown_validation_text(tmp_path: Path, data: Path) -> None:
    first, other = (_workspace(tmp_path / name, data) for name in ("first", "other"))
    begin, _, _ = BASE.partition("tokens = session.start()")
    listens = attempt(1).model_copy(update={"profile": "smoke", "budget_seconds": 60})
    start_run(first, listens, begin + _LISTENS, _LIMITS)
    until(lambda: _stage(first) == "training")
    tells = attempt(1).model_copy(update={"profile": "smoke", "budget_seconds": 0.8})
    text = BASE.replace("session.submit(model)", _TELLS)
    start_run(other, tells, text, _LIMITS)
    result = ended(other)
    assert result.outcome is Outcome.FINISHED, result
    steps = (first.runs.path(1) / RunFile.PROGRESS).stat().st_mtime_ns
    until(lambda: (first.runs.path(1) / RunFile.PROGRESS).stat().st_mtime_ns > steps)  # it goes on
    assert _stage(first) == "training" and "GOT" not in _log(first), _log(first)[-300:]
    first.handle(1).cancel("it has listened long enough")
    assert ended(first).outcome is Outcome.CANCELLED
