"""A command of program.md as a process: started, listened to, timed and measured from outside.

Its clock starts as the command begins, once the guards are on; the preparation before that counts for nothing.
"""

import json
import os
import resource
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from trainer.commands.file_modes import FileModes
from trainer.contract import Entry
from trainer.processes import subtree
from trainer.processes.control_group import ControlGroup

_PACKAGES = Path(__file__).resolve().parents[2]
_BLOCK = 1 << 16
_WATCH_SECONDS = 0.05
_START_SECONDS = 60.0  # for what is trusted to put the guards on: a tenth of one on an idle machine
# Seconds: what an ended child used is told in two figures, rounded down to hundredths. As if each were rounded up, or
# many short ones would work unseen.
_ROUNDED = 0.02
_LOOKS = (0.01, 0.25)  # seconds between two looks at the memory, at first and later
_MOST_TOLD = 1 << 20
_LEAVE_SECONDS = 0.5  # that a killed process may take to leave its control group

Keep = Callable[[str, bytes], None]  # takes the stream's name, `stdout` or `stderr`, and what came


class StartFailed(Exception):
    """No command has begun: the machine is at fault. The text says why."""


@dataclass
class Measure:
    """What a command has used by its end."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_mb: float = 0.0
    exit_code: int | None = None  # negative: the signal; None: it lived until it was ended


@dataclass
class ConfinedProcess:
    """One command. Whoever starts it ends all that is left of it before `settle`."""

    order: bytes  # of trainer.confined
    cwd: Path
    environment: Mapping[str, str]  # of trainer.confined: the command has the order's
    keep: Keep
    beside: frozenset[int] = frozenset()  # children of this process that are none of its
    own_folder: Path | None = None  # that in which modes and times of files are set; None: nowhere
    talks: bool = False  # whether it has pipes to be asked on; else its standard output goes to `keep`
    guards: dict[str, str] = field(default_factory=dict[str, str])
    _group: ControlGroup | None = field(default=None, init=False)
    _begun_to_listen: bool = field(default=False, init=False)

    def start(self, watch: Callable[[], None]) -> None:
        """Start it, and return as the command begins.

        Args:
            watch: called again and again meanwhile, as by all that follows; what it raises ends the wait.

        Raises:
            StartFailed: no command has begun.
        """
        self._reaped = _reaped()
        told, theirs_told = socket.socketpair()
        report = theirs_told.detach()
        theirs, self.stdin = os.pipe() if self.talks else (-1, -1)
        passed = [report, theirs] if self.talks else [report]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-P", "-B", "-m", Entry.CONFINED, *map(str, passed)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self.cwd,
                env={**self.environment, "PYTHONPATH": str(_PACKAGES)},
                pass_fds=passed,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            told.close()
            raise StartFailed(f"no process can be made: {error.strerror}") from error
        finally:
            for descriptor in passed:
                os.close(descriptor)
        self.pid, self._dead = self._process.pid, False
        self._ungrouped = subtree.cpu_seconds([self.pid])
        self._group = _group(self.pid)
        self._children_reaped, self._rounded = 0, 0.0
        self._listen()
        with told:
            self._begin(told, watch)

    @property
    def counted(self) -> str:
        """Whether every CPU second is counted: `held`, or why a process could hide some."""
        return "held" if self._group else "no control group can be made: a process that ignores its children hides them"

    def wait(self, seconds: float, watch: Callable[[], None]) -> bool:
        """Wait for the end of the command, for so many seconds of the clock. Returns whether it has ended."""
        pause, looked = _LOOKS[0], 0.0
        while not self._dead and (left := seconds - self.wall_seconds()) > 0:
            self.listen(min(left, pause, _WATCH_SECONDS))
            if self.wall_seconds() - looked >= pause:
                self.look_at_memory()
                pause, looked = min(2 * pause, _LOOKS[1]), self.wall_seconds()
            watch()
        return self._dead

    def listen(self, seconds: float) -> None:
        """Take what it prints, and notice its end, for as long as nothing happens or so many seconds at most."""
        if self._sentinel < 0:  # its end is no event here
            seconds = min(seconds, _LOOKS[0])
        for key, _ in self._selector.select(max(0.0, seconds)):
            if key.data == "end":
                self._reap()
            elif key.data == "modes" and self._modes:
                self._modes.answer()
            else:
                self._read(key.fileobj, key.data)
        if self._sentinel < 0 and not self._dead:
            self._reap(os.WNOHANG)

    def fileno(self) -> int:
        """A descriptor that can be read from where there is something to `listen` to."""
        return cast("int", self._selector.fileno())  # pyright: ignore[reportAttributeAccessIssue] - epoll's, kqueue's

    def wall_seconds(self) -> float:
        """Of the clock; it stands still once the command has ended."""
        return (self._ended if self._dead else time.monotonic()) - self._begun

    def look_at_memory(self) -> None:
        """Take note of how much the command and all it started hold."""
        whole = [self.pid] if self.talks else [os.getpid()]  # orphans of the second kind come to this process
        pids = subtree.below(whole, self.beside)
        self._peak = max(self._peak, subtree.memory_mb([pid for pid in pids if pid != os.getpid()]))

    @property
    def peak_memory_mb(self) -> float:
        """By the looks so far."""
        return self._peak

    @property
    def stdout(self) -> int:
        """The descriptor of its standard output, of a process that is asked."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def cpu_seconds(self) -> float:
        """What the command and all it started have used so far: one that keeps its orphans, as they are below it."""
        pids = subtree.below([self.pid])
        used = subtree.cpu_seconds(pids)
        if self._group:
            return max(used, self._group.seconds())
        if (reaped := subtree.reaped(pids)) > self._children_reaped:
            self._children_reaped, self._rounded = reaped, self._rounded + _ROUNDED
        return used + self._rounded

    @property
    def exit_code(self) -> int | None:
        """Once it has ended; negative: the signal."""
        return self._process.returncode if self._dead else None

    def settle(self) -> Measure:
        """Once everything of it is dead: read what it still printed, close all, and say what it has used."""
        if not self._dead:
            self._reap(os.WNOHANG)
        measure = Measure(self.wall_seconds(), exit_code=self._code)
        for key in list(self._selector.get_map().values()):
            while key.data in ("stdout", "stderr") and self._read(key.fileobj, key.data):
                continue
        used = _reaped() - self._reaped - self._seconds_before
        if self._group:
            used = max(used, self._group.seconds() - (self._seconds_before - self._ungrouped))
        measure.cpu_seconds, measure.peak_memory_mb = max(0.0, used), self._peak
        self.close()
        return measure

    def close(self) -> None:
        """Give back all descriptors, and the control group: whoever was in it is dead, or about to be."""
        deadline = time.monotonic() + _LEAVE_SECONDS
        while self._group and not self._group.close() and time.monotonic() < deadline:
            time.sleep(_LEAVE_SECONDS / 100)
        self._group = None
        if self._begun_to_listen:
            self._stop_listening()

    def _stop_listening(self) -> None:
        if not self._dead:
            self._reap(os.WNOHANG)
        self._selector.close()
        if self._modes:
            self._modes.close()
            self._modes = None
        for pipe in (self._process.stdout, self._process.stderr, self._process.stdin):
            if pipe:
                with suppress(OSError):
                    pipe.close()
        for descriptor in (self.stdin, self._sentinel):
            if descriptor >= 0:
                with suppress(OSError):
                    os.close(descriptor)
        self.stdin = self._sentinel = -1

    def _listen(self) -> None:
        assert self._process.stdout is not None and self._process.stderr is not None
        self._selector, self._begun_to_listen = selectors.DefaultSelector(), True
        self._modes: FileModes | None = None
        self._peak, self._begun, self._ended, self._code = 0.0, time.monotonic(), 0.0, None
        self._sentinel = os.pidfd_open(self.pid) if hasattr(os, "pidfd_open") else -1
        if self._sentinel >= 0:
            self._selector.register(self._sentinel, selectors.EVENT_READ, "end")
        for name, pipe in (("stdout", self._process.stdout), ("stderr", self._process.stderr)):
            os.set_blocking(pipe.fileno(), False)
            if name == "stderr" or not self.talks:
                self._selector.register(pipe, selectors.EVENT_READ, name)

    def _begin(self, reports: socket.socket, watch: Callable[[], None]) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as pipe:
            left = memoryview(self.order)
            while left:
                left = left[os.write(pipe.fileno(), left) :]
        told, deadline = b"", time.monotonic() + _START_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(reports, selectors.EVENT_READ)
            while time.monotonic() < deadline:
                if selector.select(_WATCH_SECONDS):
                    block, given, _, _ = socket.recv_fds(reports, _BLOCK, 1)
                    self._set_modes(given)
                    if not block:
                        break
                    told += block
                watch()
        self._begun = time.monotonic()
        line, _, failed = told.lstrip().partition(b"\n")
        if failed or not line:
            raise StartFailed(failed.decode("utf-8", "replace") or self._complaint())
        report: dict[str, Any] = json.loads(line)
        self.guards = report["guards"]
        self._seconds_before = report["seconds"]
        self._memory_before = report["memory"]

    def _set_modes(self, given: list[int]) -> None:
        """Be asked on this descriptor from here on."""
        for listener in given:
            self._modes = FileModes(listener, self.own_folder or Path(os.devnull))
            self._selector.register(listener, selectors.EVENT_READ, "modes")

    def _complaint(self) -> str:
        assert self._process.stderr is not None
        with suppress(OSError):
            lines = (self._process.stderr.read(_MOST_TOLD) or b"").decode("utf-8", "replace").strip().splitlines()
            if lines:
                return lines[-1][:500]
        return "the process that puts the guards on has ended, or takes too long"

    def _read(self, pipe: Any, name: str) -> bool:
        """Take a block. Returns whether there may be more."""
        try:
            block = os.read(pipe.fileno(), _BLOCK)
        except BlockingIOError:
            return False
        except OSError:
            block = b""
        if block:
            self.keep(name, block)
        else:
            self._selector.unregister(pipe)
        return bool(block)

    def _reap(self, options: int = 0) -> None:
        try:
            pid, status, usage = os.wait4(self.pid, options)
        except ChildProcessError:  # whoever ended everything has waited for it
            pid, status, usage = self.pid, signal.SIGKILL, None
        if not pid:
            return
        self._ended, self._dead = time.monotonic(), True
        self._code = self._process.returncode = os.waitstatus_to_exitcode(status)
        # The kernel's figure is never lower than that of the process that put the guards on.
        if usage and (usage.ru_maxrss > self._memory_before or not self._peak):
            self._peak = max(self._peak, usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10))
        if self._sentinel >= 0:
            self._selector.unregister(self._sentinel)


def _group(pid: int) -> ControlGroup | None:
    with suppress(OSError, ValueError):
        return ControlGroup(pid)
    return None


def _reaped() -> float:
    """CPU seconds of all processes that this one has waited for, and of those that they had."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
