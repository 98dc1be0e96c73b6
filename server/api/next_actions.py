"""The legal next calls, which come with every answer."""

from server.history import audit_failures, comparisons, revocations, segments
from server.records import Outcome
from server.study import limits
from server.study.lane import differs_in_files
from server.study.phase import HISTORY, NO_SESSION, SESSION_STEP, Move, NextAction, Phase, call, next_actions
from server.study.study import Study
from server.task import requirements
from server.task.definition import Task
from server.task.task_words import words_of
from server.vcs.git_environment import tracked
from trainer.contract import UNSCORED, Referee

_MANY = 3  # runs in a row
_STARTING_NOTHING = {Move.WAIT_EXPERIMENT, Move.CANCEL_EXPERIMENT, Move.DISCARD, HISTORY}


def next_calls(study: Study) -> list[NextAction]:
    """What may be called now; first the baseline's repeats, as many as program.md asks for."""
    phase, words = study.phase(), words_of(study.program().task)
    usual = next_actions(phase, words)
    if study.queue.active:
        return [
            call(Move.WAIT_EXPERIMENT, "waits for the sweep; there is nothing else to do"),
            call(Move.CANCEL_EXPERIMENT, "ends the sweep", "reason"),
            *_afterwards(study),
        ]
    if moved := study.head_moved:
        back = [action for action in usual if action.tool in _STARTING_NOTHING]
        return [_notice(f"Nothing new is started: {moved}"), *back]
    if phase is Phase.RUNNING:
        return [*usual, *_afterwards(study)]
    if why := limits.why_study_over(study):
        return [_notice(f"No run is started: {why}. {limits.what_is_left(study)}"), *_without_runs(usual)]
    task = study.program().task
    told = (segments.changed_task(study.ledger, task.sha256, task.paired), _other_files(study, task), _unscored(study))
    return [*(_notice(why) for why in told if why), *_with_baseline(study, phase, usual)]


def _other_files(study: Study, task: Task) -> str:
    """That program.md names other files than those this server was started with; empty if it does not."""
    if not differs_in_files(task, study.opened_with):
        return ""
    return (
        "program.md was changed in which files may be edited, and that counts once the operator starts the server "
        f"anew: until then it is {study.workspace.editable}"
    )


def _unscored(study: Study) -> str:
    """That the judge could score none of the last runs, which ends nothing; empty if it could."""
    rows = study.ledger.page(_MANY, 0)
    if len(rows) < _MANY or not all(row.result and row.result.cause == UNSCORED for row in rows):
        return ""
    return (
        f"the judge could score none of the last {_MANY} runs, and it can score the incumbent: change what the "
        "candidate answers, or ask the operator whether the judge should take such answers"
    )


def sentences(actions: list[NextAction]) -> list[str]:
    """Next actions as an agent reads them."""
    return [action.sentence() for action in actions]


def next_sentences(study: Study) -> list[str]:
    """`next_calls`, as an agent reads them."""
    return sentences(next_calls(study))


def _notice(why: str) -> NextAction:
    """What the agent, the operator or the user has to know: it is no call."""
    return NextAction(tool="", why=why)


def _once_more(untried: list[int]) -> NextAction:
    others = f"; so may those of {', '.join(map(str, untried[1:]))}" if untried[1:] else ""
    why = f"its keep was built on a revoked one: its change may be tried again on the incumbent{others}"
    return NextAction(tool=Move.APPLY_PATCH, arguments={"experiment": untried[0]}, why=why)


def _without_runs(actions: list[NextAction]) -> list[NextAction]:
    return [action for action in actions if action.tool != Move.RUN_EXPERIMENT]


def _doctor(study: Study) -> NextAction:
    told = words_of(study.program().task).fill("the machine failed, not {candidate}")
    return NextAction(tool="", why=f"ask the operator to run `autoresearch doctor`: {told}")


def why_no_baseline(study: Study) -> str:
    """Why the baseline cannot work, and what the operator does; empty if it may."""
    task, root = study.program().task, study.workspace.root
    if study.phase() not in (Phase.NEW, Phase.BASELINE_FAILED):
        return ""
    if task.kind is Referee.SEALED:
        if study.workspace.trains_here():
            return ""
        known = requirements.other_workspaces(root, tracked(root, "."))
        told = f" ({known})" if known else ""
        return f"The baseline cannot work: {NO_SESSION}{told}. The operator has to {SESSION_STEP}."
    lacks = [lack for lack in requirements.lacking(task, root, tracked(root, ".")) if lack.fatal]
    steps = "; ".join(f"{lack.problem} ({lack.remedy})" for lack in lacks)
    return f"The baseline cannot work: {steps}. The operator mends that first." if lacks else ""


def _afterwards(study: Study) -> list[NextAction]:
    """What an agent should know while it waits: that nothing comes after this."""
    why = limits.why_study_over(study)
    return [_notice(f"afterwards nothing new is started: {why}. {limits.what_is_left(study)}")] if why else []


def _with_baseline(study: Study, phase: Phase, actions: list[NextAction]) -> list[NextAction]:
    usual, incumbent, task = actions, study.ledger.incumbent(), study.program().task
    if phase is Phase.IDLE and (alarm := audit_failures.alarm(study.ledger)):
        return [*_without_runs(usual), _notice(alarm)]
    if why := why_no_baseline(study):
        return [_notice(why), *actions]
    if phase is Phase.IDLE and (untried := revocations.untried(study.ledger)):
        actions = [*actions, _once_more(untried)]
    last = study.lane.run()
    if last and last.result and last.result.outcome is Outcome.ENV_FAIL and last.result.cause != "judge":
        doctor = _doctor(study)
        actions = {Phase.BASELINE_FAILED: [actions[0], doctor], Phase.FAILED: [*actions, doctor]}.get(phase, actions)
    if phase is not Phase.IDLE or incumbent is None or not incumbent.attempt.baseline or task.keep_rule == "any":
        return actions
    if task.paired:  # each run measures the incumbent as well, and tells its own error
        return actions
    done, wanted = comparisons.incumbent_value(study.ledger, incumbent, task)[1], task.baseline_runs
    if done >= wanted:
        return actions
    why = f"measures the baseline again ({done} of {wanted} runs: they tell the noise)"
    return [call(Move.RUN_EXPERIMENT, why, "description"), *_without_runs(usual)]
