"""Starts the processes that run train.py: one socket to us, an allow-listed environment, a private home."""

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

import psutil

from trainer.contract import CHANNEL_VARIABLE, COOKIE_VARIABLE, Entry, ScratchRole
from trainer.processes.fork_server import SOCKET, ForkFailed, ForkServer, offered
from trainer.processes.parentage import adopts_orphans
from trainer.processes.scratch import make, remove
from trainer.run.run_folder import RunFolder
from trainer.sandbox.environment import passed_on

_PACKAGES = Path(__file__).resolve().parents[2]
_LOOK_SECONDS = 0.05
_MOST_TOLD = 1 << 20


class Launcher:
    """Starts the processes of one run that run train.py, each with one socket to us and nothing else."""

    def __init__(
        self, folder: Path, cookie: str, settings: dict[str, str], forks: bool | None = None, given: bytes = b""
    ) -> None:
        """Begin to import what train.py of run folder `folder` needs.

        Args:
            settings: environment variables of all the processes, beside the ones every run has.
            forks: fork the processes from one with these imports; else each is a new program, with imports of its own.
                None: where this process becomes the parent of orphans.
            given: spec and train.py, which every process reads from us alone; empty: as they are in the folder now.
        """
        run_folder = RunFolder(folder)
        self._folder, self._given = folder, given or run_folder.given(run_folder.spec())
        self._settings = {COOKIE_VARIABLE: cookie, **settings}
        self._command = [sys.executable, "-P", "-B", "-m", Entry.LAUNCH, str(folder)]
        self._home: Path | None = None  # the server's folder: imports may write there
        self._server = self._start_server() if (adopts_orphans() if forks is None else forks) else None

    @property
    def pids(self) -> frozenset[int]:
        """Of the processes that run no train.py, but make those that do."""
        return frozenset([self._server.pid] if self._server and self._server.alive else [])

    def launch(self, scratch: Path, settings: dict[str, str], watch: Callable[[], None]) -> "LaunchedChild":
        """Start train.py.

        Args:
            scratch: home, tmp and working directory of the process.
            settings: environment variables of this process alone.
            watch: called again and again meanwhile; what it raises ends the wait.

        Raises:
            ForkFailed: the machine starts no process; the text says why.
        """
        environment = {**_environment(scratch), **self._settings, **settings}
        if self._server is None:
            return self._spawned(scratch, environment)
        try:
            return self._forked(self._server, scratch, environment, watch)
        except ForkFailed:
            if self._server.alive:
                raise
            # Killed by somebody, or by the kernel for lack of memory.
            self._server = self._start_server()
            return self._forked(self._server, scratch, environment, watch)

    def close(self) -> None:
        """Start no more. What was started lives on."""
        if self._server:
            self._server.close()
        if self._home:
            with suppress(OSError):
                remove(self._home)

    def _start_server(self) -> ForkServer:
        self._home = self._home or make(self._folder, ScratchRole.LAUNCHER)
        return ForkServer(self._command, self._home, _environment(self._home) | self._settings, self._given)

    def _forked(
        self, server: ForkServer, scratch: Path, environment: dict[str, str], watch: Callable[[], None]
    ) -> "LaunchedChild":
        ours, theirs = socket.socketpair()
        read, write = os.pipe()
        output = open(read, "rb", buffering=0)  # whoever drains it closes it
        told = {**environment, CHANNEL_VARIABLE: str(SOCKET)}
        try:
            with theirs:
                pid = server.fork(scratch, told, theirs.fileno(), write, watch)
        except BaseException:
            ours.close()  # who was forked all the same has nobody to talk to, and ends
            output.close()
            raise
        finally:
            os.close(write)
        return LaunchedChild(psutil.Process(pid), output, ours)

    def _spawned(self, scratch: Path, environment: dict[str, str]) -> "LaunchedChild":
        ours, theirs = socket.socketpair()
        with theirs, offered(self._given, scratch) as told:
            process = psutil.Popen(
                self._command,
                stdin=told,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=scratch,
                env={**environment, CHANNEL_VARIABLE: str(theirs.fileno())},
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        assert process.stdout is not None
        return LaunchedChild(process, process.stdout, ours)


class LaunchedChild:
    """One process running train.py."""

    def __init__(self, process: psutil.Process, output: IO[bytes], sock: socket.socket) -> None:
        self._process = process
        self.output = output
        self.socket = sock

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_code(self, timeout: float) -> int | None:
        """Its exit code (negative: the signal), or None if it is still alive after `timeout` seconds."""
        try:
            return self._process.wait(timeout)
        except psutil.TimeoutExpired:
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
    return passed_on(os.environ) | {
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "XDG_CACHE_HOME": str(scratch),
        "PYTHONUSERBASE": site.getuserbase(),  # packages installed with --user stay importable
        "PYTHONPATH": str(_PACKAGES),
        "PYTHONUNBUFFERED": "1",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # the driver's order, by which server and monitor count
    }
