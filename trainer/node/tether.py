"""What ties a run to the process that holds it: `python -P -B -m trainer.node.tether RUN_FOLDER NICE OOM_SCORE_ADJ`.

An engine may kill its worker at any moment, and then the worker's direct children alone. So the tether is nobody's
child: it forks twice. It reads the seat's order in the first line of its standard input, becomes the seat's parent, and
waits for either end: of the seat, or of the pipe, whose other end the holder has. Without a holder it ends the run,
politely at first. Where the tether dies itself, the seat ends the run.
"""

import os
import select
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

from trainer.contract import SeatOrder
from trainer.node.seat import Seat
from trainer.processes.parentage import become_subreaper, end_with_parent
from trainer.processes.process_tree import kill_descendants

_END_SECONDS = 15.0  # that a supervisor may take to end its run and to write a result
_LOOK_SECONDS = 0.3


def main() -> None:
    """Hold the run in the folder named on the command line."""
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    _be(int(sys.argv[2]), sys.argv[3])
    become_subreaper()
    if order := _first_line():
        _hold(Path(sys.argv[1]), SeatOrder.from_json(order))


def _hold(folder: Path, order: SeatOrder) -> None:
    seat = os.fork()
    if not seat:
        os._exit(_take(folder, order))
    while not _ended(seat):
        readable, _, _ = select.select([0], [], [], _LOOK_SECONDS)
        if readable and not os.read(0, 1):
            _end(seat)
            break
    kill_descendants(str(folder))


def _take(folder: Path, order: SeatOrder) -> int:
    """Be the seat. Returns the exit code."""
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)  # the pipe is the tether's alone
    os.setsid()
    end_with_parent()
    try:
        return Seat(folder, order).run()
    except BaseException:
        traceback.print_exc()
        return 1


def _end(seat: int) -> None:
    """Ask the seat to end; what does not is killed with all the rest."""
    with suppress(ProcessLookupError):
        os.kill(seat, signal.SIGTERM)
    deadline = time.monotonic() + _END_SECONDS
    while not _ended(seat) and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS / 10)


def _ended(pid: int) -> bool:
    """Whether our child has ended, now or before."""
    try:
        return os.waitpid(pid, os.WNOHANG) != (0, 0)
    except ChildProcessError:
        return True


def _be(nice: int, adjusted: str) -> None:
    """As the node's operator wants processes to be, and not as an engine's workers are: slower, and killed first.

    Only root may undo that; `autoresearch doctor` says where it stays.
    """
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(adjusted, encoding="ascii")
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, nice)


def _first_line() -> str:
    """Up to the end of the line and not further: what follows is the end of the pipe."""
    told = bytearray()
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        told += byte
    return told.decode()


if __name__ == "__main__":
    main()
