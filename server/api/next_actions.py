"""The legal next calls, which come with every answer."""

import math
from string import ascii_lowercase

from server.api.lanes.caller import UNNAMED, Caller, current_caller
from server.api.lanes.lane_states import owns
from server.history import audit_failures, comparisons, revocations, segments
from server.records import Outcome
from server.study import limits
from server.study.find_study import OperatorRequest, read_request
from server.study.lane import Lane, differs_in_files
from server.study.phase import (
    HISTORY,
    NO_SESSION,
    SESSION_STEP,
    UNFINISHED,
    Move,
    NextAction,
    Phase,
    call,
    next_actions,
)
from server.study.study import Study
from server.task import requirements
from server.task.definition import Task
from server.task.task_words import words_of
from server.vcs.git_environment import tracked
from trainer.contract import UNSCORED, Referee

_MANY = 3  # runs in a row
_LETTERS = ascii_lowercase[1:]  # lanes beside main
_STARTING_NOTHING = {Move.WAIT_EXPERIMENT, Move.CANCEL_EXPERIMENT, Move.DISCARD, HISTORY}


def next_calls(study: Study, caller: Caller = UNNAMED) -> list[NextAction]:
    """What may be called now, in the caller's lane first."""
    calls = _in_lane(_next_calls(study, caller), caller.lane, caller)
    more = _elsewhere(study, caller) if study.ledger.incumbent() else []
    if not more or not calls or calls[0].tool != Move.WAIT_EXPERIMENT:
        return [*calls, *more]
    return [calls[0].model_copy(update={"why": "waits for the result"}), *more, *calls[1:]]


def _in_lane(actions: list[NextAction], lane: str, caller: Caller) -> list[NextAction]:
    """The calls as this client makes them in a lane."""
    return actions if lane == caller.home else [action.in_lane(lane) for action in actions]


def _elsewhere(study: Study, caller: Caller) -> list[NextAction]:
    """What the client may do in its other lanes, above all while its run here goes on."""
    here, words = study.lanes.at(caller.lane), words_of(study.program().task)
    run, told, busy = here.run(), list[NextAction](), 0
    sign = study.program().task.measure.sign
    own = [(lane, lane.phase()) for lane in study.lanes.all() if lane.id != here.id and owns(study, caller, lane)]
    scores = {lane.id: _unconfirmed(lane, phase) for lane, phase in own}
    own.sort(key=lambda one: math.inf if (score := scores[one[0].id]) is None else -sign * score)
    for lane, phase in own:  # a confirmation is worth most where the first score is the best
        busy += phase is not Phase.IDLE
        if phase not in (Phase.IDLE, *UNFINISHED):
            told += _in_lane(_with_score(study, next_actions(phase, words)[:1], scores[lane.id]), lane.id, caller)
    if study.queue.active or study.head_moved or limits.why_study_over(study):
        return [action for action in told if action.tool != Move.RUN_EXPERIMENT]
    if run is None or not run.running:
        return told
    if busy < len(study.executor.slots):
        told.append(_prepare(study, caller, run.number))
    if busy:
        told.append(
            NextAction(tool=Move.WAIT_EXPERIMENT, arguments={"any": "true"}, why="waits for the first run to end")
        )
    return told


def _with_score(study: Study, actions: list[NextAction], score: float | None) -> list[NextAction]:
    """The calls with the first score of the candidate that they confirm."""
    if score is None:
        return actions
    told = f"; its first score is {study.program().task.measure.shown(score)}"
    return [action.model_copy(update={"why": action.why + told}) for action in actions]


def _unconfirmed(lane: Lane, phase: Phase) -> float | None:
    """The first score of a candidate that is promising."""
    root = lane.measured() if phase is Phase.PROMISING else None
    return root.score.value if root and root.score else None


def _prepare(study: Study, caller: Caller, number: int) -> NextAction:
    prefix = f"{caller.agent[:18]}-" if caller.agent else ""
    names = (name for name in (caller.home, *(f"{prefix}{letter}" for letter in _LETTERS)) if name != caller.lane)
    name = next((name for name in names if _is_free(study, caller, study.lanes.at(name))), caller.home)
    queued = f"queues it, and it starts when experiment {number} has ended"
    then = "starts it at once: a slot is free" if study.slots.vacant() and not study.slots.waiting() else queued
    why = f"while experiment {number} runs, prepare the next candidate in lane {name}; run_experiment there {then}"
    return _in_lane([call(Move.APPLY_PATCH, why, "patch")], name, caller)[0]


def _is_free(study: Study, caller: Caller, lane: Lane) -> bool:
    """Whether a client may begin a candidate in a lane: not if another client uses it."""
    return lane.phase() is Phase.IDLE and owns(study, caller, lane)


def _next_calls(study: Study, caller: Caller) -> list[NextAction]:
    """What may be called in the lane; first the baseline's repeats, as many as program.md asks for."""
    lane, task = study.lanes.at(caller.lane), study.program().task
    phase, words = study.phase(caller.lane), words_of(task)
    usual = next_actions(phase, words)
    if study.queue.active and study.queue.active.lane == lane.id:
        return [
            call(Move.WAIT_EXPERIMENT, "waits for the sweep; there is nothing else to do"),
            call(Move.CANCEL_EXPERIMENT, "ends the sweep", "reason"),
            *_afterwards(study),
        ]
    if moved := study.head_moved:
        back = [action for action in usual if action.tool in _STARTING_NOTHING]
        return [_notice(f"No new runs: {moved}"), *back]
    if phase is Phase.QUEUED and read_request(study.workspace.state) is OperatorRequest.STOP:
        stopped = f"No new runs: {limits.why_study_over(study)}. {limits.what_is_left(study)}"
        return [_notice(stopped), *(action for action in usual if action.tool == Move.CANCEL_EXPERIMENT)]
    if phase in UNFINISHED:
        held = [_notice(f"no run starts now: {study.slots.held}")] if study.slots.held else []
        return [*usual, *held * (phase is Phase.QUEUED), *_afterwards(study)]
    if why := limits.why_study_over(study, lane.id):
        return [_notice(f"No new runs: {why}. {limits.what_is_left(study)}"), *_without_runs(usual)]
    told = (segments.changed_task(study.ledger, task.sha256, task.paired), _other_files(study, task), _unscored(study))
    return [*(_notice(why) for why in told if why), *_with_baseline(study, lane, phase, usual)]


def _other_files(study: Study, task: Task) -> str:
    """A notice that program.md now names other files than when this server started; empty if it does not."""
    if not differs_in_files(task, study.opened_with):
        return ""
    return (
        "program.md now names other editable files. That takes effect when the operator restarts the server; until "
        f"then the editable files are {study.workspace.editable}"
    )


def _unscored(study: Study) -> str:
    """A notice that the judge could not score any of the last runs; empty if it could. It ends nothing."""
    rows = study.ledger.page(_MANY, 0)
    if len(rows) < _MANY or not all(row.result and row.result.cause == UNSCORED for row in rows):
        return ""
    return (
        f"the judge could not score any of the last {_MANY} runs, but it can score the incumbent: change what the "
        "candidate answers, or ask the operator whether the judge should accept such answers"
    )


def sentences(actions: list[NextAction]) -> list[str]:
    """Next actions as an agent reads them."""
    return [action.sentence() for action in actions]


def next_sentences(study: Study, caller: Caller | None = None) -> list[str]:
    """`next_calls`, as an agent reads them; without a caller, for whoever makes the current call."""
    return sentences(next_calls(study, caller or current_caller()))


def _notice(why: str) -> NextAction:
    """Information for the agent, the operator or the user, without a call."""
    return NextAction(tool="", why=why)


def _once_more(untried: list[int]) -> NextAction:
    others = f"; so may the changes of {', '.join(map(str, untried[1:]))}" if untried[1:] else ""
    why = f"it was built on an experiment that is revoked: its change may be tried again on the incumbent{others}"
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
        return f"The baseline cannot work: {NO_SESSION}{told}. The operator must {SESSION_STEP}."
    lacks = [lack for lack in requirements.lacking(task, root, tracked(root, ".")) if lack.fatal]
    steps = "; ".join(f"{lack.problem} ({lack.remedy})" for lack in lacks)
    return f"The baseline cannot work: {steps}. The operator must fix that first." if lacks else ""


def _afterwards(study: Study) -> list[NextAction]:
    """A notice for an agent that waits: no new runs after this one."""
    why = limits.why_study_over(study)
    return [_notice(f"no new runs after this: {why}. {limits.what_is_left(study)}")] if why else []


def _with_baseline(study: Study, lane: Lane, phase: Phase, actions: list[NextAction]) -> list[NextAction]:
    usual, incumbent, task = actions, study.ledger.incumbent(), study.program().task
    if phase is Phase.IDLE and (alarm := audit_failures.alarm(study.ledger)):
        return [*_without_runs(usual), _notice(alarm)]
    if why := why_no_baseline(study):
        return [_notice(why), *actions]
    if phase is Phase.IDLE and (untried := revocations.untried(study.ledger)):
        actions = [*actions, _once_more(untried)]
    last = lane.run()
    if last and last.result and last.result.outcome is Outcome.ENV_FAIL and last.result.cause != "judge":
        doctor = _doctor(study)
        actions = {Phase.BASELINE_FAILED: [actions[0], doctor], Phase.FAILED: [*actions, doctor]}.get(phase, actions)
    if phase is not Phase.IDLE or incumbent is None or not incumbent.attempt.baseline or task.keep_rule == "any":
        return actions
    if task.paired:  # each run measures the incumbent as well, and tells its own error
        return actions
    done, wanted = comparisons.incumbent_value(study.ledger, incumbent, task)[1], task.baseline_runs
    done += sum(row.attempt.of == incumbent.number for row in study.ledger.unfinished())
    if done >= wanted:
        return actions
    why = f"measures the baseline again (run {done} of {wanted} is done; they measure the noise)"
    return [call(Move.RUN_EXPERIMENT, why, "description"), *_without_runs(usual)]
