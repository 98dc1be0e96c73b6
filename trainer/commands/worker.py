"""A process of a task that answers questions: one line in, one line out, each on the referee's clock.

It is not trusted. Every read and write has a deadline, an answer is one line, and what it computes between two
questions counts for the next one.
"""

import os
import selectors
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trainer.commands.confined_process import ConfinedProcess
from trainer.processes import subtree
from trainer.run.clock import RunEnded
from trainer.run.failure_cause import kernel_kills, of_exit

MOST_BYTES = 64 << 20  # of an answer
_BLOCK = 1 << 16
_LOOK_SECONDS = 0.1
_EXIT_SECONDS = 5.0
_MEMORY_SECONDS = 0.25
_STOP_SECONDS = 0.05


@dataclass(frozen=True)
class Reply:
    """One answer, without the end of its line, and what it took."""

    answer: bytes
    cpu_seconds: float  # of the worker and all it started, since the answer before
    wall_seconds: float  # from the question's first byte to the answer's last
    between_seconds: float = 0.0  # those CPU seconds of it that were used before the question came


class Worker:
    """One live worker. Raises RunEnded for its failures: `crashed`, `oom`, `timeout`, `invalid`."""

    def __init__(self, process: ConfinedProcess, watch: Callable[[], None], folder: Path = Path(os.devnull)) -> None:
        """`watch` is called again and again while it is waited for; what it raises ends the wait.

        `folder` is its own: it alone writes there.
        """
        self._process, self._watch, self.folder = process, watch, folder
        self._output = process.stdout
        os.set_blocking(process.stdin, False)
        os.set_blocking(self._output, False)
        self._used = self._cpu_seconds()
        self._kills = kernel_kills()
        self._looked = 0.0
        self.pid = process.pid
        self.alive = True
        self.answered = False  # whether it has come to an answer

    def ask(self, question: bytes, *, seconds: float) -> Reply:
        """Send a question, which has no line's end in it, and wait for the answer.

        Raises:
            RunEnded: the worker has ended, is too slow, or answers more than one line; somebody cancelled the run.
        """
        if self._read():
            raise RunEnded("invalid", "The worker answered before it was asked: it must write one line per question.")
        before, begun = self._cpu_seconds(), time.monotonic()
        deadline = begun + seconds
        self._write(question + b"\n", deadline, seconds)
        answer = bytearray()
        while b"\n" not in answer[-_BLOCK:]:
            if len(answer) > MOST_BYTES:
                raise RunEnded("invalid", f"The worker's answer is longer than {MOST_BYTES >> 20} MB.")
            if time.monotonic() >= deadline:  # one that comes byte by byte keeps nobody waiting for ever
                raise self._late(seconds)
            answer += self._wait(self._output, selectors.EVENT_READ, deadline, seconds)
        ended, used = time.monotonic(), self._cpu_seconds()
        line, _, rest = bytes(answer).partition(b"\n")
        if rest:
            raise RunEnded(
                "invalid", "The worker answered with more than one line: it must write one line per question."
            )
        self.answered = True
        reply = Reply(line, max(0.0, used - self._used), ended - begun, max(0.0, before - self._used))
        self._used = used
        return reply

    @property
    def memory_mb(self) -> float:
        """MiB that the worker and all it started have held at the most."""
        self._process.look_at_memory()
        return round(self._process.peak_memory_mb, 1)

    def require_alive(self) -> None:
        """Raises RunEnded: its first process has ended, so that what that has started is below it no more."""
        self._process.listen(0.0)
        if self._process.exit_code is not None:
            told = "The worker's first process has ended: it must live until there are no more questions."
            raise RunEnded("crashed", told, cause="worker")

    def pause(self) -> None:
        """Let it do nothing until `resume`: it must not take time from another one that is asked.

        Who starts others meanwhile, or has itself woken, is stopped again, for a while: what it uses is counted.
        """
        deadline = time.monotonic() + _STOP_SECONDS
        self._signal(signal.SIGSTOP)
        while not subtree.stopped(subtree.below([self._process.pid])) and time.monotonic() < deadline:
            self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, and all that it has started."""
        if not self.alive:
            return
        self.alive = False
        for _ in range(3):  # what it started while it was ended
            self._signal(signal.SIGKILL)
        deadline = time.monotonic() + _EXIT_SECONDS
        while self._process.exit_code is None and time.monotonic() < deadline:
            self._process.listen(_LOOK_SECONDS)
        self._process.close()

    def _write(self, question: bytes, deadline: float, seconds: float) -> None:
        left = memoryview(question)
        while left:
            try:
                left = left[os.write(self._process.stdin, left[:_BLOCK]) :]
            except BlockingIOError:
                self._wait(self._process.stdin, selectors.EVENT_WRITE, deadline, seconds)
            except BrokenPipeError:
                raise self._gone() from None

    def _wait(self, descriptor: int, event: int, deadline: float, seconds: float) -> bytes:
        """Wait until the descriptor is ready. Returns what can be read from it."""
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, event, "pipe")
            selector.register(self._process, selectors.EVENT_READ)  # who prints much must not wait for a look
            while not self._ready(selector, min(_LOOK_SECONDS, max(0.0, deadline - time.monotonic()))):
                self._look()
                if time.monotonic() >= deadline:
                    raise self._late(seconds)
        if event == selectors.EVENT_WRITE:
            return b""
        if not (block := self._read()):
            raise self._gone()
        return block

    @staticmethod
    def _ready(selector: selectors.BaseSelector, seconds: float) -> bool:
        return any(key.data == "pipe" for key, _ in selector.select(seconds))

    def _read(self) -> bytes:
        try:
            return os.read(self._output, _BLOCK)
        except BlockingIOError:
            return b""

    def _look(self) -> None:
        self._process.listen(0.0)
        if time.monotonic() - self._looked > _MEMORY_SECONDS:
            self._looked = time.monotonic()
            self._process.look_at_memory()
        self._watch()

    def _cpu_seconds(self) -> float:
        return self._process.cpu_seconds()

    def _late(self, seconds: float) -> RunEnded:
        return RunEnded("timeout", f"The worker did not answer a question in {seconds:g} s.", cause="worker")

    def _gone(self) -> RunEnded:
        """Why it answers no more."""
        deadline = time.monotonic() + _EXIT_SECONDS
        while self._process.exit_code is None and time.monotonic() < deadline:
            self._process.listen(_LOOK_SECONDS)
        code = self._process.exit_code
        cause = of_exit(code, (kernel_kills() or 0) - (self._kills or 0))
        if cause == "kernel_oom":
            return RunEnded("oom", "The kernel ended the worker for lack of memory.", cause=cause)
        if code is None:
            return RunEnded("crashed", "The worker closed its standard output, so it cannot answer.", cause=cause)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return RunEnded(
            "crashed", f"The worker {how} instead of an answer; the run's log has what it said.", cause=cause
        )

    def _signal(self, number: int) -> None:
        for pid in subtree.below([self._process.pid]):
            with suppress(OSError):
                os.kill(pid, number)
