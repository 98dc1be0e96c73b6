"""One detached supervisor per run: `python -m trainer.supervisor RUN_FOLDER`.

It outlives the server that started it, ends every process of its run, and writes result.json last. It inherits the
lock on the folder's lease, and holds it for as long as it lives: a folder whose lease can be locked and that has no
result has lost its supervisor.
"""

import shutil
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from trainer.letterbox import Ending, Letterbox, Spec
from trainer.processes import become_subreaper, kill_descendants
from trainer.referee import Referee
from trainer.runlog import RunLog
from trainer.shards import load
from trainer.stage import Ended

_LOG_SECONDS = 2.0  # after all processes are dead, their pipes are read to the end within this time


def main() -> None:
    """Supervise the run in the folder named on the command line."""
    box = Letterbox(Path(sys.argv[1]).resolve())
    become_subreaper()
    signal.signal(signal.SIGTERM, _asked_to_end)
    box.end(_supervise(box, box.spec()))


def _asked_to_end(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Ended("cancelled", "The supervisor was asked to end (SIGTERM).")


def _supervise(box: Letterbox, spec: Spec) -> Ending:
    started = time.monotonic()
    log = RunLog(box.log)
    figures: dict[str, float | int | str | None] = {}
    try:
        referee = Referee(box, spec, load(Path(spec.data)), log)
        figures = referee.figures
        ending = referee.run()
    except Ended as ended:
        ending = Ending(ended.outcome, ended.reason, None, figures, ended.traceback)
    except Exception as error:  # ours, not train.py's: no experiment has failed, the machinery has
        ending = Ending("env_fail", f"The run could not be carried out: {type(error).__name__}: {error}", None, figures)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # from here to result.json it is seconds
    if left := kill_descendants(spec.cookie):
        ending.figures["unkillable"] = ", ".join(map(str, left))
    log.close(_LOG_SECONDS)
    for role in ("candidate", "replica"):
        shutil.rmtree(box.folder / role, ignore_errors=True)
    ending.figures["total_seconds"] = round(time.monotonic() - started, 3)
    return ending


if __name__ == "__main__":
    main()
