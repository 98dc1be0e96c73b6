"""A study without a human at the client: an installed client runs headless, and is restarted if it stops too early."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from server.clients.client_config import ServerEntry, serving
from server.clients.expenses import Expenses
from server.clients.launchers import launch
from server.errors import Unavailable
from server.files import rotate
from server.foreign.load import load
from server.history.ledger import Ledger
from server.paths import Home, StudyPaths
from server.records import Experiment, Value
from server.runs.run_folder import RunFolders
from server.study import limits
from server.study.find_study import OperatorRequest, read_request, tag_to_serve

_FRUITLESS = 5  # starts in a row, the first of all, that began no run: then it is not the idea that fails
_LOOK_SECONDS = 0.5
_ADDRESSES = "AUTORESEARCH_NOTIFY"  # where messages to the operator go: secrets, which no agent needs
_PAUSES = (1.0, 10.0, 60.0, 300.0)  # seconds before the next start, by how many have been fruitless
_END_SECONDS = 10.0
_DECIDE_SECONDS = 60.0  # a client that was shown a result keeps or discards it within

_Told = TypeVar("_Told")
_Tell = Callable[[str], None]


class DriveLimits(Value):
    """Limits of a drive; 0 or less: no limit."""

    hours: float = 0.0
    experiments: int = 0
    pauses: tuple[float, ...] = _PAUSES
    idle_seconds: float = 1800.0  # in which no run goes on, begins or is decided; then the client hangs
    log_bytes: int = 10 << 20  # of what the client prints; the last part of it is kept once more
    usd: float = 0.0  # that the client may cost, as it tells it itself
    tokens: int = 0  # in and out


def runs_over(counts: Mapping[str, int]) -> int:
    """How many runs are over, of a ledger's counts."""
    return sum(count for verdict, count in counts.items() if verdict not in ("kept", "running", "queued"))


class Driver:
    """One study with one client."""

    def __init__(self, client: str, workspace: Path, options: list[str], prompt: str) -> None:
        """`options`: of `autoresearch serve`. Raises Unavailable: no such client, or it is not installed."""
        home = Home(workspace)
        self._workspace = workspace
        self.paths, arguments = study_to_drive(workspace, options)
        self._launch = launch(client, prompt, ServerEntry(sys.executable, tuple(arguments)), home.drive)
        self._folders = RunFolders(self.paths.runs)
        self._done_at = 0.0  # when the last experiment of the night was measured
        self._stirred = 0.0  # when a run last went on, began or was decided
        self._seen: Experiment | None = None  # the last row then
        self.log = home.drive_log(client)
        self._client, self._reports = client, True  # whether it is asked to tell its tokens
        self.expenses = Expenses(self.paths, client, self.log)

    def run(self, shift: DriveLimits, tell: _Tell) -> str:
        """Start the client, and restart it until the study is over. Returns why it ended.

        A client that has once begun a run will do so again, so later failures are waited out.

        Raises:
            Unavailable: a cost limit is set, but this client does not report its cost.
        """
        if shift.usd > 0 and not self._launch.priced:
            raise Unavailable(f"{self._client} does not report what it costs.", "Limit it with --max-tokens.")
        over = partial(self._over, shift, time.monotonic(), before := self.measured())
        fruitless, worked, pause = 0, False, 0.0
        while True:
            seen = self._last()
            if reason := self._rest(pause, over) or self._watch(shift, over, tell):
                return reason
            fruitless = 0 if self._last() != seen else fruitless + 1
            worked = worked or not fruitless
            if fruitless >= _FRUITLESS and not worked and not self._runs():
                return f"the client was started {fruitless} times and measured nothing: see {self.log}"
            pause = shift.pauses[min(fruitless, len(shift.pauses) - 1)]
            tell(f"the client stopped after {self.measured() - before} experiments; it is started again in {pause:g} s")

    def measured(self) -> int:
        """How many runs of the study are over."""
        return runs_over(self._ask(Ledger.counts, {}))

    def _last(self) -> Experiment | None:
        return self._ask(Ledger.last, None)

    def _runs(self) -> bool:
        """Whether a run goes on, whatever the ledger knows of its end: that is written when a client asks."""
        rows = self._ask(Ledger.unfinished, list[Experiment]())
        return any(self._folders.of(row.number).alive() for row in rows if not row.queued)

    def _decided(self) -> bool:
        """Whether nothing that was measured waits for its keep or discard."""
        last = self._ask(Ledger.measured, None)
        return last is None or last.decision is not None

    def _curfew(self) -> str:
        """Why the night is over, once no run goes on; empty while it is only paused."""
        last, word = self._last(), read_request(self.paths.state)
        if word is OperatorRequest.STOP:
            return "" if self._runs() else limits.REQUEST_REASONS[word]
        waits = word or last is None or self._ask(Ledger.unfinished, list[Experiment]())
        return "" if waits else self._ask(self._reached, "")

    def _reached(self, ledger: Ledger) -> str:
        return limits.why_over(self.paths.state, load(self._workspace / "program.md", self.paths.state).task, ledger)

    def _ask(self, question: Callable[[Ledger], _Told], unknown: _Told) -> _Told:
        """What the ledger says; `unknown` while it cannot be read, or program.md: others mend that."""
        try:
            with closing(Ledger(self.paths.ledger, read_only=True)) as ledger:
                return question(ledger)
        except Unavailable:
            return unknown

    def _rest(self, seconds: float, over: Callable[[], str]) -> str:
        """Wait before the next start, and while the night is paused. Returns why the night is over."""
        until = time.monotonic() + seconds
        while not (reason := over()):
            left = until - time.monotonic()
            if left <= 0 and read_request(self.paths.state) is not OperatorRequest.PAUSE:
                break
            time.sleep(min(max(left, 0.0), _LOOK_SECONDS) or _LOOK_SECONDS)
        return reason

    def _watch(self, shift: DriveLimits, over: Callable[..., str], tell: _Tell) -> str:
        """One start of the client. Returns why the night is over, or nothing if the client stopped by itself."""
        try:
            process = self._start(shift)
        except OSError as error:  # as while the client is updated
            tell(f"the client cannot be started: {error}")
            return ""
        with process:
            try:
                self._stirred = time.monotonic()
                while process.poll() is None:
                    if reason := over():
                        return reason
                    if self._idle() > shift.idle_seconds:
                        tell(f"the client did nothing for {shift.idle_seconds / 60:g} minutes, and is ended")
                        break
                    self.expenses.look()
                    with suppress(OSError):  # a full disk ends runs, not the night
                        rotate(self.log, shift.log_bytes)
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(_LOOK_SECONDS)
            finally:
                _end(process)
                self.expenses.look()
        return self._without_reports(shift, tell) or over(patience=0.0)

    def _without_reports(self, shift: DriveLimits, tell: _Tell) -> str:
        """Ask an old client, which does not know the options, no more for its tokens. Why that ends the night."""
        if not self._reports or not self.expenses.misunderstood:
            return ""
        self._reports = False
        if shift.usd > 0 or shift.tokens > 0:
            return (
                f"this version of {self._client} does not report its usage, so no limit on it can be enforced: "
                "update it"
            )
        tell(f"this version of {self._client} does not report its usage: its cost stays unknown")
        return ""

    def _words(self, shift: DriveLimits) -> list[str]:
        found = self._launch
        if not self._reports:
            return found.words
        left = shift.usd - (self.expenses.spent.usd or 0.0)
        ceiling = [found.ceiling, f"{left:.4f}"] if found.ceiling and shift.usd > 0 else []
        return [*found.words, *found.reporting, *ceiling]

    def _start(self, shift: DriveLimits) -> subprocess.Popen[bytes]:
        """The client, with all that it starts in a session of its own. Raises OSError."""
        environment = {**os.environ, **self._launch.environment}
        environment.pop(_ADDRESSES, None)
        words = self._words(shift)
        self.expenses.begin()
        with self.log.open("ab") as log:
            return subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._workspace,
                env=environment,
                start_new_session=True,
            )

    def _idle(self) -> float:
        """For how many seconds no run has gone on, begun or been decided, in a night that is not paused."""
        last = self._last()
        if last != self._seen or self._runs() or read_request(self.paths.state) is OperatorRequest.PAUSE:
            self._seen, self._stirred = last, time.monotonic()
        return time.monotonic() - self._stirred

    def _over(self, shift: DriveLimits, begun: float, before: int, patience: float = _DECIDE_SECONDS) -> str:
        """Why the night is over; the last experiment may still be decided for `patience` seconds."""
        if shift.hours > 0 and time.monotonic() - begun >= 3600 * shift.hours:
            return f"{shift.hours:g} hours are over"
        done = 0 < shift.experiments <= self.measured() - before
        why = self.expenses.reached(shift.usd, shift.tokens)
        wanted = f"{shift.experiments} experiment{'s are' if shift.experiments > 1 else ' is'} done"
        why = why or (wanted if done else self._curfew())
        self._done_at = (self._done_at or time.monotonic()) if why else 0.0
        return why if self._decided() or time.monotonic() - self._done_at >= patience else ""


def study_to_drive(workspace: Path, options: list[str]) -> tuple[StudyPaths, list[str]]:
    """The study of a night, and how its server is started: with its tag, for all that are started after midnight.

    Args:
        options: of `autoresearch serve`.
    """
    tag = _tag(options) or tag_to_serve(workspace)
    return Home(workspace).study(tag), [*serving(), "--workspace", str(workspace), *options, "--tag", tag]


def _tag(options: list[str]) -> str:
    """The tag among the options of `autoresearch serve`; empty if they name none."""
    told = [word.removeprefix("--tag=") for word in options if word.startswith("--tag=")]
    after = [options[place + 1] for place, word in enumerate(options[:-1]) if word == "--tag"]
    return next(iter([*told, *after]), "")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the client and all its processes; the current run goes on, and the next server takes it over."""
    if process.poll() is None:
        with suppress(OSError):  # it has just ended
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
