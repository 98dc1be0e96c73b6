"""A sweep: a list of constants that the server tries by itself, under the same rule as any idea."""

from contextlib import suppress

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
from server.records import MAIN, Purpose, Verdict
from server.source.candidate import Candidate
from server.study import limits
from server.study.phase import Phase, next_actions
from server.study.study import Study
from server.study.sweep_queue import Sweep

_TRIES = 3  # runs in a row that could not even be started: each leaves a row


def begin(study: Study, wanted: Sweep) -> None:
    """Queue a sweep. Raises Refusal; then nothing is queued."""
    require_none(study)
    lane = wanted.lane
    limits.require_open(study, lane)
    phase = study.phase(lane)
    if phase is not Phase.IDLE:
        raise WrongPhase(f"A sweep starts from the incumbent, but the phase is {phase}.", _instead(study, phase, lane))
    base = _base(study, wanted)
    for item in wanted.items:
        base.with_constants(item.knobs)
    study.lanes.make_room(lane, wanted.agent)
    study.queue.begin(wanted)
    with suppress(Unavailable, OSError):  # the sweep is under way, and says what it waits for
        step(study)


def _instead(study: Study, phase: Phase, lane: str) -> str:
    """What to do instead of a sweep in a lane."""
    usual = next_actions(phase, study.words())[0].sentence()
    tried = study.lanes.at(lane).measured() if phase is Phase.PROMISING else None
    if tried is None:
        return usual
    return f"{usual}. Or call sweep with experiment={tried.number} in another lane: it varies this candidate."


def _base(study: Study, sweep: Sweep) -> Candidate:
    """What the constants are set in. Raises PatchRefused: the change of `around` conflicts with the incumbent."""
    incumbent = study.incumbent()
    return study.lanes.at(sweep.lane).with_change(incumbent, sweep.around) if sweep.around else incumbent


def step(study: Study) -> None:
    """Make the next move of the sweep under way, if it is time for one. May be called as often as one likes.

    Raises:
        AutoresearchError, OSError: it could not be made; the next call tries again, unless the sweep has ended.
    """
    sweep = study.queue.active
    if sweep is None:
        return
    study.queue.waits = ""
    try:
        _move(study, sweep)
    except (AutoresearchError, OSError) as error:
        study.queue.waits = error.problem if isinstance(error, AutoresearchError) else f"{error}."
        if _final(study, error):
            study.queue.end(study.queue.waits)
        raise


def require_free(study: Study, lane: str = MAIN) -> None:
    """Refuse an agent's move in a lane in which the server moves. Raises WrongPhase."""
    if study.queue.active and study.queue.active.lane == lane:
        require_none(study)


def require_none(study: Study) -> None:
    """Refuse a sweep beside another. Raises WrongPhase."""
    sweep = study.queue.active
    if sweep is not None:
        done = sum(item.experiment is not None or bool(item.skipped) for item in sweep.items)
        raise WrongPhase(
            f"A sweep is running, change {done} of {len(sweep.items)}: until it ends, the server decides.",
            "Call wait_experiment() until it ends, or cancel_experiment(reason).",
        )


def _move(study: Study, sweep: Sweep) -> None:
    _follow(study, sweep)
    phase, lane = study.phase(sweep.lane), sweep.lane
    if phase in (Phase.PROMISING, Phase.IDLE) and (why := limits.why_study_over(study, lane)):
        _stop(study, why)
    elif phase is Phase.PROMISING and (why := _no_gain(study, sweep)):
        study.discard(why, lane)
    elif phase is Phase.PROMISING:
        study.run(f"{sweep.description}: confirmation", lane=lane, agent=sweep.agent)
    elif phase is Phase.STALE:
        _measure_anew(study, sweep)
    elif phase is Phase.IMPROVED:
        study.keep(sweep.description, lane)
    elif phase in (Phase.WORSE, Phase.FAILED, Phase.INVALID, Phase.PATCHED):
        study.discard(sweep.description, lane)  # patched: a server ended between the text and its run
    elif phase is Phase.IDLE:
        _next(study, sweep)


def _no_gain(study: Study, sweep: Sweep) -> str:
    """Why no confirmation is spent on the change just measured: it is no better than the candidate that it varies."""
    tried, varied = study.lanes.at(sweep.lane).measured(), study.ledger.get(sweep.around)
    if not (tried and varied and tried.score and varied.score) or study.ledger.repeats(tried.number, Purpose.CONFIRM):
        return ""
    metric = study.program().task.measure
    if tried.attempt.task != varied.attempt.task or metric.gain(tried.score.value, varied.score.value) > 0:
        return ""
    return f"No better than the first score of experiment {varied.number}, which it varies."


def _follow(study: Study, sweep: Sweep) -> None:
    """Name the last change by the run that it goes on as, where another lane has moved the incumbent meanwhile."""
    begun = [index for index, item in enumerate(sweep.items) if item.experiment is not None]
    root = study.lanes.at(sweep.lane).measured()
    if not begun or root is None:
        return
    item = sweep.items[begun[-1]]
    known = study.ledger.get(item.experiment or 0)
    if known is None or root.number <= known.number:
        return
    # Any other row is of the next change: a server was killed before it could write that down.
    if root.attempt.description in (known.attempt.description, _anew(sweep)):
        study.queue.settle(begun[-1], item.model_copy(update={"experiment": root.number}))


def _anew(sweep: Sweep) -> str:
    return f"{sweep.description}: on the current incumbent"


def _measure_anew(study: Study, sweep: Sweep) -> None:
    """Another lane has moved the incumbent: the change is brought to it, or given up where it conflicts."""
    try:
        study.run(_anew(sweep), lane=sweep.lane, agent=sweep.agent)
    except Refusal as refused:
        study.discard(refused.problem, sweep.lane)


def _stop(study: Study, why: str) -> None:
    """End the sweep, or let it wait for what may pass."""
    if resting := limits.why_waiting(study):
        study.queue.waits = f"No run starts: {resting}."
    else:
        study.queue.end(why)


def _final(study: Study, error: Exception) -> bool:
    """Whether waiting helps nothing: a full disk, or a GPU that is held, may be free again before the morning."""
    if isinstance(error, RunnerUnavailable) and not isinstance(error, DatasetMissing):
        return all(row.verdict == Verdict.ENV_FAIL for row in study.ledger.page(_TRIES, 0))
    return isinstance(error, Refusal | HeadMoved | DatasetMissing)


def _next(study: Study, sweep: Sweep) -> None:
    if (index := sweep.next) is None:
        study.queue.end("done")
        return
    item = sweep.items[index]
    told = ", ".join(f"{name} = {value}" for name, value in item.knobs.items())
    try:
        candidate = _base(study, sweep).with_constants(item.knobs)
        if candidate == study.incumbent():
            raise PatchRefused("The incumbent already has these values.", "Leave this change out.")
        study.replace(candidate, study.lanes.at(sweep.lane))
        run = study.run(f"{sweep.description}: {told}", sweep.hypothesis, sweep.lane, sweep.agent)
    except Refusal as refused:
        if study.phase(sweep.lane) in (Phase.PATCHED, Phase.INVALID):
            study.discard(refused.problem, sweep.lane)
        study.queue.settle(index, item.model_copy(update={"skipped": refused.problem}))
        return
    study.queue.settle(index, item.model_copy(update={"experiment": run.number}))
