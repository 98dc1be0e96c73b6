"""Starts the process that runs train.py: one socket to us, an allow-listed environment, a private home."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import IO

from trainer.contract import CHANNEL_VARIABLE, COOKIE_VARIABLE
from trainer.processes.process_tree import _environment

_PACKAGES = Path(__file__).resolve().parents[2]
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_HOME", "CC", "CXX", "SDKROOT")


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
