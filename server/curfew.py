"""Whether the night goes on: program.md's limits, and the operator's word."""

import shutil
from pathlib import Path

from server import evidence
from server.errors import NightOver
from server.experiment import Verdict
from server.hours import spent
from server.ledger import Ledger
from server.limits import Facts, Limits
from server.phase import Phase
from server.session import Session
from server.word import Word, heard

SAID = {
    Word.STOP: "the operator has stopped the night",
    Word.PAUSE: "the operator has paused the night",
}


def over(state: Path, limits: Limits, ledger: Ledger) -> str:
    """Why nothing new may be started; empty while the night goes on. What was better once may still be confirmed."""
    word = heard(state)
    if word is not None:
        return SAID[word]
    known, measured = facts(state, ledger), ledger.measured()
    confirming = measured and measured.decision is None and measured.verdict == Verdict.PROMISING
    return limits.full(known) or ("" if confirming else limits.reached(known))


def ended(session: Session) -> str:
    """`over`, for this session's night."""
    return over(session.workspace.state, session.program().task.stop, session.ledger)


def rests(session: Session) -> str:
    """Why nothing is started just now, in a night that goes on by itself: it is paused, or the disk is full."""
    if heard(session.workspace.state) is Word.PAUSE:
        return SAID[Word.PAUSE]
    return session.program().task.stop.full(facts(session.workspace.state, session.ledger))


def paused(session: Session) -> bool:
    """Whether the operator has paused a night in which nothing runs."""
    return session.phase() is not Phase.RUNNING and heard(session.workspace.state) is Word.PAUSE


def require_open(session: Session) -> None:
    """Refuse to start a run. Raises NightOver."""
    if why := ended(session):
        raise NightOver(f"No run is started: {why}.", advice(session))


def advice(session: Session) -> str:
    """What is left to do in a night that is over, or rests."""
    if heard(session.workspace.state) is Word.PAUSE:
        return "Wait for the operator's `autoresearch resume` with wait_experiment(); keep and discard work."
    return "Tell the user what was found, and end; keep and discard still work."


def facts(state: Path, ledger: Ledger) -> Facts:
    """How far the night has come."""
    incumbent = ledger.incumbent()
    return Facts(
        hours=spent(state),
        experiments=evidence.experiments(ledger),
        value=evidence.value(ledger, incumbent)[0] if incumbent else None,
        since_keep=evidence.since_keep(ledger, incumbent),
        free_gb=shutil.disk_usage(state).free / 1e9,
    )
