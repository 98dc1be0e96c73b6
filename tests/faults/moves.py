"""A server's moves without its client, killed at the N-th line: `python -m tests.faults.moves REPOSITORY N [LANE ...]`.

Every line that is run of what changes a night counts down, and at zero the process kills itself. What was done is
printed at once. Where lanes are named, the moves are made in them in turn, and one run waits for the other.
"""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from server.errors import DeviceBusy, Refusal
from server.records import MAIN
from server.serve_options import ServeOptions
from server.study.background import dispatch
from server.study.phase import Phase
from server.study.study import Study
from tests.faults.night import TAG
from tests.support.countdown import Countdown

# Where a night is changed.
_CHANGING = """
    study/study study/verdicts study/lane study/background study/ledger_rebuild study/git_repair study/sweep_queue
    starting/slots history/ledger history/export vcs/workspace vcs/worktree vcs/refs vcs/objects vcs/editing
    runs/executor runs/local_executor runs/device_lock files locks
""".split()
_DECIDED = 3  # experiments; then the night ends by itself


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def work(session: Study) -> None:
    """From wherever the night stands until a few more experiments are decided."""
    decided = 0
    while decided < _DECIDED:
        match session.phase():
            case Phase.RUNNING:
                _wait(session)
            case Phase.IDLE:
                _patch(session)
            case Phase.IMPROVED:
                _tell("keep", session.keep("better").number)
                decided += 1
            case Phase.WORSE:
                session.discard("not better")
                decided += 1
            case _:
                _tell("run", session.run("an idea").number)


def work_in(session: Study, lanes: list[str]) -> None:
    """The same in several lanes."""
    decided = 0
    while decided < _DECIDED:
        for lane in lanes:
            with suppress(DeviceBusy):
                decided += _move(session, lane)
        if all(session.phase(lane) in (Phase.RUNNING, Phase.QUEUED) for lane in lanes):
            _wait(session)
        dispatch(session)


def _move(session: Study, lane: str) -> int:
    """One move in a lane. Returns how many experiments it has decided."""
    match session.phase(lane):
        case Phase.RUNNING | Phase.QUEUED:
            return 0
        case Phase.IDLE if session.ledger.incumbent():
            _patch(session, lane)
        case Phase.IMPROVED:
            _tell("keep", session.keep("better", lane).number)
            return 1
        case Phase.WORSE:
            session.discard("not better", lane)
            return 1
        case _:
            try:
                _tell("run", session.run("an idea", lane=lane).number)
            except Refusal:  # the incumbent has the same line by now
                session.discard("a conflict", lane)
    return 0


def _tell(word: str, number: int) -> None:
    sys.stdout.write(f"{word} {number}\n")
    sys.stdout.flush()


def _wait(session: Study) -> None:
    """Until the result is written, without a line of the server's."""
    running = next((row for row in session.ledger.unfinished() if not row.queued), None)
    if running is None:
        return
    result = session.runs.path(running.number) / "result.json"
    until = time.monotonic() + 30
    while not result.exists() and time.monotonic() < until:
        time.sleep(0.01)


def _patch(session: Study, lane: str = MAIN) -> None:
    """Another rate; in a lane beside main sometimes another last line."""
    lines, now = session.incumbent().text.splitlines(), time.time() % 1e4
    line = next(line for line in lines if line.startswith("RATE = "))
    new = f"RATE = {0.02 + now / 1e6:.9f}"
    if lane != MAIN and int(now) % 2:
        line, new = lines[-1], f"{lines[-1]}\nLATER = {now:.6f}"
    session.apply_patch(f"<<<<<<< SEARCH\n{line}\n=======\n{new}\n>>>>>>> REPLACE", lane=lane)


def main() -> None:
    """See above."""
    countdown = Countdown(_CHANGING, int(sys.argv[2]), _die)
    sys.settrace(countdown.trace)
    session = Study(Path(sys.argv[1]), TAG, ServeOptions(profile="smoke", confine=False))
    if lanes := sys.argv[3:]:
        work_in(session, lanes)
    else:
        work(session)
    sys.settrace(None)
    session.close()


if __name__ == "__main__":
    main()
