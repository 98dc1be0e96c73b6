"""The legal next calls, as an agent reads them with every answer."""

from server import curfew, evidence
from server.phase import Phase, next_actions
from server.session import Session


def next_calls(session: Session) -> list[str]:
    """What may be called now; first the baseline's repeats, as many as program.md asks for."""
    phase = session.phase()
    if session.queue.active:
        return [
            "wait_experiment(): waits for the sweep; there is nothing else to do",
            "cancel_experiment(reason): ends the sweep",
            *_afterwards(session),
        ]
    if moved := session.head_moved:
        back = [action for action in next_actions(phase) if action.startswith(("wait", "cancel", "discard", "history"))]
        return [f"Nothing new is started: {moved}", *back]
    if phase is Phase.RUNNING:
        return [*next_actions(phase), *_afterwards(session)]
    if why := curfew.ended(session):
        others = [action for action in next_actions(phase) if not action.startswith("run_experiment")]
        return [f"No run is started: {why}. {curfew.advice(session)}", *others]
    return _with_baseline(session, phase)


def _afterwards(session: Session) -> list[str]:
    """What an agent should know while it waits: that nothing comes after this."""
    why = curfew.ended(session)
    return [f"afterwards nothing new is started: {why}. {curfew.advice(session)}"] if why else []


def _with_baseline(session: Session, phase: Phase) -> list[str]:
    actions, incumbent, task = next_actions(phase), session.ledger.incumbent(), session.program().task
    if phase is not Phase.IDLE or incumbent is None or not incumbent.attempt.baseline or task.keep_rule == "any":
        return actions
    done, wanted = evidence.value(session.ledger, incumbent)[1], task.baseline_runs
    if done >= wanted:
        return actions
    again = f"run_experiment(description): measures the baseline again ({done} of {wanted} runs: they tell the noise)"
    return [again, *actions[:-1]]
