"""A list of constants to try, run by the server through the same referee and the same rule as any idea."""

from contextlib import suppress

from server import curfew
from server.errors import (
    AutoresearchError,
    DatasetMissing,
    HeadMoved,
    PatchRefused,
    Refusal,
    RunnerUnavailable,
    Unavailable,
    WrongPhase,
)
from server.experiment import Experiment, Verdict
from server.knob import turn
from server.phase import Phase, next_actions
from server.queue import Item, Sweep
from server.replies import SweepReply, SweepRow, row
from server.session import Session

_TRIES = 3  # runs in a row that could not even be started: each leaves a row


def begin(session: Session, description: str, changes: list[dict[str, str]]) -> None:
    """Queue the changes, each on the incumbent of its moment. Raises Refusal; then nothing is queued."""
    require_free(session)
    curfew.require_open(session)
    phase = session.phase()
    if phase is not Phase.IDLE:
        raise WrongPhase(f"A sweep starts from the incumbent, and the phase is {phase}.", next_actions(phase)[0])
    for change in changes:
        _text(session, change)
    session.queue.begin(Sweep(description=description, items=[Item(knobs=change) for change in changes]))
    with suppress(Unavailable, OSError):  # the sweep is under way, and says what it waits for
        step(session)


def step(session: Session) -> None:
    """Make the next move of the sweep under way, if it is time for one. May be called as often as one likes.

    Raises:
        AutoresearchError, OSError: it could not be made; the next call tries again, unless the sweep has ended.
    """
    sweep = session.queue.active
    if sweep is None:
        return
    session.queue.waits = ""
    try:
        _move(session, sweep)
    except (AutoresearchError, OSError) as error:
        session.queue.waits = error.problem if isinstance(error, AutoresearchError) else f"{error}."
        if _final(session, error):
            session.queue.end(session.queue.waits)
        raise


def require_free(session: Session) -> None:
    """Refuse an agent's move while the server moves. Raises WrongPhase."""
    sweep = session.queue.active
    if sweep is not None:
        done = sum(item.experiment is not None or bool(item.skipped) for item in sweep.items)
        raise WrongPhase(
            f"A sweep is under way, change {done} of {len(sweep.items)}: the server decides until it is over.",
            "Call wait_experiment() until then, or cancel_experiment(reason).",
        )


def summary(session: Session) -> SweepReply | None:
    """The last sweep, if nothing else was started since."""
    sweep, last = session.queue.sweep, session.ledger.measured()
    if sweep is None or (sweep.ended and last and last.number > max(_numbers(sweep), default=last.number)):
        return None
    return SweepReply(
        description=sweep.description,
        ended=sweep.ended,
        left=sum(item.experiment is None and not item.skipped for item in sweep.items),
        rows=[_row(item, session.ledger.get(item.experiment) if item.experiment else None) for item in sweep.items],
    )


def _move(session: Session, sweep: Sweep) -> None:
    phase = session.phase()
    if phase in (Phase.PROMISING, Phase.IDLE) and (why := curfew.ended(session)):
        _stop(session, why)
    elif phase is Phase.PROMISING:
        session.run(f"{sweep.description}: confirmation")
    elif phase is Phase.IMPROVED:
        session.keep(sweep.description)
    elif phase in (Phase.WORSE, Phase.FAILED):
        session.discard(sweep.description)
    elif phase is Phase.PATCHED:  # a server ended between the text and its run
        session.discard(sweep.description)
    elif phase is Phase.IDLE:
        _next(session, sweep)


def _stop(session: Session, why: str) -> None:
    """End the sweep, or let it wait for what may pass."""
    if resting := curfew.rests(session):
        session.queue.waits = f"Nothing is started: {resting}."
    else:
        session.queue.end(why)


def _final(session: Session, error: Exception) -> bool:
    """Whether waiting helps nothing: a full disk, or a GPU that is held, may be free again before the morning."""
    if isinstance(error, RunnerUnavailable) and not isinstance(error, DatasetMissing):
        return all(row.verdict == Verdict.ENV_FAIL for row in session.ledger.page(_TRIES, 0))
    return isinstance(error, Refusal | HeadMoved | DatasetMissing)


def _next(session: Session, sweep: Sweep) -> None:
    if (index := sweep.next) is None:
        session.queue.end("done")
        return
    item = sweep.items[index]
    told = ", ".join(f"{name} = {value}" for name, value in item.knobs.items())
    try:
        text = _text(session, item.knobs)
        if text == session.incumbent_text():
            raise PatchRefused("The incumbent has these values.", "Go on with the next.")
        session.replace(text)
        run = session.run(f"{sweep.description}: {told}")
    except Refusal as refused:
        if session.phase() is Phase.PATCHED:
            session.discard(refused.problem)
        session.queue.settle(index, item.model_copy(update={"skipped": refused.problem}))
        return
    session.queue.settle(index, item.model_copy(update={"experiment": run.number}))


def _text(session: Session, knobs: dict[str, str]) -> str:
    text = session.incumbent_text()
    for name, value in knobs.items():
        text = turn(text, name, value)
    return text


def _numbers(sweep: Sweep) -> list[int]:
    return [item.experiment for item in sweep.items if item.experiment is not None]


def _row(item: Item, experiment: Experiment | None) -> SweepRow:
    return SweepRow(knobs=item.knobs, skipped=item.skipped, experiment=row(experiment) if experiment else None)
