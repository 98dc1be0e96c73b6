"""A process that imports once what train.py needs, and forks for each process that is to run it (Linux).

A run needs four processes with torch, and each would spend seconds of a core on the same imports. A forked process is
made an orphan at once: the supervisor, a child subreaper, becomes its parent, waits for it and learns how it ended.
No two forked processes share anything that one can write and the other read: no descriptor, no open file (its locks
and flags outlive whoever set them), no memory.
"""

import json
import math
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

_MOST = 1 << 20  # bytes of a request: an environment
_LOOK_SECONDS = 0.1
_TURN_SECONDS = 0.001
_ANSWER_SECONDS = 30.0  # a fork takes milliseconds
_END_SECONDS = 5.0
_READY = b"ready"
SOCKET = 3  # the one descriptor of a forked process beside its standard ones


class ForkFailed(Exception):
    """No process could be made; the text says why."""


class ForkServer:
    """The server, as the process that starts it sees it."""

    def __init__(self, command: list[str], cwd: Path, environment: dict[str, str], given: bytes = b"") -> None:
        """Start `command` in folder `cwd`; it calls `serve` with the descriptor whose number is its last argument.

        Args:
            given: what it reads on its standard input.
        """
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._told = tempfile.TemporaryFile(dir=cwd)  # what it says when it cannot start
        with theirs, offered(given, cwd) as told:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno())],
                stdin=told,
                stdout=self._told,
                stderr=self._told,
                cwd=cwd,
                env=environment,
                pass_fds=(theirs.fileno(),),
            )
        self._ready = False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it takes requests."""
        return self._socket.fileno() != -1 and self._process.poll() is None

    def fork(self, cwd: Path, environment: dict[str, str], sock: int, output: int, watch: Callable[[], None]) -> int:
        """Make a process in a session of its own.

        Args:
            sock: the descriptor that it has as number SOCKET.
            output: where it prints.
            watch: called about every 0.1 s while the server imports or is to answer; what it raises ends the wait.

        Returns:
            Its pid. It is a child of this process.

        Raises:
            ForkFailed: the server is gone or does not answer, or the system makes no more processes.
        """
        if not self._ready:
            self._answer(watch, math.inf)
            self._ready = True
        request = json.dumps({"cwd": str(cwd), "environment": environment}).encode()
        try:
            self._send(request, [sock, output])
            answer = self._answer(watch, _ANSWER_SECONDS)
        except BaseException:
            self.close()  # an answer that nobody waits for must not be taken for that to the next request
            raise
        if not answer.isdigit():
            raise ForkFailed(answer.decode("utf-8", "replace"))
        return int(answer)

    def close(self) -> None:
        """End the server; what it has forked lives on."""
        self._socket.close()
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):  # the kernel holds it, with nothing of train.py's
            self._process.wait(_END_SECONDS)
        self._told.close()

    def _send(self, request: bytes, descriptors: list[int]) -> None:
        try:
            socket.send_fds(self._socket, [request], descriptors)
        except OSError as error:
            raise ForkFailed(f"the process that starts others takes no request: {error.strerror}") from error

    def _answer(self, watch: Callable[[], None], limit: float) -> bytes:
        if self._socket.fileno() == -1:
            raise ForkFailed("the process that starts others has ended")
        left = limit  # what `watch` takes does not count: it may have processes rest for minutes
        while not select.select([self._socket], [], [], _LOOK_SECONDS)[0]:
            watch()
            left -= _LOOK_SECONDS
            if left < 0:
                raise ForkFailed(f"the process that starts others has not answered for {limit:g} s")
        with suppress(OSError):
            if answer := self._socket.recv(_MOST):
                return answer
        self._told.seek(0)
        lines = self._told.read(_MOST).decode("utf-8", "replace").strip().splitlines()
        self.close()
        raise ForkFailed(f"the process that starts others has ended{': ' if lines else ''}{' '.join(lines[-1:])[:500]}")


def offered(given: bytes, folder: Path) -> IO[bytes]:
    """A file without a name, to be read from its beginning. Raises OSError."""
    told = tempfile.TemporaryFile(dir=folder)
    told.write(given)
    told.seek(0)
    return told


def serve(descriptor: int) -> None:
    """Fork for each request. Returns in the forked processes alone, each ready to become what it is to be."""
    control = socket.socket(fileno=descriptor)
    control.send(_READY)
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, _MOST, 2)
        if not request:
            os._exit(0)  # the supervisor has hung up
        try:
            if _orphaned(control):
                break
        except OSError as error:
            control.send(f"no process can be made: {error.strerror}".encode())
        for passed in descriptors:
            os.close(passed)
    os.setsid()
    sock, output = descriptors
    os.dup2(output, 1)
    os.dup2(output, 2)
    control.send(str(os.getpid()).encode())
    control.close()
    _take(sock)
    told = json.loads(request)
    os.environ.clear()
    os.environ.update(told["environment"])
    os.chdir(told["cwd"])
    tempfile.tempdir = None  # the server's TMPDIR is another
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()  # as in a process that imports it itself; Python's own generator does this unasked


def shares_nothing() -> bool:
    """Whether a forked process has one thread, which the guards will bind, and no memory that others can write."""
    kinds = [line.split(maxsplit=2)[1] for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()]
    return len(os.listdir("/proc/self/task")) == 1 and not any("w" in kind and "s" in kind for kind in kinds)


def _orphaned(control: socket.socket) -> bool:
    """Fork twice. True in the grandchild, once its parent is the process that waits for it."""
    if child := os.fork():
        os.waitpid(child, 0)
        return False
    between = os.getpid()
    try:
        if os.fork():
            os._exit(0)
    except OSError as error:
        control.send(f"no process can be made: {error.strerror}".encode())
        os._exit(1)
    while os.getppid() == between:
        time.sleep(_TURN_SECONDS)
    return True


def _take(sock: int) -> None:
    """Keep `sock` as SOCKET, and of all that was inherited nothing else but where to print."""
    null = os.open(os.devnull, os.O_RDWR)  # opened anew: locks on the server's would outlive this process
    os.dup2(null, 0)
    os.dup2(sock, SOCKET)
    os.set_inheritable(SOCKET, True)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > SOCKET:
            with suppress(OSError):  # that of the listing itself
                os.close(int(name))
