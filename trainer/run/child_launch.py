"""Starts the process that runs train.py: one socket to us, an allow-listed environment, a private home."""

import os
import signal
import site
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from trainer.contract import CHANNEL_VARIABLE, COOKIE_VARIABLE

_PACKAGES = Path(__file__).resolve().parents[2]
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_HOME", "CC", "CXX", "SDKROOT")
_PASSED_ON += ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HSA_OVERRIDE_GFX_VERSION")  # AMD's
_LOOK_SECONDS = 0.05
_MOST_TOLD = 1 << 20


def launch_child(folder: Path, scratch: Path, cookie: str, settings: dict[str, str]) -> "LaunchedChild":
    """Start train.py of run folder `folder` with one socket to us and nothing else.

    Args:
        scratch: home, tmp and working directory of the process.
        settings: environment variables beside the ones every run has.
    """
    ours, theirs = socket.socketpair()
    environment = {
        **_environment(scratch),
        COOKIE_VARIABLE: cookie,
        CHANNEL_VARIABLE: str(theirs.fileno()),
        **settings,
    }
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-B", "-m", "trainer.launch", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=scratch,
            env=environment,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
    return LaunchedChild(process, ours)


class LaunchedChild:
    """One process running train.py."""

    def __init__(self, process: subprocess.Popen[bytes], sock: socket.socket) -> None:
        self._process = process
        self.socket = sock

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def exit_code(self, timeout: float) -> int | None:
        """Its exit code (negative: the signal), or None if it is still alive after `timeout` seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None


def ask(command: list[str], scratch: Path, settings: dict[str, str], watch: Callable[[], None]) -> tuple[int, str]:
    """Run a program that is trusted to its end, where and as train.py would be run, without its guards.

    Args:
        watch: called again and again meanwhile; what it raises ends the program.

    Returns:
        Its exit code, and the last line that it printed.
    """
    with (scratch / "told").open("w+b") as told:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
            cwd=scratch,
            env=_environment(scratch) | settings,
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                watch()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK_SECONDS)
        finally:
            with suppress(OSError):  # nobody is left of the group
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        told.seek(0)
        lines = told.read(_MOST_TOLD).decode("utf-8", "replace").strip().splitlines()
    return process.returncode, lines[-1][:500] if lines else ""


def _environment(scratch: Path) -> dict[str, str]:
    """What every process around train.py finds in its environment."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "XDG_CACHE_HOME": str(scratch),
        "PYTHONUSERBASE": site.getuserbase(),  # packages installed with --user stay importable
        "PYTHONPATH": str(_PACKAGES),
        "PYTHONUNBUFFERED": "1",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # the driver's order, by which server and monitor count
    }
