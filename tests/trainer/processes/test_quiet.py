"""Runs beside one another take turns: whose processes work while one wishes to be alone, and what that costs them."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, cast

import psutil
import pytest

from tests.support.polling import until
from trainer.contract import Spec
from trainer.evaluators.file_traces import Neighbours
from trainer.processes import process_tree
from trainer.processes.process_tree import WorkedOn
from trainer.processes.quiet import NoRest, Quiet
from trainer.run.clock import RunEnded, StageClock
from trainer.run.run_folder import RunFolder

if TYPE_CHECKING:
    from trainer.run.child_launch import Launcher

_WORKS = """
import sys, time
count = 0
while True:
    count += 1
    open(sys.argv[1], "w").write(str(count))
    time.sleep(0.002)
"""

# A supervisor with a process.
_SUPERVISES = """
import subprocess, sys, time
from pathlib import Path
from trainer.processes.quiet import Quiet
quiet = Quiet(Path(sys.argv[1]), "of another run", frozenset, lambda: None)
child = subprocess.Popen([sys.executable, "-c", sys.argv[2], sys.argv[3]])
while True:
    quiet.rest()
    time.sleep(0.05)
"""


def nothing() -> None:
    """What a run that waits has to look after."""


@pytest.fixture
def made(tmp_path: Path) -> Iterator[list[Quiet]]:
    """Two runs."""
    with ExitStack() as stack:
        runs = [Quiet(tmp_path / "data", f"run {number}", frozenset, nothing) for number in range(2)]
        for run in runs:
            stack.callback(run.leave)
        yield runs


@pytest.fixture
def works(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A process that works, and where it counts."""
    path = tmp_path / "count"
    with subprocess.Popen([sys.executable, "-c", _WORKS, str(path)]) as process:
        until(lambda: path.exists() and path.read_text())
        yield process, path
        process.kill()


def test_a_run_rests_while_another_is_alone_and_then_goes_on(
    made: list[Quiet], works: tuple[subprocess.Popen[bytes], Path]
) -> None:
    one, other = made
    process, path = works
    rested = list[float]()
    looks = Thread(target=lambda: until(lambda: rested.append(other.rest()) or sum(rested) > 0))
    looks.start()
    assert one.be_alone() == one.rest() == 0.0  # who is alone rests no more
    assert psutil.Process(process.pid).status() == psutil.STATUS_STOPPED
    before = path.read_text()
    time.sleep(0.2)
    assert path.read_text() == before and not sum(rested)
    one.leave()
    looks.join()
    assert sum(rested) > 0.2
    until(lambda: path.read_text() not in (before, ""))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no process is stopped for the text")
def test_a_process_that_must_do_nothing_is_not_woken_after_a_rest(
    made: list[Quiet], works: tuple[subprocess.Popen[bytes], Path]
) -> None:
    """While a run's own text is shown, what it has started does nothing: to be woken for a moment is to have worked."""
    one, other = made
    process, _ = works
    process.send_signal(signal.SIGSTOP)
    until(lambda: process_tree.is_stopped(process.pid))
    other.held.add(process.pid)
    before, rested = process_tree.used([process.pid]), list[float]()
    looks = Thread(target=lambda: until(lambda: rested.append(other.rest()) or sum(rested) > 0))
    looks.start()
    one.be_alone()
    one.leave()
    looks.join()
    assert process_tree.is_stopped(process.pid) and process_tree.used([process.pid]) == before


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A run of another study, and where its process counts."""
    path = tmp_path / "count"
    command = [sys.executable, "-c", _SUPERVISES, str(tmp_path / "data"), _WORKS, str(path)]
    with subprocess.Popen(command) as process:
        until(lambda: path.exists() and path.read_text())
        yield process, path
        for one in (*psutil.Process(process.pid).children(), process):
            one.kill()


def goes_on(path: Path) -> None:
    """Wait until the process counts on."""
    before = path.read_text()
    until(lambda: path.read_text() not in (before, ""))


def alone_beside(supervisor: subprocess.Popen[bytes], made: list[Quiet]) -> psutil.Process:
    """Let the first of the runs be alone while a supervisor is stopped. Returns that one's process."""
    made[1].leave()
    made[0].be_alone()
    (worker,) = psutil.Process(supervisor.pid).children()
    return worker


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel does not tell who has a lock")
@pytest.mark.parametrize("continued", [False, True], ids=["stays stopped", "goes on meanwhile"])
def test_the_processes_of_a_supervisor_that_is_stopped_rest_and_then_go_on(
    made: list[Quiet], supervised: tuple[subprocess.Popen[bytes], Path], continued: bool
) -> None:
    supervisor, path = supervised
    supervisor.send_signal(signal.SIGSTOP)
    goes_on(path)  # its process does not stop with it
    worker = alone_beside(supervisor, made)
    assert worker.status() == psutil.STATUS_STOPPED
    if continued:
        supervisor.send_signal(signal.SIGCONT)
        until(lambda: psutil.Process(supervisor.pid).status() != psutil.STATUS_STOPPED)
    before = path.read_text()
    time.sleep(0.3)
    assert made[0].rest() == 0.0 and path.read_text() == before
    made[0].leave()
    goes_on(path)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel does not tell who has a lock")
def test_a_process_that_wakes_although_its_stopped_supervisor_cannot_see_it_is_ended(
    made: list[Quiet], supervised: tuple[subprocess.Popen[bytes], Path]
) -> None:
    supervisor, _ = supervised
    supervisor.send_signal(signal.SIGSTOP)
    worker = alone_beside(supervisor, made)

    def ended() -> bool:
        if worker.status() != psutil.STATUS_ZOMBIE:
            worker.resume()  # as a timer of its own can
        made[0].rest()
        return worker.status() == psutil.STATUS_ZOMBIE

    until(ended)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells of no work")
def test_a_process_that_wakes_while_another_run_is_alone_ends_its_run(
    made: list[Quiet], works: tuple[subprocess.Popen[bytes], Path]
) -> None:
    one, other = made
    process = psutil.Process(works[0].pid)
    found = list[BaseException]()

    def looks() -> None:
        with pytest.raises(WorkedOn) as raised:
            until(lambda: other.rest())
        found.append(raised.value)

    thread = Thread(target=looks)
    thread.start()
    one.be_alone()

    def woken() -> bool:
        process.resume()  # as a timer of its own can
        return not thread.is_alive()

    until(woken)
    assert str(process.pid) in str(found[0])


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel does not tell who is stopped")
def test_a_process_that_is_woken_more_often_than_it_can_be_stopped_has_worked_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as started:
        process = psutil.Process(started.pid)

        def woken(*_: object) -> list[psutil.Process]:
            process.resume()  # as a timer of its own can, between any two looks
            return [process]

        monkeypatch.setattr(process_tree, "_STOP_SECONDS", 1.0)
        monkeypatch.setattr(process_tree, "_alive", woken)
        with pytest.raises(WorkedOn, match=str(process.pid)):
            process_tree.stop_all("a cookie", frozenset())
        started.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells of no work")
def test_a_process_that_is_killed_while_another_run_is_alone_has_not_worked_on(
    made: list[Quiet], works: tuple[subprocess.Popen[bytes], Path]
) -> None:
    one, other = made
    rested = list[float]()
    thread = Thread(target=lambda: until(lambda: rested.append(other.rest()) or sum(rested) > 0))
    thread.start()
    one.be_alone()
    works[0].kill()  # as the kernel does for lack of memory
    works[0].wait()
    one.leave()
    thread.join()
    assert sum(rested) > 0


def test_who_wishes_to_be_alone_while_another_is_waits_and_rests(
    made: list[Quiet], works: tuple[subprocess.Popen[bytes], Path]
) -> None:
    one, other = made
    looks = Thread(target=lambda: until(lambda: other.rest()))
    looks.start()
    one.be_alone()
    rested = list[float]()
    third = Thread(target=lambda: rested.append(other.be_alone()))  # as soon as its rest is over
    one.leave()
    looks.join()
    third.start()
    third.join()
    assert rested == [0.0] and works[0].poll() is None


def test_nobody_begins_while_one_is_alone(made: list[Quiet], tmp_path: Path) -> None:
    one, other = made
    other.leave()
    one.be_alone()
    waited = list[int]()

    def wait() -> None:
        waited.append(1)
        if len(waited) == 3:
            raise KeyError

    with pytest.raises(KeyError):
        Quiet(tmp_path / "data", "third", frozenset, wait)
    one.leave()
    Quiet(tmp_path / "data", "third", frozenset, nothing).leave()


def test_runs_on_other_machines_that_share_the_folder_do_not_rest(tmp_path: Path) -> None:
    here, there = (Quiet(tmp_path, node, frozenset, nothing, node) for node in ("node/1", "node/2"))
    here.be_alone()
    assert there.rest() == there.be_alone() == 0.0
    here.leave()
    there.leave()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_a_shared_disk_without_locks_ends_no_run_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(_descriptor: int, _kind: int) -> None:  # as such a disk answers
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    spec = Spec(1, "smoke", 42, 1.0, 1.0, 300.0, 300.0, str(tmp_path / "data"), "", "")
    stage = StageClock(RunFolder(tmp_path))
    neighbours = Neighbours(stage, spec, cast("Launcher", None))
    assert "no locks" in neighbours.join()["neighbours"]
    neighbours.send_to_rest()
    assert stage.rest() == 0.0
    neighbours.leave()


def test_a_run_that_does_not_rest_is_not_waited_for_without_end(
    made: list[Quiet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.processes.quiet._PATIENCE_SECONDS", 0.1)
    with pytest.raises(NoRest):
        made[0].be_alone()


def test_processes_that_fork_on_and_on_are_stopped_all_the_same() -> None:
    forks = "import os, time\nwhile True:\n    if os.fork() == 0: time.sleep(0.01); os._exit(0)\n"
    forks += "    try: os.waitpid(-1, os.WNOHANG)\n    except OSError: pass\n    time.sleep(0.001)"
    with subprocess.Popen([sys.executable, "-c", forks]) as process:
        until(lambda: psutil.Process(process.pid).children())
        stopped = process_tree.stop_all("a cookie", frozenset())
        assert process.pid in {one.pid for one in stopped}
        before = psutil.Process(process.pid).cpu_times().user
        living = {one.pid for one in psutil.Process(process.pid).children()}
        time.sleep(0.1)
        assert psutil.Process(process.pid).cpu_times().user == before
        assert {one.pid for one in psutil.Process(process.pid).children()} == living
        process.kill()
        for one in stopped:
            if one.is_running():
                one.kill()


def test_runs_of_two_workspaces_meet_in_the_users_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    found = list[Neighbours]()
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        spec = Spec(1, "smoke", 42, 1.0, 1.0, 300.0, 300.0, str(tmp_path / name / "data"), "", name)
        found.append(Neighbours(StageClock(RunFolder(tmp_path / name)), spec, cast("Launcher", None)))
        assert found[-1].join() == {}
    monkeypatch.setattr("trainer.processes.quiet._PATIENCE_SECONDS", 0.1)
    with pytest.raises(RunEnded, match="did not pause"):
        found[0].send_to_rest()
    for each in found:
        each.leave()


def test_where_the_user_has_no_folder_the_runs_of_a_workspace_meet_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state").write_text("no folder")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    spec = Spec(1, "smoke", 42, 1.0, 1.0, 300.0, 300.0, str(tmp_path / "data"), "", "")
    neighbours = Neighbours(StageClock(RunFolder(tmp_path)), spec, cast("Launcher", None))
    assert neighbours.join() == {} and (tmp_path / "working.lock").exists()
    neighbours.leave()
