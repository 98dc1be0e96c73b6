"""What the server does without being asked, for as long as it runs.

It imports the results of runs that have ended, starts those that wait for a slot, goes on with a sweep, counts the
hours, and shows that it lives: by a file's time, which whoever asks for its health looks at. A server that is stopped,
hangs or cannot write shows nothing.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from server.errors import RunnerUnavailable, Unavailable
from server.paths import StudyPaths
from server.records import Outcome
from server.study import limits, sweep
from server.study.limits import HoursCounter
from server.study.study import Study

STALE_SECONDS = 60.0  # after which a server is not well; twice the longest pause
_SHOWN_SECONDS = 10.0
_COUNTED_SECONDS = 60.0
_SWEEPING_SECONDS = 0.2
_RESULT_SECONDS = 0.05  # between two looks whether a run has ended
_START_SECONDS = 0.2  # between two whether one has begun
_IDLE_SECONDS = 1.0
_LONGEST_SECONDS = 30.0  # between two tries while the machine fails
_log = logging.getLogger(__name__)


class Background:
    """Nothing ends it: what fails is told on stderr once, and tried again later and later."""

    def __init__(self, study: Study, call: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        """Look after a study; `call` makes a move on it while nobody else does, and may raise anything."""
        self._study, self._call = study, call
        self._shown = self._counted = 0.0
        self._seen: set[Path] = set()  # results that have ended a rest: one that cannot be imported ends no other
        self._hours = HoursCounter(study.workspace.state)

    async def run(self) -> None:
        """Beat until it is cancelled."""
        failing = 0.0
        while True:
            try:
                await self._call(self._beat)
                failing = 0.0
            except Exception:
                if not failing:
                    _log.exception("The study pauses, and goes on as soon as it can.")
                failing = min(2 * failing or _SWEEPING_SECONDS, _LONGEST_SECONDS)
            await self._rest(failing or (_SWEEPING_SECONDS if self._study.queue.active else _IDLE_SECONDS))

    async def _rest(self, seconds: float) -> None:
        """Sleep until a run has ended, at the most so long: at the cost of a look at a file or two."""
        until = anyio.current_time() + seconds
        while (left := until - anyio.current_time()) > 0:
            await anyio.sleep(min(left, _RESULT_SECONDS if self._study.slots.results else _START_SECONDS))
            if new := {path for path in self._study.slots.results if path not in self._seen and path.exists()}:
                self._seen = {path for path in self._seen if path in self._study.slots.results} | new
                return

    def _beat(self) -> None:
        self._study.queue.save()
        try:
            hand_over(self._study)
            sweep.step(self._study)
        finally:  # a sweep that waits is not a server that hangs, and what cannot be started holds up no score
            self._study.settle()
            dispatch(self._study)
            self._tell()

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._counted > _COUNTED_SECONDS:
            self._hours.count(self._study.ledger)
            self._counted = now
        if now - self._shown > _SHOWN_SECONDS:
            self._study.workspace.paths.pulse.touch()
            self._shown = now


def hand_over(study: Study) -> None:
    """Start what waits in the slots of runs that are over, before their results are imported.

    Not during a sweep: its next move may be a keep, and what were started before would be measured for nothing.
    """
    if not study.queue.active and study.slots.waiting():
        study.repair()
        dispatch(study)


def dispatch(study: Study) -> None:
    """Start runs that wait, as many as slots are free; one that a limit forbids is ended. It raises nothing of theirs.

    What cannot be started now goes on waiting: `study.slots.held` says why.
    """
    try:
        _dispatch(study)
    finally:
        study.slots.look()


def _dispatch(study: Study) -> None:
    study.slots.held = ""
    for row in study.slots.waiting():
        if not study.slots.vacant():
            return
        why, passes = limits.why_held(study, row)
        if why and not passes:
            study.refuse(row, f"No new runs: {why}.")
            continue
        try:
            if not why:
                study.start(row)
        except RunnerUnavailable as error:
            why = error.problem
        except Unavailable as error:  # as of a commit that git has lost
            study.refuse(row, error.problem, Outcome.ENV_FAIL)
        if why:
            study.slots.held = why
            return


def seconds_since_heartbeat(state: Path, lock: Path) -> float:
    """Seconds since the server of the night in `state` showed life: its lock is written when it starts."""
    return min(
        (time.time() - path.stat().st_mtime for path in (StudyPaths(state).pulse, lock) if path.exists()), default=0.0
    )
