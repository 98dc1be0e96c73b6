"""A server's moves without its client, killed at the N-th line: `python -m tests.faults.moves REPOSITORY N`.

Every line that is run of what changes a night counts down, and at zero the process kills itself. What was done is
printed at once.
"""

import os
import signal
import sys
import time
from pathlib import Path

from server.serve_options import ServeOptions
from server.study.phase import Phase
from server.study.study import Study
from tests.faults.night import TAG
from tests.support.countdown import Countdown

# Where a night is changed.
_CHANGING = """
    study/study study/verdicts study/ledger_rebuild study/git_repair study/sweep_queue history/ledger history/export
    vcs/workspace vcs/worktree vcs/refs vcs/objects runs/executor runs/local_executor runs/device_lock files locks
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


def _tell(word: str, number: int) -> None:
    sys.stdout.write(f"{word} {number}\n")
    sys.stdout.flush()


def _wait(session: Study) -> None:
    """Until the result is written, without a line of the server's."""
    last = session.ledger.last()
    assert last
    result = session.runs.path(last.number) / "result.json"
    until = time.monotonic() + 30
    while not result.exists() and time.monotonic() < until:
        time.sleep(0.01)


def _patch(session: Study) -> None:
    line = next(line for line in session.incumbent().text.splitlines() if line.startswith("RATE = "))
    new = f"RATE = {0.02 + time.time() % 1e4 / 1e6:.9f}"
    session.apply_patch(f"<<<<<<< SEARCH\n{line}\n=======\n{new}\n>>>>>>> REPLACE")


def main() -> None:
    """See above."""
    countdown = Countdown(_CHANGING, int(sys.argv[2]), _die)
    sys.settrace(countdown.trace)
    session = Study(Path(sys.argv[1]), TAG, ServeOptions(profile="smoke"))
    work(session)
    sys.settrace(None)
    session.close()


if __name__ == "__main__":
    main()
