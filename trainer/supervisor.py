"""One detached supervisor per run: `python -P -m trainer.supervisor RUN_FOLDER`.

It outlives the server that started it, ends every process of its run, and writes result.json last. It inherits the
locks on the leases of its folder and of the device, and holds them for as long as it lives: a folder whose lease can
be locked and that has no result has lost its supervisor. train.py's processes inherit none. Whoever starts it hands it
an order through a pipe: the spec, and the key that signs the result. On another machine its parent is a seat
(trainer.node.seat), and the run ends with that.
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType

from trainer.contract import NODE_VARIABLE, ORDER_VARIABLE, Order, Referee, RunResult, Spec
from trainer.evaluators.registry import Evaluator, evaluate, register
from trainer.processes.parentage import become_subreaper, end_with_parent
from trainer.run.run_folder import RunFolder


def _upstream(run_folder: RunFolder, spec: Spec) -> Evaluator:
    from trainer.upstream.audited import Audited
    from trainer.upstream.own_word import OwnWord

    return Audited(run_folder, spec) if spec.task and spec.task.audit else OwnWord(run_folder, spec)


register(Referee.KARPATHY, _upstream)
# How a run may seem to have ended where the same signal has hit its processes too: an engine sends it to all of a job.
_HIT = ("crashed", "env_fail")


def main() -> None:
    """Supervise the run in the folder named on the command line."""
    run_folder, node = RunFolder(Path(sys.argv[1]).resolve()), os.environ.pop(NODE_VARIABLE, "")
    asked: list[int] = []

    def asked_to_end(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        if run_folder.cancelled() is None:  # else whoever asked first has said why
            run_folder.cancel("the supervisor was asked to end (SIGTERM)")

    become_subreaper()
    signal.signal(signal.SIGTERM, asked_to_end)
    if node:
        end_with_parent()
        run_folder.standing["node_name"] = node
    if told := os.environ.pop(ORDER_VARIABLE, ""):
        with open(int(told), encoding="utf-8", closefd=False) as order:
            run_folder.accept(Order.from_json(order.read()))
    spec = run_folder.spec()
    if why := run_folder.changed(spec):
        told = f"train.py was changed in the run folder: {why}. No line of it has run."
        return run_folder.end(RunResult("env_fail", told, cause="run_folder_changed"))
    result = evaluate(run_folder, spec)
    result = _cancelled(result, run_folder) if asked and result.outcome in _HIT else result
    if node:
        result.figures["node_name"] = node
    if spec.task:
        run_folder.keep_candidate(spec.task.editable)
    run_folder.end(result)


def _cancelled(result: RunResult, run_folder: RunFolder) -> RunResult:
    return replace(result, outcome="cancelled", reason=f"Cancelled: {run_folder.cancelled()}", cause="", traceback="")


if __name__ == "__main__":
    main()
