"""What ties a run to the process that holds it: `python -P -B -m trainer.node.tether RUN_FOLDER`.

An engine may kill its worker at any moment, and then the worker's direct children alone. So the tether is nobody's
child: it forks twice. It reads the seat's order in the first line of its standard input, starts the seat, and waits for
either end: of the seat, or of the pipe, whose other end the holder has. Without a holder the run is ended, politely at
first.
"""

import os
import select
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from trainer.contract import SEAT_VARIABLE, Entry
from trainer.processes.parentage import become_subreaper
from trainer.processes.process_tree import kill_descendants

_END_SECONDS = 15.0  # that a supervisor may take to end its run and to write a result
_LOOK_SECONDS = 0.5


def main() -> None:
    """Hold the run in the folder named on the command line."""
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    _be_as_usual()
    become_subreaper()
    order = _first_line()
    if order:
        _hold(sys.argv[1], order)


def _hold(folder: str, order: str) -> None:
    seat = subprocess.Popen(
        [sys.executable, "-P", "-B", "-m", Entry.SEAT, folder],
        stdin=subprocess.DEVNULL,
        env={**os.environ, SEAT_VARIABLE: order},
        start_new_session=True,
    )
    while seat.poll() is None:
        readable, _, _ = select.select([0], [], [], _LOOK_SECONDS)
        if readable and not os.read(0, 1):
            seat.terminate()
            with suppress(subprocess.TimeoutExpired):
                seat.wait(_END_SECONDS)
            break
    kill_descendants(folder)


def _be_as_usual() -> None:
    """Neither nice nor the first to be killed, as an engine's workers are: runs would be slower, or gone.

    Only root may undo that; `autoresearch doctor` says where it stays.
    """
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("0", encoding="ascii")
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)


def _first_line() -> str:
    """Up to the end of the line and not further: what follows is the end of the pipe."""
    told = bytearray()
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        told += byte
    return told.decode()


if __name__ == "__main__":
    main()
