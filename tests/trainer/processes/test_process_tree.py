"""Every last process of a run is ended: those that are gone before they can be listed, and those that look dead.

Each holds the end of a pipe: as long as one of them lives, the other end does not come to its end.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_SUPERVISOR = """
import os, signal, subprocess, sys, time
from trainer.processes import parentage, process_tree
parentage.become_subreaper()
reading, writing = os.pipe()
run = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=writing, start_new_session=True)
os.close(writing)
os.read(reading, 2)
os.set_blocking(reading, False)
def dead():
    try:
        return os.read(reading, 1) == b""
    except BlockingIOError:
        return False
assert not dead()
"""
_COMET = """
import os, time
os.write(1, b"on")
until = time.monotonic() + 20
while time.monotonic() < until:
    if os.fork():
        os._exit(0)
"""
_HEADLESS = """
import ctypes, os, threading, time
def on():
    os.write(1, b"on")
    time.sleep(600)
threading.Thread(target=on).start()
ctypes.CDLL(None).pthread_exit(None)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody adopts orphans")


def supervised(run: str, script: str) -> str:
    command = [sys.executable, "-c", _SUPERVISOR + script, run]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("run", [_COMET, _HEADLESS], ids=["forks and exits without end", "its first thread has ended"])
def test_nothing_of_a_run_lives_on(run: str) -> None:
    assert supervised(run, "print(process_tree.kill_descendants('a run'), dead())") == "[] True\n"


def test_who_is_spared_lives_on_while_a_comet_does_not() -> None:
    script = """
spared = subprocess.Popen(["sleep", "600"])
print(process_tree.kill_descendants("a run", spared=frozenset([spared.pid])), dead(), spared.poll())
spared.kill()
"""
    assert supervised(_COMET, script) == "[] True None\n"


@pytest.fixture
def freezer() -> Iterator[Path]:
    """A control group in which a thread can be held as a driver in trouble holds it."""
    group = Path(f"/sys/fs/cgroup/freezer/autoresearch-test-{os.getpid()}")
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group: {error.strerror}")
    yield group
    group.rmdir()


def test_a_zombie_with_a_thread_that_cannot_be_ended_is_told(freezer: Path) -> None:
    script = f"""
process_tree.KILL_SECONDS = 0.1
group = {str(freezer)!r}
def write(name, text):
    with open(f"{{group}}/{{name}}", "w") as file:
        file.write(text)
thread = next(name for name in os.listdir(f"/proc/{{run.pid}}/task") if int(name) != run.pid)
write("tasks", thread)
write("freezer.state", "FROZEN")
print(process_tree.kill_descendants("a run") == [run.pid], dead())
write("freezer.state", "THAWED")
run.wait()
"""
    assert supervised(_HEADLESS, script) == "True False\n"
