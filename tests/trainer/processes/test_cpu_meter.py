"""CPU seconds are counted wherever a process tree spends them. Real processes, compared by their own clocks."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.polling import until
from trainer.processes.control_group import ControlGroup
from trainer.processes.cpu_meter import CpuMeter

WORK = """
import os, signal, time
def work(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
def turn():
    os.write(1, b"done\\n")  # in one piece, whoever else writes
    input()
"""
WAITED_FOR = """
for _ in range(8):
    if not (child := os.fork()):
        work(0.05)
        os._exit(0)
    os.waitpid(child, 0)
turn()
"""
IGNORED = """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if not os.fork():
    work(0.4)
    turn()
    os._exit(0)
try:
    os.wait()
except ChildProcessError:
    turn()
"""
UNWAITED = """
for _ in range(40):
    if not os.fork():
        work(0.008)
        os._exit(0)
turn()
turn()
"""
FORGOTTEN = """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range(8):
    if not (child := os.fork()):
        work(0.05)
        os._exit(0)
    try:
        os.waitpid(child, 0)
    except ChildProcessError:
        pass
turn()
"""
LARGE = """
block = bytearray(200_000_000)
turn()
del block
turn()
turn()
"""
FORKED = """
block = bytearray(b"x") * 200_000_000
for _ in range(3):
    if not os.fork():
        break
turn()
turn()
"""
LEAVES_A_GROUP = """
import sys
from trainer.processes.control_group import ControlGroup
print(ControlGroup(int(sys.argv[1]))._folder)
"""
Tree = subprocess.Popen[str]
Start = Callable[[str], Tree]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a script; it is over when the test is."""
    started: list[Tree] = []

    def begin(script: str) -> Tree:
        command = [sys.executable, "-c", WORK + script]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def turn(process: Tree) -> None:
    """Wait until the script has come to its next turn."""
    assert process.stdout and process.stdout.readline() == "done\n"


def go_on(process: Tree) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def test_children_that_were_waited_for_count_however_short_they_lived(start: Start) -> None:
    meter = CpuMeter(spared=0)
    turn(start(WAITED_FOR))
    assert meter.read(now=True) > 0.35


def test_children_whose_time_the_kernel_forgot_count_as_last_seen(start: Start) -> None:
    meter = CpuMeter(spared=0)
    tree = start(IGNORED)
    turn(tree)
    seen = meter.read(now=True)
    go_on(tree)
    turn(tree)
    assert meter.read(now=True) >= seen > 0.35


def test_only_what_was_used_since_the_meter_was_made_counts_and_nothing_of_who_is_spared(start: Start) -> None:
    spared, early = start(WAITED_FOR + "work(0.5)\nturn()"), start("work(0.4)\nturn()\nturn()")
    turn(spared)
    turn(early)
    meter = CpuMeter(spared=spared.pid)
    for process in (spared, early):
        go_on(process)
        turn(process)
    assert 0 <= meter.read(now=True) < 0.2


def test_children_that_nobody_waits_for_count_though_each_is_shorter_than_the_kernel_tells(start: Start) -> None:
    meter = CpuMeter(spared=0)
    tree = start(UNWAITED)
    turn(tree)
    worked = psutil.Process(tree.pid)
    until(lambda: all(child.status() == psutil.STATUS_ZOMBIE for child in worked.children()))
    assert len(worked.children()) == 40 and meter.read(now=True) > 0.32


def test_the_most_memory_at_once_is_kept_also_when_it_was_given_back_between_two_looks(start: Start) -> None:
    meter = CpuMeter(spared=0)
    tree = start(LARGE)
    turn(tree)
    go_on(tree)
    turn(tree)
    meter.read(now=True)
    assert 200e6 < meter.peak_memory < 300e6


def test_memory_that_forks_share_is_counted_once(start: Start) -> None:
    meter = CpuMeter(spared=0)
    tree = start(FORKED)
    for _ in range(4):
        turn(tree)
    meter.read(now=True)
    assert 200e6 < meter.peak_memory < 400e6


def grouped(pid: int) -> ControlGroup:
    try:
        return ControlGroup(pid)
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")


def test_a_control_group_counts_children_that_the_kernel_forgets(start: Start) -> None:
    tree = start("turn()" + FORGOTTEN)
    turn(tree)
    group = grouped(tree.pid)
    try:
        meter = CpuMeter(spared=0, group=group)
        go_on(tree)
        turn(tree)
        assert meter.read(now=True) > 0.35
    finally:
        tree.kill()
        tree.wait()
        group.close()
    with pytest.raises(OSError):
        group.seconds()


def test_a_group_that_a_killed_supervisor_has_left_is_removed_by_the_next_one(start: Start) -> None:
    tree = start("turn()\nturn()")
    turn(tree)
    grouped(tree.pid).close()
    command = [sys.executable, "-c", LEAVES_A_GROUP, str(tree.pid)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    left = Path(done.stdout.strip())
    assert left.exists()
    other = start("turn()\nturn()")
    turn(other)
    tree.kill()
    tree.wait()
    group = grouped(other.pid)
    try:
        assert not left.exists()
    finally:
        other.kill()
        other.wait()
        group.close()
