"""A run on another machine, as every engine has it: the run's folder is the truth, and the engine's word comes second.

Engines are wrong about runs: they call a run dead whose supervisor works on, and running whose node is gone. So a
result in the folder counts whatever the engine says. A run is lost once two things are certain: the engine has said,
after the last sign of life, that its job is over, and no sign came for a while after that. An engine that does not
answer says nothing.
"""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple, Protocol

from pydantic import ValidationError

from server.records import Figures, Outcome, Progress, Result, Value
from server.runs.executor import RunHandle, request_cancel
from server.runs.local_executor import LocalRun
from server.runs.run_folder import RunFolder, RunFolders
from server.runs.spawn import remove_scratch
from trainer.contract import RunFile, utc_now

# Seconds on the monotonic clock of this process, between its own looks: a clock that is set changes nothing.
QUIET_SECONDS = 6.0  # without a sign of life, before the engine is asked; a seat gives one every two
SETTLE_SECONDS = 10.0  # without one, after the engine has said that the job is over
SILENT_SECONDS = 120.0  # without one, while the engine says that it runs: then it is asked to end the job
ANSWER_SECONDS = 15.0  # that a supervisor has to answer a cancel, before the engine ends its job


class Standing(StrEnum):
    """What an engine says of a job."""

    WAITING = "waiting"
    RUNNING = "running"
    STILL = "still"  # suspended: no sign of life is owed
    OVER = "over"
    UNKNOWN = "unknown"  # it knows no such job: it has forgotten it, or never had it


class Look(NamedTuple):
    """An engine's word about one job."""

    standing: Standing
    begun: float  # monotonic seconds at which the question was asked
    why: str = ""  # of one that waits: for what; of one that is over: how it ended, in words that begin a sentence
    node: str = ""
    unfit: str = ""  # why the machine, or the engine, cannot carry out the run: a sentence; empty: not known


class Job(Value):
    """What RunFile.JOB says: it is there before the engine is asked."""

    engine: str
    name: str  # that the engine knows the job by: of no other
    nonce: str
    id: str = ""  # the engine's own, once it has told

    @classmethod
    def of(cls, engine: str, number: int) -> "Job":
        """A new one, for run `number`."""
        return cls(engine=engine, name=f"autoresearch-{number:05d}-{token_hex(4)}", nonce=token_hex(16))

    @classmethod
    def read(cls, folder: Path) -> "Job | None":
        """That of a run; None where no engine has it."""
        with suppress(OSError, ValidationError):
            return cls.model_validate_json((folder / RunFile.JOB).read_bytes())
        return None

    def write(self, folder: Path) -> None:
        """Say in the folder that this job has it. Raises OSError."""
        temporary = folder / f"{RunFile.JOB}.new"
        temporary.write_text(self.model_dump_json(), encoding="utf-8")
        temporary.replace(folder / RunFile.JOB)


class Desk(Protocol):
    """Where an engine is asked. No call waits for its answer."""

    def look(self, job: Job) -> Look | None:
        """The newest word about a job; None while the engine does not answer."""
        ...

    def end(self, job: Job) -> None:
        """Have a job ended, as far as the engine can be reached."""
        ...

    def close(self, job: Job) -> None:
        """Nobody asks about this job any more: its run has ended. One that the engine still has is ended in time."""
        ...


class RemoteRun:
    """One run that an engine has. Implements RunHandle."""

    def __init__(self, folder: Path, job: Job, desk: Desk, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder, self._job, self._desk, self._clock = RunFolder(folder), job, desk, clock
        self._heard: tuple[object, ...] = ()
        self._since = self._cancelled_since = clock()
        self._over_since: float | None = None
        self._told = ""

    def progress(self) -> Progress:
        return self.folder.progress()

    def alive(self) -> bool:
        return self.folder.alive()

    def cancel(self, reason: str) -> None:
        request_cancel(self.folder, reason)

    def result(self) -> Result | None:
        """How the run ended; None while it may still have a result."""
        with suppress(OSError):
            os.listdir(self.folder.path)  # a shared disk shows a new file once the folder was opened anew
        if ended := self.folder.result() or self.folder.gone():
            self._desk.close(self._job)
            return ended
        now = self._clock()
        if not self._listen(now):
            return None
        if (look := self._desk.look(self._job)) is None:
            return None
        if look.standing in (Standing.OVER, Standing.UNKNOWN):
            return self._over(look, now)
        self._over_since = None
        if look.standing is Standing.WAITING:
            self._since = now  # it owes a sign of life from its start on
            if not self._has(RunFile.STARTED):  # else the word is older than the start: a cancel is the supervisor's
                return self._waits(look)
        self._hurry(look, now)
        return None

    def _listen(self, now: float) -> bool:
        """Note every sign of life. Returns whether the engine is to be asked."""
        started, cancelled = self._has(RunFile.STARTED), self.folder.cancelled
        heard = (started, self._beat(), self.folder.progress_version() if started else 0)
        if heard != self._heard:
            self._heard, self._since, self._over_since = heard, now, None
        if not cancelled:
            self._cancelled_since = now
        return not started or cancelled or now - self._since > QUIET_SECONDS

    def _waits(self, look: Look) -> Result | None:
        """A job that waits for a node: the folder says so, for whoever looks at it."""
        if look.unfit or self.folder.cancelled:
            self._desk.end(self._job)
        if look.unfit:
            return self._end(Outcome.ENV_FAIL, look.unfit, look)
        told = f"waiting for a node{f': {look.why}' if look.why else ''}"
        if told != self._told:
            self._told = told
            temporary = self.folder.path / f"{RunFile.PROGRESS}.server"
            with suppress(OSError):
                temporary.write_text(json.dumps({"stage": told}), encoding="utf-8")
                temporary.replace(self.folder.path / RunFile.PROGRESS)
        return None

    def _hurry(self, look: Look, now: float) -> None:
        """End the job of a supervisor that does not answer a cancel, or gives no sign of life."""
        if look.standing is Standing.STILL:
            self._since = now
        elif now - self._cancelled_since > ANSWER_SECONDS or now - self._since > SILENT_SECONDS:
            self._desk.end(self._job)
            self._cancelled_since = now

    def _over(self, look: Look, now: float) -> Result | None:
        """The engine says that the job is over: without a result it is, once nothing comes any more."""
        if look.begun < self._since:
            return None  # it was asked before the last sign of life
        self._over_since = now if self._over_since is None else self._over_since
        started = self._has(RunFile.STARTED)
        if now - self._over_since < (SETTLE_SECONDS if started or look.standing is Standing.UNKNOWN else 2.0):
            return None
        if not started and self.folder.cancelled:
            return self._end(Outcome.CANCELLED, f"Cancelled: {self._reason()}", look)
        if look.unfit and not started:
            return self._end(Outcome.ENV_FAIL, look.unfit, look)
        return self._end(Outcome.LOST, f"{look.why}; the idea was not judged.", look)

    def _end(self, outcome: Outcome, why: str, look: Look) -> Result:
        """Be certain: a seat that comes back finds the run given up, and ends it."""
        temporary = self.folder.path / f"{RunFile.GONE}.server"
        with suppress(OSError):
            told = {"outcome": outcome, "why": why, "node": look.node}
            temporary.write_text(json.dumps(told), encoding="utf-8")
            temporary.replace(self.folder.path / RunFile.GONE)
        self._desk.close(self._job)
        remove_scratch(self.folder.path)
        figures = Figures(node_name=look.node or None)
        return self.folder.result() or Result(outcome=outcome, reason=why, figures=figures, finished_at=utc_now())

    def _beat(self) -> str:
        with suppress(OSError):
            return (self.folder.path / RunFile.BEAT).read_text(encoding="ascii", errors="replace")
        return ""

    def _reason(self) -> str:
        with suppress(OSError):
            return (self.folder.path / RunFile.CANCEL).read_text(encoding="utf-8", errors="replace")
        return ""

    def _has(self, name: RunFile) -> bool:
        return (self.folder.path / name).exists()


class Handles:
    """The handles of an engine's runs: one for each number, while its run lives."""

    def __init__(self, runs: RunFolders, desk: Desk) -> None:
        self._runs, self._desk = runs, desk
        self._known: dict[int, RunHandle] = {}

    def begin(self, number: int, job: Job) -> RemoteRun:
        """The handle of a run that was submitted just now; the handles of runs that are over are forgotten."""
        made = RemoteRun(self._runs.path(number), job, self._desk)
        self._known = {other: run for other, run in self._known.items() if run.alive()} | {number: made}
        return made

    def of(self, number: int) -> RunHandle:
        """The run of this number, whoever started it, on an engine or on this machine."""
        if number not in self._known:
            folder = self._runs.path(number)
            job = Job.read(folder)
            self._known[number] = RemoteRun(folder, job, self._desk) if job else LocalRun(folder)
        return self._known[number]
