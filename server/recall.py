"""From the ledger to the replies of `history`: the table, one experiment in depth, the lessons."""

from server import patch
from server.agenda import next_calls
from server.errors import UnknownExperiment, UnknownVerdict
from server.experiment import Verdict
from server.fence import fence
from server.lessons import lessons
from server.replies import Detail, HistoryReply, NoteReply, decision, row
from server.session import Session

_DECISIONS = ("kept", "discarded")
_KNOWN = (*map(str, Verdict), "running", *_DECISIONS)
_LOG_BYTES = 4096
_CURVE_POINTS = 60


def history(session: Session, limit: int, offset: int, verdict: str) -> HistoryReply:
    """The compact table; `verdict` may also be a decision. Raises UnknownVerdict."""
    last = session.settle()
    if verdict and verdict not in _KNOWN:
        raise UnknownVerdict(f"There is no verdict {verdict!r}.", f"Known are {', '.join(_KNOWN)}.")
    if verdict in _DECISIONS:
        found = [made for made in session.ledger.all() if decision(made) == verdict][::-1]
        total, page = len(found), found[offset : offset + limit]
    else:
        total = session.ledger.counts().get(verdict, 0) if verdict else (last.number if last else 0)
        page = session.ledger.page(limit, offset, verdict)
    return HistoryReply(next_actions=next_calls(session), total=total, rows=[row(experiment) for experiment in page])


def learnt(session: Session) -> HistoryReply:
    """What the history can teach."""
    session.settle()
    found = lessons(session.ledger)
    return HistoryReply(next_actions=next_calls(session), total=found.attempts, rows=[], lessons=found)


def noted(session: Session, text: str, idea: bool, closes: int) -> NoteReply:
    """Write a note down, or strike idea `closes`: legal at any time. Raises UnknownNote."""
    book, last = session.notebook, session.ledger.last()
    note = book.close(closes, text) if closes else book.add(text, idea, last.number if last else 0)
    ideas = sum(other.open for other in book.notes)
    return NoteReply(next_actions=next_calls(session), note=note, open_ideas=ideas)


def notes(session: Session, limit: int, offset: int) -> HistoryReply:
    """What was written down, newest first."""
    session.settle()
    written = session.notebook.notes[::-1]
    return HistoryReply(
        next_actions=next_calls(session), total=len(written), rows=[], notes=written[offset : offset + limit]
    )


def experiment(session: Session, number: int) -> HistoryReply:
    """One experiment in depth. Raises UnknownExperiment."""
    session.settle()
    found = session.ledger.get(number)
    if found is None:
        raise unknown(session, number)
    before, after = session.workspace.text(found.attempt.parent), session.workspace.text(found.commit)
    detail = Detail(
        record=found,
        diff=patch.diff(before, after, session.workspace.file),
        curve=session.runner.curve(number, _CURVE_POINTS),
        log_tail=fence(session.runner.log_tail(number, _LOG_BYTES), number),
    )
    return HistoryReply(next_actions=next_calls(session), total=1, rows=[row(found)], detail=detail)


def unknown(session: Session, number: int) -> UnknownExperiment:
    """The refusal for a number that no experiment has."""
    last = session.ledger.last()
    numbers = f"Experiments are numbered 1 to {last.number}" if last else "There is none yet"
    return UnknownExperiment(f"There is no experiment {number}.", f"{numbers}: history() lists them.")
