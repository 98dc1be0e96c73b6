"""The tools' answers, from the state of the study."""

import math
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

from server.api import history_views
from server.api.history_views import describe_running, fit_status, sweep_reply, under_way
from server.api.lanes.caller import UNNAMED, Caller, require_lane, require_name
from server.api.lanes.lane_states import describe_lanes, describe_stale_lane, now_as, place_of
from server.api.next_actions import next_calls, next_sentences, sentences
from server.api.schemas import (
    DecisionReply,
    NoiseReply,
    PatchReply,
    Reply,
    RunReply,
    StatusReply,
    TextReply,
)
from server.errors import PatchRefused
from server.foreign.load import reported
from server.foreign.reported import describe_row, tried_before
from server.history import audit_failures, comparisons, revocations
from server.history.comparisons import FigureComparison, compare_figures
from server.history.lessons import study_memory
from server.history.segments import current_metric
from server.history.similar_attempts import nearest
from server.library.reading.document_files import count
from server.records import MAIN, Experiment, Purpose, decision_name
from server.reporting.bill import bill_in_words
from server.reporting.position import Position
from server.reporting.summary import IncumbentSummary, bits, incumbent_summary
from server.reporting.view_model import Counts
from server.reporting.view_words import headline_words
from server.runs.boundary import boundary
from server.runs.profile_choice import why_no_gpu
from server.source.candidate import Candidate, sha256
from server.source.editable import nearest as nearest_path
from server.source.hunks import split_lines
from server.study import limits, sweep
from server.study.git_repair import lost
from server.study.ledger_rebuild import edited
from server.study.phase import UNFINISHED, Move, Phase, require
from server.study.study import Study
from server.study.sweep_queue import Sweep
from server.task.definition import Task
from server.task.task_words import referee_in_words, words_of
from server.text import ANSWER, clip, fence_output, first_lines, shorten

_WAIT_FOR_TASK = "It is {1}, for {0:.0f} s more at most. {2}"
_WAIT = "About {0:.0f} s of training remain, then the evaluation. {2}"
_MOVING = (Move.APPLY_PATCH, Move.RUN_EXPERIMENT, Move.KEEP, Move.DISCARD)
_KNOWN = 2000  # characters of a change that was shown before, when it was tried first
_NOTHING_ELSE = "There is nothing else to do: call wait_experiment()."
_MEANWHILE = "Meanwhile go on in another lane, as next_actions says; then call wait_experiment()."


def status(study: Study, caller: Caller = UNNAMED) -> StatusReply:
    """The snapshot."""
    last, incumbent, lane = study.settle(), study.ledger.incumbent(), study.lanes.at(caller.lane)
    task, counts, baseline = study.program().task, study.ledger.counts(), _baseline(study)
    calls, stand = next_calls(study, caller), history_views.where_it_stands(study)
    reply = StatusReply(
        next_actions=sentences(calls),
        next_tools=[action.tool for action in calls if action.tool],
        task=shorten(task.name),
        metric=task.measure.name,
        direction=task.measure.direction,
        unit=task.measure.unit if task.measure.places is None else "",
        referee=referee_in_words(task),
        each_run=words_of(task).run if task.measure.places is None else "",
        editable_file=", ".join(task.editable),
        budget_seconds=study.budget_seconds(),
        tag=study.workspace.tag,
        branch=study.workspace.branch,
        phase=lane.phase(),
        lane="" if lane.id == MAIN else lane.id,
        lanes=describe_lanes(study, caller) or None,
        experiments=comparisons.count_experiments(study.ledger),
        counts=counts,
        audit_failures=len(study.ledger.failed()),
        audits=" ".join(filter(None, (audit_failures.message(study.ledger), revocations.last_message(study.ledger)))),
        incumbent=_standing(study),
        baseline_bits=bits(baseline, baseline.score.value) if baseline and baseline.score else None,
        baseline=baseline.score.value if baseline and baseline.score else None,
        headline=headline_words(task.measure, stand.headline) if stand and stand.headline else "",
        keeps=_keeps(stand.counts) if stand else None,
        noise=_noise(stand, task) if incumbent and stand else None,
        running=under_way(study, lane),
        idle=history_views.idle_words(study, datetime.now(UTC)),
        limits=task.stop.progress(limits.study_facts(study.workspace.state, study.ledger, task), task.measure),
        over=limits.why_study_over(study),
        bill=bill_in_words(study.workspace.paths),
        head_moved=study.head_moved,
        lost=lost(study.workspace.state),
        edited=edited(study.ledger),
        boundary=boundary(study.workspace.root).word,
        profile=study.profile,
        dataset="" if task.sha256 else str(study.dataset),
        **_of_last_run(last),
        device=why_no_gpu(study.hardware),
        library=count(study.workspace.paths.home.library),
        memory=study_memory(study.ledger, study.notebook, current_metric(study.ledger, task)),
        environment=study.hardware,
        program=shorten(study.program().gist),
        program_sha256=study.program().sha256,
        candidate_sha256=lane.candidate_sha256(),
    )
    return fit_status(reply)


def _of_last_run(last: Experiment | None) -> dict[str, Any]:
    """What the last run has shown of the machine."""
    result = last.result if last else None
    return {"guards": result.guards if result else {}, "compiler": (result.figures.compiler if result else None) or ""}


def read_program(study: Study, start_line: int, end_line: int) -> TextReply:
    """Lines of program.md as it is now; `end_line` 0 is the last."""
    return _numbered(study, study.program().text, start_line, end_line, "read_program(")


def read_train(
    study: Study,
    start_line: int,
    end_line: int,
    path: str = "",
    caller: Caller = UNNAMED,
) -> TextReply:
    """Lines of a file of the candidate; `end_line` 0 is the last. Without a path, a list if there are several.

    Raises PatchRefused: there is no such file.
    """
    require_name(caller)
    study.settle()
    lane = study.lanes.at(caller.lane)
    files = lane.candidate()
    if not path and len(files) > 1:
        first = f'read_train(path="{next(iter(files))}"): the lines of one file; any of these paths'
        reply = _numbered(study, _listing(files), start_line, end_line, "read_train(", first)
        return reply.model_copy(update={"sha256": files.sha256})
    name = path.removeprefix("./") or next(iter(files))
    if name not in files:
        step = f"The editable files are {study.workspace.editable}. Read other files in {study.workspace.worktree}."
        raise PatchRefused(f"There is no {clip(name)} in the candidate. {nearest_path(name, files.keys())}", step)
    call = f'read_train(path="{name}", ' if path else "read_train("
    reply = _numbered(study, files[name], start_line, end_line, call)
    return reply.model_copy(update={"lines_left": study.workspace.editable.lines_left(files[name])})


def candidate_text(study: Study) -> str:
    """The candidate's one file, or the list of its files."""
    files = study.lane.candidate()
    return files.text if len(files) == 1 else _listing(files) + "\n"


def _listing(files: Candidate) -> str:
    """One line for each file: its path, lines, bytes, and the start of its sha256."""
    rows = [(path, len(split_lines(text)), len(text.encode()), sha256(text)[:12]) for path, text in files.items()]
    return "\n".join(f"{path}  {lines} lines  {size} bytes  {hashed}" for path, lines, size, hashed in rows)


def apply_patch(
    study: Study,
    text: str,
    base_sha256: str,
    number: int,
    caller: Caller = UNNAMED,
) -> PatchReply:
    """Apply a patch, or the change of an earlier attempt, in a lane, which this opens. Raises Refusal."""
    require_name(caller)
    sweep.require_free(study, caller.lane)
    if bool(text) == bool(number):
        raise PatchRefused(
            "Nothing was changed.", "Give either a patch, or the number of an experiment whose change to apply."
        )
    history_views.require_known(study, number)
    before, after, diff, _ = study.apply_patch(text, base_sha256, number, caller.lane, caller.agent)
    told = f"+{_count(diff, '+')} -{_count(diff, '-')} lines against the incumbent." + _tried_elsewhere(study, diff)
    note = (
        told + audit_failures.known(study.ledger, after)
        if diff
        else "The candidate is identical to the incumbent again."
    )
    return PatchReply(
        next_actions=next_sentences(study, caller),
        diff=first_lines(diff, f"read_train() has {_told(after)} as it is", _KNOWN if number else ANSWER),
        sha256=after.sha256,
        lines=sum(len(text.splitlines()) for text in after.values()),
        lines_left=study.workspace.editable.lines_left(*after.values()),
        note=note,
        similar=nearest(study.ledger, after.changed_from(before)) if diff else [],
    )


def _tried_elsewhere(study: Study, diff: str) -> str:
    """What another tool's log reports in words like those that are changed: a sentence, with a blank before it."""
    task = study.program().task
    log = reported(study.workspace.root, task)
    changed = "\n".join(line[1:] for line in diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---"))
    found = [describe_row(row, task.metric.unit) for row in tried_before(log, changed)]
    return f" Perhaps tried before, according to {log.file}: {'; '.join(found)}." if found else ""


def _told(candidate: Candidate) -> str:
    return next(iter(candidate)) if len(candidate) == 1 else "each file"


def start_run(study: Study, description: str, hypothesis: str, caller: Caller = UNNAMED, source: str = "") -> RunReply:
    """Start a run, or queue it."""
    require_lane(study, caller)
    sweep.require_free(study, caller.lane)
    limits.require_open(study, caller.lane)
    return _run(study, study.run(description, hypothesis, caller.lane, caller.agent, source), caller)


def start_sweep(study: Study, wanted: Sweep, caller: Caller = UNNAMED) -> RunReply:
    """Start a sweep in the caller's lane, which this opens."""
    require_name(caller)
    history_views.require_known(study, wanted.around)
    sweep.begin(study, wanted.model_copy(update={"lane": study.lanes.at(caller.lane).id, "agent": caller.agent}))
    return show_run(study, caller=caller)


def show_run(study: Study, number: int = 0, caller: Caller = UNNAMED) -> RunReply:
    """A run, whether queued, running or over; 0 is the last run of the lane. Raises WrongPhase if there is none.

    A queued run that another keep overtook is shown as the run that continues it.
    """
    study.settle()
    found = study.ledger.get(number) if number else None
    row = now_as(study, found) if found else None
    lane = study.lanes.of(row) if row else study.lanes.at(caller.lane)
    row = row or lane.run() or study.ledger.incumbent()
    require(lane.phase() if row is None else Phase.IDLE, Move.WAIT_EXPERIMENT, words=study.words())
    assert row is not None
    return _run(study, row, caller._replace(lane=lane.id))


def show_first(study: Study, watched: set[int], caller: Caller) -> RunReply:
    """The first of the watched runs that has ended; if none has, or none is watched, the run of the lane."""
    study.settle()
    rows = [now_as(study, row) for row in map(study.ledger.get, sorted(watched)) if row]
    if rows := [row for row in rows if row.result]:
        return show_run(study, min(rows, key=lambda row: row.result.finished_at if row.result else "").number, caller)
    return show_run(study, min(watched, default=0), caller)


def cancel(study: Study, reason: str, caller: Caller = UNNAMED) -> Reply:
    """Request the end of the lane's run."""
    require_lane(study, caller)
    swept = study.queue.active if study.queue.active and study.queue.active.lane == caller.lane else None
    if swept is None or study.phase(caller.lane) in UNFINISHED:
        study.cancel(_by(study, reason, caller), caller.lane)
    if swept:
        study.queue.end(f"cancelled: {reason}")
    return Reply(next_actions=next_sentences(study, caller))


def _by(study: Study, reason: str, caller: Caller) -> str:
    """The reason, with the client that ends what another has asked for."""
    run = study.lanes.at(caller.lane).run()
    return f"{reason} (by {caller.agent})" if caller.agent and run and run.attempt.agent != caller.agent else reason


def keep(study: Study, reason: str, caller: Caller = UNNAMED) -> DecisionReply:
    """Keep the lane's candidate."""
    require_lane(study, caller)
    sweep.require_free(study, caller.lane)
    return _decided(study, study.keep(reason, caller.lane, caller.agent), caller)


def discard(study: Study, reason: str, caller: Caller = UNNAMED) -> DecisionReply:
    """Discard the lane's candidate."""
    require_lane(study, caller)
    sweep.require_free(study, caller.lane)
    return _decided(study, study.discard(reason, caller.lane, caller.agent), caller)


def _baseline(study: Study) -> Experiment | None:
    """Of the measurement that program.md asks for: another task's score is another number."""
    first = study.ledger.baseline()
    return first if first and first.attempt.task == study.program().task.sha256 else None


def _standing(study: Study) -> IncumbentSummary | None:
    incumbent = study.ledger.incumbent()
    if incumbent is None:
        return None
    return incumbent_summary(incumbent, *comparisons.incumbent_value(study.ledger, incumbent, study.program().task))


def _keeps(counts: Counts) -> dict[str, int]:
    return {"sure": counts.sure, "noise": counts.noise, "provisional": counts.provisional}


def _noise(stand: Position, task: Task) -> NoiseReply | None:
    """None where the incumbent was not measured by this task yet."""
    found, metric = stand.noise, task.measure
    if found is None or stand.headline is None:
        return None
    source = "" if task.sha256 else " from published runs"
    assumed = "measured" if found.repeats else f"assumed{source}, not measured here"
    runs = stand.headline.best.runs
    now, after = (metric.shown_error(found.sigma / math.sqrt(max(count, 1))) for count in (runs, runs + 1))
    known = f"is known to ±{now}" if runs else "was not run since its keep"
    note = f"{assumed}; the incumbent {known}, and is known to ±{after} after one more run"
    return NoiseReply(sigma=found.sigma, repeats=found.repeats, smallest_effect=found.smallest, note=note)


def _count(diff: str, sign: str) -> int:
    return sum(line.startswith(sign) and not line.startswith(sign * 3) for line in diff.splitlines())


def _numbered(study: Study, text: str, start_line: int, end_line: int, call: str, *first_calls: str) -> TextReply:
    """Lines with their numbers, as many as clients show whole; then the next calls begin with the one that reads on."""
    lines = [line.text for line in split_lines(text)]
    first = min(max(start_line, 1), max(len(lines), 1))
    last = min(end_line or len(lines), len(lines))
    numbered = [clip(f"{number:>4}  {line}", ANSWER) for number, line in enumerate(lines[first - 1 : last], first)]
    fitting = sum(size <= ANSWER for size in accumulate(len(line) + 1 for line in numbered))
    numbered = numbered[: max(fitting, 1)]
    further = [f"{call}start_line={first + len(numbered)}): the next part"] if first + len(numbered) <= last else []
    last = min(last, first + len(numbered) - 1)
    return TextReply(
        next_actions=[*first_calls, *further, *next_sentences(study)],
        text="\n".join(numbered),
        sha256=sha256(text),
        lines=len(lines),
        first_line=first,
        last_line=last,
    )


def _run(study: Study, experiment: Experiment, caller: Caller) -> RunReply:
    lane, swept = study.lanes.of(experiment), study.queue.active
    calls = next_calls(study, caller)
    running = RunReply(
        next_actions=sentences(calls),
        status="queued" if experiment.queued else "running",
        experiment=experiment.number,
        lane=experiment.attempt.lane or "",
        description=experiment.attempt.description,
        sweep=sweep_reply(study),
    )
    result, judgement = experiment.result, experiment.judgement
    if swept and swept.lane == lane.id and result is not None:
        return running.model_copy(update={"why": study.queue.waits or None})  # between two runs of the sweep
    if experiment.queued:
        return running.model_copy(update=place_of(study, experiment))
    if result is None or judgement is None:
        now = describe_running(study, experiment)
        told = _WAIT_FOR_TASK if experiment.attempt.task is not None else _WAIT
        more = any(action.tool in _MOVING for action in calls)
        left = told.format(now.remaining_seconds, now.stage, _MEANWHILE if more else _NOTHING_ELSE)
        return running.model_copy(update={"running": now, "why": left})
    # A run that confirms a candidate, or the incumbent beside it, is answered with what it made of the candidate.
    root = lane.measured()
    open_ = lane.phase() not in (Phase.IDLE, Phase.PATCHED)  # else the candidate was left for another text
    helps = open_ and root is not None and experiment.attempt.of is not None and root.number <= experiment.number
    subject = root if root and helps and root.judgement and root.decision is None else experiment
    over = {
        "status": result.outcome.value,
        "verdict": subject.verdict,
        "why": history_views.why_so(experiment, subject, judgement) + describe_stale_lane(study, lane),
        "bits": bits(experiment, experiment.score.value) if experiment.score else None,
        "value": experiment.score.value if experiment.score else None,
        "unit": history_views.unit_of(study),
        "delta": subject.judgement.delta if subject.judgement else None,
        "trust": experiment.trust,
        "figures": result.figures,
        "beside": _beside(study, experiment),
        "cause": result.cause,
        "traceback": fence_output(result.traceback, experiment.number),
    }
    return running.model_copy(update=over)


def _beside(study: Study, experiment: Experiment) -> FigureComparison | None:
    """The run's figures beside the incumbent's, and beside other runs of its own train.py."""
    if experiment.result is None or experiment.result.score is None:
        return None
    root, incumbent = experiment.attempt.of or experiment.number, study.ledger.incumbent()
    runs = [study.ledger.get(root), *(run for kind in Purpose for run in study.ledger.repeats(root, kind))]
    alike = [run.result.figures for run in runs if run and run.result and run.number != experiment.number]
    other = incumbent.result.figures if incumbent and incumbent.result and incumbent.number != root else None
    return compare_figures(experiment.result.figures, other, alike)


def _decided(study: Study, experiment: Experiment | None, caller: Caller) -> DecisionReply:
    return DecisionReply(
        next_actions=next_sentences(study, caller),
        decision=decision_name(experiment) if experiment else "discarded",
        experiment=experiment.number if experiment else None,
        branch=study.workspace.branch,
        incumbent=_standing(study),
    )
