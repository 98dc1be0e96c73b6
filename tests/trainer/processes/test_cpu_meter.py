"""CPU seconds are counted wherever a process tree spends them. Real processes, compared by their own clocks."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from trainer.processes.cpu_meter import CpuMeter

WORK = """
import os, signal, time
def work(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
def turn():
    print("done", flush=True)
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
