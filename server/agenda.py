"""The legal next calls, as an agent reads them with every answer."""

from server import curfew, evidence
from server.phase import Phase, next_actions
from server.session import Session


def next_calls(session: Session) -> list[str]:
    """What may be called now; first the baseline's repeats, as many as program.md asks for."""
    if session.queue.active:
        return [
            "wait_experiment(): waits for the sweep; there is nothing else to do",
            "cancel_experiment(reason): ends the sweep",
        ]
    phase = session.phase()
    if moved := session.head_moved:
        back = [action for action in next_actions(phase) if action.startswith(("wait", "cancel", "discard", "history"))]
        return [f"Nothing new is started: {moved}", *back]
    if phase is not Phase.RUNNING and (why := curfew.ended(session)):
        others = [action for action in next_actions(phase) if not action.startswith("run_experiment")]
        return [f"No run is started: {why}. {curfew.advice(session)}", *others]
    actions, incumbent, task = next_actions(phase), session.ledger.incumbent(), session.program().task
    if phase is not Phase.IDLE or incumbent is None or not incumbent.attempt.baseline or task.keep_rule == "any":
        return actions
    done, wanted = evidence.value(session.ledger, incumbent)[1], task.baseline_runs
    if done >= wanted:
        return actions
    again = f"run_experiment(description): measures the baseline again ({done} of {wanted} runs: they tell the noise)"
    return [again, *actions[:-1]]
