"""The lanes of a study, in a few words each, and the runs in them that somebody waits for."""

from server.api.lanes.caller import UNNAMED, Caller
from server.history.comparisons import incumbent_value
from server.records import Experiment, Outcome
from server.study.lane import Lane
from server.study.phase import JUDGED, Phase
from server.study.study import Study

_ITS_MOVE = (*JUDGED, Phase.FAILED, Phase.INVALID)


def describe_lanes(study: Study, caller: Caller) -> dict[str, str]:
    """Where each lane stands, by its name; empty while there is main alone."""
    places, lanes = [row.number for row in study.slots.waiting()], study.lanes.all()
    if len(lanes) == 1 and not caller.agent:
        return {}
    found: dict[str, str] = {}
    for lane in lanes:
        run = lane.run()
        told = [f"{lane.phase()}{f', experiment {run.number}' if run else ''}"]
        if run and run.number in places:
            told.append(f"place {places.index(run.number) + 1}")
        if run and run.attempt.agent:
            told.append(f"by {run.attempt.agent}")
        found[lane.id] = ", ".join(told)
    if caller.agent:
        found[caller.home] = f"{found.get(caller.home, Phase.IDLE)}; shared by all clients of this name"
    return found


def place_of(study: Study, experiment: Experiment) -> dict[str, object]:
    """What an answer says of a run that waits."""
    place = [row.number for row in study.slots.waiting()].index(experiment.number) + 1
    held = f" No run starts now: {study.slots.held.rstrip('.')}." if study.slots.held else ""
    return {"place": place, "why": f"It waits for a slot, at place {place} in the queue.{held}"}


def now_as(study: Study, row: Experiment) -> Experiment:
    """The row that a run goes on in: another one where it waited while the incumbent moved, and was brought to that."""
    ended = row.result
    if ended is None or ended.outcome is not Outcome.REFUSED or row.attempt.queued_at is None or row.attempt.slot:
        return row
    what = row.attempt.lane, row.attempt.description, row.attempt.hypothesis
    for later in study.ledger.all(after=row.number):
        made = later.attempt
        same = (made.lane, made.description, made.hypothesis) == what and made.parent != row.attempt.parent
        if same and (made.queued_at or made.started_at) <= ended.finished_at:  # begun before the row was ended
            return now_as(study, later)
    return row


def describe_stale_lane(study: Study, lane: Lane) -> str:
    """That a lane's comparison decides nothing any more: a sentence, with a blank before it; empty if it does."""
    incumbent = study.ledger.incumbent()
    if incumbent is None or lane.phase() is not Phase.STALE:
        return ""
    task, run = study.program().task, lane.run()
    value, _ = incumbent_value(study.ledger, incumbent, task)
    score = run.score if run and run.attempt.task == task.sha256 else None
    better = ""
    # What is measured in pairs drifts with the machine: only the pairs can be compared.
    if value is not None and score and "pairs" not in score.details and not task.measure.problem(score.value):
        if task.measure.gain(score.value, value) <= 0:
            better = f", whose {task.measure.shown(value)} is not worse than this run's score"
    return (
        f" The incumbent is now experiment {incumbent.number}{better}: run_experiment() applies the change to it and "
        "measures it again."
    )


def owns(study: Study, caller: Caller, lane: Lane) -> bool:
    """Whether the lane is this client's: what another one has asked for last is not."""
    run = lane.run()
    if run is None:
        return lane.id == caller.home or not caller.agent or lane.id.startswith(f"{caller.agent[:18]}-")
    return lane.id == caller.home or (run.attempt.agent or "") == caller.agent


def to_watch(study: Study, caller: Caller = UNNAMED) -> set[int]:
    """The runs of a client to wait for, where any will do; where it has none, those of all.

    What has ended and waits for the client's move comes first.
    """
    study.settle()
    own = [lane for lane in study.lanes.all() if owns(study, caller, lane)]
    ended = {run.number for lane in own if lane.phase() in _ITS_MOVE and (run := lane.run())}
    rows = study.ledger.unfinished()
    under_way = {row.number for row in rows if study.lanes.of(row) in own}
    return ended or under_way or {row.number for row in rows}
