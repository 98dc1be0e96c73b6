"""The referee's side of a judge: it starts the process, asks it for cases and scores, and trusts it with neither time
nor memory of its own.

The judge is the author's and may read all of the commit's files. It runs without guards, and never beside code of the
candidate: what a worker wrote reaches it as bytes, through this process. What it prints is kept from the run's log,
because it may tell what is hidden.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from trainer.contract import COOKIE_VARIABLE, Entry, Spec
from trainer.judging import WrongAnswer
from trainer.run.clock import RunEnded
from trainer.sandbox.environment import passed_on, without_current_folder
from trainer.text import plain

CASES = "cases"
PRACTICE = "practice"  # cases that do not count
JUDGE_STEP = (
    "The operator must repair {judge} and commit it. It takes effect with the next run if nothing has a score yet, "
    "else with a new --tag."
)
_PACKAGES = Path(__file__).resolve().parents[2]
_LOOK_SECONDS = 0.1
_BLOCK = 1 << 16
_MOST_BYTES = 64 << 20  # of one reply
_MOST_PRINTED = 16 << 10  # of what it printed last


@dataclass(frozen=True)
class JudgeTerms:
    """What judge.py says of its cases."""

    case_seconds: float
    case_cpu_seconds: float | None  # None: no limit
    has_total: bool
    converses: bool  # whether cases() reads the answers, so that a later question may depend on them


@dataclass(frozen=True)
class Drawn:
    """A question from the judge, a line without its end."""

    question: bytes
    fresh: bool  # whether it is for a worker that was asked nothing yet


class JudgeFailed(RunEnded):
    """The judge did `what` no judge may do, `where` in its text."""

    def __init__(self, judge: str, what: str, line: int = 0, traceback: str = "") -> None:
        self.what, self.where = what, f"{judge}, line {line}" if line else judge
        told = f"The judge failed: {self.where}: {what}. {JUDGE_STEP.format(judge=judge)}"
        super().__init__("env_fail", told, traceback, cause="judge")


@dataclass(frozen=True)
class Verdict:
    """What the judge gave for one answer, or for all of a side."""

    score: float | None
    figures: dict[str, float]


class JudgeProcess:
    """One judge, from its start to its end."""

    def __init__(self, tree: Path, scratch: Path, spec: Spec, watch: Callable[[], None]) -> None:
        """Start the process of the judge that the spec names, in the files of `tree`.

        Args:
            scratch: its home and the place of its temporary files.
            watch: called again and again while the judge works; what it raises ends the wait.

        Raises:
            RunEnded: `env_fail`, there is no such file.
        """
        assert spec.task is not None
        self._task, self._seconds, self._watch = spec.task, spec.evaluation_seconds, watch
        self._file = tree / spec.task.judge
        if not self._file.is_file():
            told = f"There is no {spec.task.judge} at this commit: the operator commits it, or corrects `judge`"
            raise RunEnded("env_fail", f"{told} in program.md.", cause="judge")
        self._read, self._printed, self._doing = bytearray(), bytearray(), "starting"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-B", "-m", Entry.JUDGE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tree,
            env=_environment(scratch, spec.cookie),
            start_new_session=True,
        )
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._in, self._out, self._err = self._process.stdin, self._process.stdout, self._process.stderr
        for pipe in (self._in, self._out, self._err):
            os.set_blocking(pipe.fileno(), False)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def printed(self) -> str:
        """The end of what it printed, for the operator alone."""
        return plain(self._printed.decode("utf-8", "replace"))

    def load(self) -> JudgeTerms:
        """Have judge.py loaded. Raises RunEnded: `env_fail`."""
        task = self._task
        kept = [*task.off_limits, *task.hidden, *(path for path, _ in task.links)]  # the candidate cannot change them
        told = self._ask("load", judge=str(self._file), editable=task.editable, off_limits=kept, source=task.source)
        return JudgeTerms(told["case_seconds"], told["case_cpu_seconds"], told["total"], told["converses"])

    def begin(self, seed: int, stream: str = CASES) -> None:
        """Begin a stream of new cases, CASES or PRACTICE; the other one goes on. Raises RunEnded: `env_fail`."""
        self._ask("begin", seed=seed, stream=stream)

    def case(self, stream: str = CASES) -> bytes | None:
        """The next question, a line without its end; None after the last. Raises RunEnded: `env_fail`."""
        drawn = self.draw(stream)
        return drawn.question if drawn else None

    def draw(self, stream: str = CASES, side: str = "") -> Drawn | None:
        """The next question, of the conversation with this side where the judge has one with each; None after the last.

        Raises:
            WrongAnswer: an answer in it is found wrong. RunEnded: `env_fail`.
        """
        told = self._ask("case", stream=stream, side=side)
        return None if told["question"] is None else Drawn(told["question"].encode("ascii"), told["fresh"])

    def score(self, answer: bytes, side: str, counts: bool = True, back: int = 0) -> Verdict:
        """The score of an answer to the last question, or to one that was drawn `back` before it, at most 7.

        Args:
            side: whose answer it is. counts: whether `total` will include it.

        Raises:
            WrongAnswer: it is wrong. RunEnded: `env_fail`.
        """
        told = self._ask("score", answer=answer.decode("latin-1"), side=side, counts=counts, back=back)
        return Verdict(told["score"], told["figures"])

    def total(self, side: str, without: int = 0, of: int = 0) -> Verdict:
        """The score of all counted answers of a side; `of` > 0: without those whose place leaves the rest `without`.

        Raises:
            RunEnded: `env_fail`.
        """
        told = self._ask("total", side=side, without=without, of=of)
        return Verdict(told["score"], told["figures"])

    def close(self) -> None:
        """End it, and whatever it started in its session."""
        with suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._in, self._out, self._err):
            with suppress(OSError):
                pipe.close()

    def _ask(self, do: str, **what: Any) -> dict[str, Any]:
        self._doing = do
        reply = self._exchange(json.dumps({"do": do, **what}).encode() + b"\n")
        if "wrong" in reply:
            if not what.get("side"):  # there was no answer yet
                raise self._failed(f"{self._who()} raised WrongAnswer: {plain(reply['wrong'])[:400]}")
            raise WrongAnswer(plain(reply["wrong"])[:400])
        if "failed" in reply:
            raise self._failed(plain(reply["failed"])[:400], reply["line"], plain(reply["traceback"]))
        return reply

    def _exchange(self, request: bytes) -> dict[str, Any]:
        """Write one line and read one, whatever the judge does meanwhile."""
        left, deadline = memoryview(request), time.monotonic() + self._seconds
        while b"\n" not in self._read:
            self._watch()
            if time.monotonic() > deadline:
                raise self._failed(f"{self._who()} gave nothing within {self._seconds:g} s")
            if len(self._read) > _MOST_BYTES:
                raise self._failed(f"{self._who()} gave more than {_MOST_BYTES >> 20} MiB")
            readable, writable, _ = select.select([self._out, self._err], [self._in] if left else [], [], _LOOK_SECONDS)
            if writable:
                left = left[self._write(left) :]
            if self._err in readable:
                self._keep(_read(self._err.fileno()))
            if self._out in readable and not self._take():
                raise self._gone()
        line, _, rest = self._read.partition(b"\n")
        self._read = rest
        return self._parsed(bytes(line))

    def _write(self, left: memoryview) -> int:
        try:
            return os.write(self._in.fileno(), left[:_BLOCK])
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            raise self._gone() from None

    def _take(self) -> bool:
        block = _read(self._out.fileno())
        self._read += block
        return bool(block)

    def _keep(self, block: bytes) -> None:
        self._printed += block
        del self._printed[:-_MOST_PRINTED]

    def _parsed(self, line: bytes) -> dict[str, Any]:
        """A reply. Its descriptor has another number than standard output: only a judge that looks for it disturbs."""
        try:
            reply = json.loads(line)
        except ValueError:
            reply = None
        if not isinstance(reply, dict):
            raise self._failed(f"{self._who()} disturbs the referee's pipe: it may write to standard output alone")
        return cast("dict[str, Any]", reply)

    def _gone(self) -> RunEnded:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self._keep(_read(self._err.fileno()))
        code = self._process.returncode
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        return self._failed(f"its process {how} in {self._who()}")

    def _who(self) -> str:
        return {"load": "its text", "begin": "cases()", "case": "cases()"}.get(self._doing, f"{self._doing}()")

    def _failed(self, what: str, line: int = 0, traceback: str = "") -> JudgeFailed:
        return JudgeFailed(self._task.judge, what, line, traceback)


def _read(descriptor: int) -> bytes:
    """What is there to be read; nothing at its end, or where nothing is."""
    try:
        return os.read(descriptor, _BLOCK)
    except BlockingIOError:
        return b""


def _environment(scratch: Path, cookie: str) -> dict[str, str]:
    """What the judge finds in its environment: as little as a worker, so that it works alike on every machine."""
    return without_current_folder(passed_on(os.environ)) | {
        COOKIE_VARIABLE: cookie,
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "PYTHONPATH": str(_PACKAGES),
        "PYTHONHASHSEED": "0",  # the same seed gives the same cases, also from sets
        "PYTHONUTF8": "1",
    }
