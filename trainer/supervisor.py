"""One detached supervisor per run: `python -m trainer.supervisor RUN_FOLDER`.

It outlives the server that started it, ends every process of its run, and writes result.json last. It inherits the
locks on the leases of its folder and of the device, and holds them for as long as it lives: a folder whose lease can
be locked and that has no result has lost its supervisor. train.py's processes inherit none.
"""

import signal
import sys
from pathlib import Path
from types import FrameType

from trainer.letterbox import Letterbox
from trainer.processes import become_subreaper
from trainer.referee import Referee


def main() -> None:
    """Supervise the run in the folder named on the command line."""
    box = Letterbox(Path(sys.argv[1]).resolve())

    def asked_to_end(_number: int, _frame: FrameType | None) -> None:
        box.cancel("the supervisor was asked to end (SIGTERM)")

    become_subreaper()
    signal.signal(signal.SIGTERM, asked_to_end)
    box.end(Referee(box, box.spec()).run())


if __name__ == "__main__":
    main()
