"""What the child process runs: train.py, as `__main__`, with its exceptions told to the referee by structure."""

import runpy
import sys
import traceback
from pathlib import Path

from trainer.letterbox import Letterbox
from trainer.processes import die_with_parent
from trainer.wire import ChannelClosed, inherited

_MAX_TRACEBACK = 4000  # characters


def main() -> None:
    """Run train.py of the run folder named on the command line."""
    die_with_parent()
    box = Letterbox(Path(sys.argv[1]))
    sys.path.append(box.spec().imports)  # last: nothing there can shadow torch or trainer
    sys.argv = [str(box.train)]
    try:
        runpy.run_path(str(box.train), run_name="__main__")
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and not error.code:
            return
        _tell(error, box.train)
        raise


def _tell(error: BaseException, train: Path) -> None:
    lines = traceback.TracebackException.from_exception(error)
    frames = list(lines.stack)
    first = next((i for i, frame in enumerate(frames) if frame.filename == str(train)), len(frames))
    lines.stack = traceback.StackSummary.from_list(frames[first:])  # runpy's own frames help nobody
    text = "".join(lines.format()).replace(str(train), "train.py")
    try:
        inherited().send(
            "crash", type=type(error).__name__, message=str(error)[:1000], traceback=text[-_MAX_TRACEBACK:]
        )
    except (ChannelClosed, OSError):
        return  # the referee is gone or has hung up; the exit code tells the rest


if __name__ == "__main__":
    main()
