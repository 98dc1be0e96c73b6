"""What of a run is found and ended when its supervisor is dead, and what holds the GPU."""

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from server.runs import cleanup
from tests.support.fakes import driver
from tests.support.polling import is_gone, until

_SLEEP = "import time; time.sleep(600)"
_FIRST_THREAD_GONE = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
ctypes.CDLL(None).pthread_exit(None)
"""
_HELD = """
from functools import partial
from server.runs import cleanup, hardware
from server.records import Experiment
from tests.support.builders import attempt
from tests.support.lifecycle import measured
cleanup.gpu_pids = partial(hardware.gpu_pids, 0.3)  # seconds
run = attempt(1).model_copy(update={"profile": "gpu"})
print(cleanup.gpu_holders(Experiment(attempt=run, result=measured(2.0, gpu_held="99999991"))))
"""


@contextmanager
def process(text: str, folder: Path, **environment: str) -> Generator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", text], cwd=folder, env=environment) as started:
        try:
            yield started
        finally:
            started.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="a dead first thread is a zombie on Linux")
def test_a_process_lives_as_long_as_one_of_its_threads(tmp_path: Path) -> None:
    with process(_FIRST_THREAD_GONE, tmp_path, AUTORESEARCH_RUN=str(tmp_path)) as left:
        until(lambda: psutil.Process(left.pid).status() == psutil.STATUS_ZOMBIE)
        assert cleanup.end_run_processes(str(tmp_path), gpu=False).unkillable is None
        assert is_gone(left.pid)


def test_another_environment_does_not_hide_a_process_in_its_scratch_folder(tmp_path: Path) -> None:
    (scratch := tmp_path / "candidate-x7").mkdir()
    with (
        process(_SLEEP, scratch) as left,
        process(_SLEEP, tmp_path) as other,
    ):
        cleanup.end_run_processes(str(tmp_path), gpu=False)
        assert is_gone(left.pid) and other.poll() is None


def test_a_clock_that_was_set_lets_go_of_nobody(tmp_path: Path) -> None:
    long_ago = 0.0
    with process(_SLEEP, tmp_path, AUTORESEARCH_RUN="a run") as ours:
        until(lambda: psutil.Process(ours.pid).environ())  # exec(2) is over
        assert cleanup._holds(ours.pid, long_ago)  # pyright: ignore[reportPrivateUsage]
        assert not cleanup._holds(os.getpid(), long_ago)  # pyright: ignore[reportPrivateUsage]
    assert not cleanup._holds(ours.pid, long_ago)  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(("state", "held"), [("hang", True), ("99999991", True), ("", False)])
def test_a_driver_that_hangs_does_not_say_that_the_gpu_is_free(tmp_path: Path, state: str, held: bool) -> None:
    if (environment := driver(tmp_path, state)) is None:
        pytest.skip("no Linux, or no C compiler: the driver cannot be stood in for")
    done = subprocess.run(
        [sys.executable, "-c", _HELD], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    assert ("experiment 1 left process 99999991" in done.stdout) is held
