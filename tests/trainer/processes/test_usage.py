"""Whether every CPU second is counted, and by what; and one core for all processes where no group counts them."""

import os
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from tests.support.polling import until
from trainer.processes import usage
from trainer.processes.one_core import OneCore, choose
from trainer.processes.usage import HELD, Usage

FORKS = """
import os, threading
if os.fork():
    os.wait()
threading.Thread(target=lambda: input()).start()
print("done", flush=True)
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="cores are chosen on Linux alone")


@pytest.fixture
def tree() -> Iterator[subprocess.Popen[str]]:
    """A process with a child, each with two threads."""
    with subprocess.Popen(
        [sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdout.readline() == "done\n"
        yield process
        for found in psutil.Process(process.pid).children():
            found.kill()
        process.kill()


def cores(pid: int) -> list[set[int]]:
    return [os.sched_getaffinity(int(thread)) for thread in os.listdir(f"/proc/{pid}/task")]


@linux
def test_all_threads_of_all_processes_come_to_one_core_and_what_they_start_stays_there(
    tree: subprocess.Popen[str],
) -> None:
    process = psutil.Process(tree.pid)
    pids = [tree.pid, *(child.pid for child in process.children())]
    core = OneCore(tree.pid, lambda: 0.0)
    core.hold(lambda: pids)
    found = [mask for pid in pids for mask in cores(pid)]
    assert len(pids) == 2 and len(found) >= 3
    assert len(found[0]) == 1 and all(mask == found[0] for mask in found)


@pytest.mark.parametrize(
    ("taken", "now", "chosen"),
    [
        ({0: 0.9, 1: 0.1, 2: 0.2}, None, 1),
        ({0: 0.5, 1: 0.3}, 0, 0),  # not worth it
        ({0: 0.9, 1: 0.1}, 0, 1),
        ({1: 0.0, 0: 0.0}, None, 1),
        ({0: 2.0}, 0, 0),
    ],
)
def test_a_core_that_others_use_is_left_for_one_that_is_much_freer(
    taken: dict[int, float], now: int | None, chosen: int
) -> None:
    assert choose(taken, now) == chosen


def used(process: subprocess.Popen[str], counted: bool = True, filtered: str = HELD) -> Usage:
    return Usage(process.pid, 0, frozenset(), counted, filtered)


def test_the_meter_is_held_by_a_control_group_whatever_else_there_is(tree: subprocess.Popen[str]) -> None:
    found = used(tree, filtered="no filter here")
    if found.state != HELD:
        pytest.skip("no control group can be made here")
    tree.kill()
    for child in psutil.Process(tree.pid).children():
        child.kill()
    until(lambda: not found.close() and used_up(found))


def used_up(found: Usage) -> bool:
    """Whether its control group is gone."""
    try:
        found.read(now=True)
    except OSError:
        return True
    return False


def test_without_a_control_group_filter_and_core_must_both_be_there(
    tree: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_pid: int) -> None:
        """As for most users."""

    monkeypatch.setattr(usage, "_group", none)
    found = used(tree)
    if sys.platform == "linux":
        assert found.state == HELD
        found.hold()
        assert {len(one) for one in cores(tree.pid)} == {1}
    else:
        assert "cannot be held on one core" in found.state
    assert "no system call filter: none" in used(tree, filtered="none").state


def test_where_the_budget_is_wall_time_nothing_is_made_or_held(tree: subprocess.Popen[str]) -> None:
    found = used(tree, counted=False, filtered="none")
    found.hold()
    assert found.state == HELD and found.read(now=True) < 1
    if sys.platform == "linux":
        assert cores(tree.pid)[0] == os.sched_getaffinity(0)
