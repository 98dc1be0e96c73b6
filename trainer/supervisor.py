"""One detached supervisor per run: `python -P -m trainer.supervisor RUN_FOLDER`.

It outlives the server that started it, ends every process of its run, and writes result.json last. It inherits the
locks on the leases of its folder and of the device, and holds them for as long as it lives: a folder whose lease can
be locked and that has no result has lost its supervisor. train.py's processes inherit none.
"""

import signal
import sys
from pathlib import Path
from types import FrameType

from trainer.evaluators.registry import evaluate
from trainer.processes.process_tree import become_subreaper
from trainer.run.run_folder import RunFolder


def main() -> None:
    """Supervise the run in the folder named on the command line."""
    run_folder = RunFolder(Path(sys.argv[1]).resolve())

    def asked_to_end(_number: int, _frame: FrameType | None) -> None:
        run_folder.cancel("the supervisor was asked to end (SIGTERM)")

    become_subreaper()
    signal.signal(signal.SIGTERM, asked_to_end)
    run_folder.end(evaluate(run_folder, run_folder.spec()))


if __name__ == "__main__":
    main()
