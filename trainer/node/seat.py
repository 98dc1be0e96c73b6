"""Takes the seat of a run: `python -P -B -m trainer.node.seat RUN_FOLDER`, with the order in the environment.

It starts twice, the second time without the order in its environment, so the first time it imports nothing of ours.
"""

import os
import sys

_ORDER = "AUTORESEARCH_SEAT"  # SEAT_VARIABLE of trainer.contract, whose import takes longer than Python's start


def _hide(order: str) -> None:
    """Become this program again, without the order in the environment: that of a process can be read while it lives."""
    descriptor = os.memfd_create("order", 0)
    os.write(descriptor, order.encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    words = [sys.executable, "-P", "-B", "-m", "trainer.node.seat", sys.argv[1], str(descriptor)]
    os.execve(sys.executable, words, {**os.environ})


def main() -> None:
    """Take the seat of the run in the folder named on the command line."""
    if order := os.environ.pop(_ORDER, ""):
        _hide(order)
    from pathlib import Path

    from trainer.contract import SeatOrder
    from trainer.node.run_seat import Seat

    with open(int(sys.argv[2]), encoding="utf-8") as told:
        given = SeatOrder.from_json(told.read())
    raise SystemExit(Seat(Path(sys.argv[1]), given).run())


if __name__ == "__main__":
    main()
