"""Whether the study goes on: program.md's limits, the operator's request, and the count of hours.

Hours run from the first experiment on a monotonic clock, so a wall clock that jumps neither ends a study nor lengthens
it. Time between two servers counts if it is shorter than the gap after which a resting study is over.
"""

import shutil
import time
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from server.errors import NightOver
from server.files import write_whole
from server.history import comparisons
from server.history.ledger import Ledger
from server.paths import StudyPaths
from server.records import MAIN, Experiment, Purpose, Value, Verdict
from server.study.find_study import RESUME_HOURS, OperatorRequest, read_request
from server.study.phase import JUDGED, Phase
from server.study.study import Study
from server.task.definition import Task
from server.task.policy import StudyFacts

_PROMISING = 100  # rows; of what was promising and left undecided, no study has many
REQUEST_REASONS = {
    OperatorRequest.STOP: "the operator stopped the study",
    OperatorRequest.PAUSE: "the operator paused the study",
}


def why_over(state: Path, task: Task, ledger: Ledger, lane: str = "") -> str:
    """Why nothing new may be started; empty while the night goes on. What was better once may still be confirmed.

    Args:
        lane: in which something is to be started; "": in any.
    """
    word = read_request(state)
    if word is not None:
        return REQUEST_REASONS[word]
    known = study_facts(state, ledger, task)
    return task.stop.full(known) or ("" if _confirming(ledger, lane) else task.stop.reached(known, task.measure))


def _confirming(ledger: Ledger, lane: str) -> bool:
    """Whether a candidate, of this lane or of any, was better once."""
    measured, incumbent = ledger.measured(lane) if lane else None, ledger.incumbent()
    rows = [measured] if lane else ledger.page(_PROMISING, 0, Verdict.PROMISING)
    return any(
        row is not None
        and row.decision is None
        and row.verdict == Verdict.PROMISING
        and (incumbent is None or row.attempt.parent == incumbent.commit)
        for row in rows
    )


def why_study_over(study: Study, lane: str = "") -> str:
    """`why_over`, for this study."""
    return why_over(study.workspace.state, study.program().task, study.ledger, lane)


def why_waiting(study: Study) -> str:
    """Why nothing is started just now, in a night that goes on by itself: it is paused, or the disk is full."""
    if read_request(study.workspace.state) is OperatorRequest.PAUSE:
        return REQUEST_REASONS[OperatorRequest.PAUSE]
    return study.program().task.stop.full(study_facts(study.workspace.state, study.ledger))


def why_held(study: Study, row: Experiment) -> tuple[str, bool]:
    """Why a run that waits is not started, and whether that may pass; empty if it is started."""
    if word := read_request(study.workspace.state):
        return REQUEST_REASONS[word], True
    if study.head_moved:  # else it would be built on what somebody else has put there
        return study.head_moved, True
    task, ledger = study.program().task, study.ledger
    known = study_facts(study.workspace.state, ledger, task)
    if why := task.stop.full(known):
        return why, True
    helps = row.attempt.of is not None and _confirming(ledger, row.attempt.lane or MAIN)
    if helps or row.attempt.purpose is Purpose.CONFIRM:
        return "", False
    waiting = sum(other.queued and other.attempt.of is None for other in ledger.unfinished())
    over = sum(other.attempt.of is None for other in study.slots.over())  # a trial, as soon as it is imported
    now = {"experiments": known.experiments - waiting, "since_keep": known.since_keep + over}
    return task.stop.reached(known.model_copy(update=now), task.measure), False


def end_of(study: Study) -> str:
    """At which experiment a study has ended, and why; empty while it goes on, is paused, or something is undecided."""
    phases, word = phases_of(study), read_request(study.workspace.state)
    waits = Phase.QUEUED in phases and word is not OperatorRequest.STOP
    if Phase.RUNNING in phases or waits or word is OperatorRequest.PAUSE:
        return ""
    last = study.ledger.last()
    if last is None or any(phase in JUDGED for phase in phases):
        return ""
    why = why_study_over(study)
    return f"{last.number}: {why}" if why else ""


def phases_of(study: Study) -> list[Phase]:
    """Where each lane stands."""
    study.settle()
    return [lane.phase() for lane in study.lanes.all()]


def is_paused(study: Study, lane: str = MAIN) -> bool:
    """Whether the operator has paused a night, and nothing runs in the lane."""
    return study.phase(lane) is not Phase.RUNNING and read_request(study.workspace.state) is OperatorRequest.PAUSE


def require_open(study: Study, lane: str = MAIN) -> None:
    """Refuse to start a run in a lane. Raises NightOver."""
    if why := why_study_over(study, lane):
        raise NightOver(f"No new runs: {why}.", what_is_left(study))


def what_is_left(study: Study) -> str:
    """What is left to do in a night that is over, or rests."""
    if read_request(study.workspace.state) is OperatorRequest.PAUSE:
        return "Wait with wait_experiment() until the operator runs `autoresearch resume`; keep and discard still work."
    return "Tell the user what was found, and stop; keep and discard still work."


def study_facts(state: Path, ledger: Ledger, task: Task | None = None) -> StudyFacts:
    """How far the night has come.

    Args:
        task: program.md's; a value that was measured by another one is none. Without it, the last run's counts.
    """
    incumbent = ledger.incumbent()
    return StudyFacts(
        hours=hours_spent(state),
        experiments=comparisons.count_experiments(ledger),
        value=comparisons.incumbent_value(ledger, incumbent, task)[0] if incumbent else None,
        since_keep=comparisons.experiments_since_keep(ledger, incumbent),
        free_gb=shutil.disk_usage(state).free / 1e9,
    )


class _SavedHours(Value):
    seconds: float = 0.0
    counted_at: float = 0.0  # seconds since the epoch


class HoursCounter:
    """The count of the night that this process serves."""

    def __init__(self, state: Path) -> None:
        """Go on with the count in folder `state`."""
        self._path, self._counted = StudyPaths(state).hours, time.monotonic()
        known = _read_hours(state)
        gap = time.time() - known.counted_at
        self._seconds = known.seconds + (gap if 0 <= gap <= 3600 * RESUME_HOURS else 0.0)

    def count(self, ledger: Ledger) -> None:
        """Add the time since the last call; before the first run there is none. Raises LedgerUnavailable."""
        now = time.monotonic()
        passed, self._counted = now - self._counted, now
        if ledger.last() is None:
            return
        self._seconds += passed
        with suppress(OSError):  # a full disk: this process knows it
            write_whole(self._path, _SavedHours(seconds=self._seconds, counted_at=time.time()).model_dump_json())


def hours_spent(state: Path) -> float:
    """The hours of the night in folder `state`, as they were last counted."""
    return _read_hours(state).seconds / 3600


def _read_hours(state: Path) -> _SavedHours:
    try:
        return _SavedHours.model_validate_json(StudyPaths(state).hours.read_bytes())
    except (OSError, ValidationError):
        return _SavedHours()
