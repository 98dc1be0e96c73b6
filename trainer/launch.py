"""What the child process runs: train.py, as `__main__`, confined, with its exceptions told to the referee by structure.

Until the referee says `go`, only trusted code has run here; what it tells by then can be believed.
"""

import runpy
import sys
import traceback
from pathlib import Path

from trainer.confinement import GUARDS, confine
from trainer.letterbox import Letterbox, Spec
from trainer.processes import die_with_parent
from trainer.reach import reach
from trainer.wire import ChannelClosed, inherited

_MAX_TRACEBACK = 4000  # characters


def main() -> None:
    """Run train.py of the run folder named on the command line; its scratch folder is the working directory."""
    die_with_parent()
    box = Letterbox(Path(sys.argv[1]))
    spec = box.spec()
    channel = inherited()
    channel.send("ready", guards=_confine(box, spec))
    if channel.receive("import", "go").kind == "import":
        _import_ahead(box.train.read_text(encoding="utf-8"))
        channel.receive("go")
    sys.path.append(spec.imports)  # last: nothing there can shadow torch or trainer
    sys.argv = [str(box.train)]
    try:
        runpy.run_path(str(box.train), run_name="__main__")
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and not error.code:
            return
        _tell(error, box.train)
        raise


def _import_ahead(train: str) -> None:
    """What takes seconds to import: a replica spends them while it waits."""
    import trainer.session  # noqa: F401

    if "torch.optim" in train or "compile(" in train:  # both bring torch's compiler along
        import torch._dynamo  # noqa: F401


def _confine(box: Letterbox, spec: Spec) -> dict[str, str]:
    if not spec.confine:
        return dict.fromkeys(GUARDS, "switched off by the operator")
    hidden = [Path(spec.data), box.folder.parent, *([Path(spec.dataset)] if spec.dataset else [])]
    return confine(reach(box.train, Path.cwd(), Path(spec.imports), hidden))


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
