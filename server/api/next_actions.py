"""The legal next calls, as an agent reads them with every answer."""

from server.history import audit_failures, comparisons
from server.records import Outcome
from server.study import limits
from server.study.phase import Phase, next_actions
from server.study.study import Study

_DOCTOR = "ask the operator to run `autoresearch doctor`: the machine failed, not train.py"


def next_calls(study: Study) -> list[str]:
    """What may be called now; first the baseline's repeats, as many as program.md asks for."""
    phase = study.phase()
    if study.queue.active:
        return [
            "wait_experiment(): waits for the sweep; there is nothing else to do",
            "cancel_experiment(reason): ends the sweep",
            *_afterwards(study),
        ]
    if moved := study.head_moved:
        back = [action for action in next_actions(phase) if action.startswith(("wait", "cancel", "discard", "history"))]
        return [f"Nothing new is started: {moved}", *back]
    if phase is Phase.RUNNING:
        return [*next_actions(phase), *_afterwards(study)]
    if why := limits.why_study_over(study):
        others = [action for action in next_actions(phase) if not action.startswith("run_experiment")]
        return [f"No run is started: {why}. {limits.what_is_left(study)}", *others]
    return _with_baseline(study, phase)


def _afterwards(study: Study) -> list[str]:
    """What an agent should know while it waits: that nothing comes after this."""
    why = limits.why_study_over(study)
    return [f"afterwards nothing new is started: {why}. {limits.what_is_left(study)}"] if why else []


def _with_baseline(study: Study, phase: Phase) -> list[str]:
    actions, incumbent, task = next_actions(phase), study.ledger.incumbent(), study.program().task
    if phase is Phase.IDLE and (alarm := audit_failures.alarm(study.ledger)):
        return [*(action for action in actions if not action.startswith("run_experiment")), alarm]
    last = study.ledger.last()
    if last and last.result and last.result.outcome is Outcome.ENV_FAIL:
        actions = {Phase.BASELINE_FAILED: [actions[0], _DOCTOR], Phase.FAILED: [*actions, _DOCTOR]}.get(phase, actions)
    if phase is not Phase.IDLE or incumbent is None or not incumbent.attempt.baseline or task.keep_rule == "any":
        return actions
    done, wanted = comparisons.incumbent_value(study.ledger, incumbent)[1], task.baseline_runs
    if done >= wanted:
        return actions
    again = f"run_experiment(description): measures the baseline again ({done} of {wanted} runs: they tell the noise)"
    return [again, *actions[:-1]]
