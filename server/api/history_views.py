"""From the ledger to the replies of `history`: the table, one experiment in depth, the lessons."""

from contextlib import suppress
from datetime import datetime
from itertools import accumulate
from typing import TypeVar

from server.api.next_actions import next_sentences
from server.api.schemas import (
    Detail,
    HistoryReply,
    LibraryReply,
    NoteReply,
    Running,
    RunReply,
    StatusReply,
    SweepReply,
    SweepRow,
)
from server.errors import UnknownExperiment, UnknownVerdict
from server.foreign.load import reported
from server.foreign.reported import TRUST, best_first
from server.history import segments
from server.history.lessons import lessons
from server.history.segments import current_metric
from server.library.reading.answers import Asked, ReferenceLibrary
from server.records import Experiment, Judgement, Value, Verdict, decision_name
from server.reporting.position import Position, position
from server.reporting.summary import table_row, who_found_what
from server.reporting.view_words import headline_words
from server.source import patch
from server.study import limits
from server.study.lane import Lane
from server.study.study import Study
from server.study.sweep_queue import Sweep, SweepItem
from server.text import ANSWER, clip, fence_output, first_lines, shorten

_DECISIONS = ("kept", "discarded", "revoked")
_KNOWN = (*map(str, Verdict), "queued", "running", *_DECISIONS)
_LOG_BYTES = 4096
_BEST_REPORTED = 5  # rows of another tool's log among the lessons
_LAST_REPORTED = 10
_CURVE_POINTS = 60
_IDLE_MINUTES = 2.0
_Row = TypeVar("_Row", bound=Value)


def list_experiments(study: Study, limit: int, offset: int, verdict: str) -> HistoryReply:
    """The compact table; `verdict` may also be a decision, or `reported`. Raises UnknownVerdict."""
    last = study.settle()
    if (verdict == TRUST or not (last or verdict)) and (listed := _list_reported(study, limit, offset)):
        return listed
    if verdict and verdict not in _KNOWN:
        raise UnknownVerdict(f"There is no verdict {verdict!r}.", f"Known are {', '.join(_KNOWN)}.")
    if verdict in _DECISIONS:
        found = [made for made in study.ledger.all() if decision_name(made) == verdict][::-1]
        total, page = len(found), found[offset : offset + limit]
    else:
        total = study.ledger.counts().get(verdict, 0) if verdict else (last.number if last else 0)
        page = study.ledger.page(limit, offset, verdict)
    stand = where_it_stands(study)
    kept = stand.kept if stand else {}
    rows = _fitting([table_row(experiment, kept.get(experiment.number)) for experiment in page])
    known = stand.headline if stand else None
    return HistoryReply(
        next_actions=next_sentences(study),
        unit=unit_of(study),
        total=total,
        headline=headline_words(study.program().task.measure, known) if known else "",
        rows=rows,
    )


def where_it_stands(study: Study) -> Position | None:
    """Headline, noise and keeps, as page and report tell them; None while program.md asks for another measurement."""
    task = study.program().task
    if segments.current_task(study.ledger) != task.sha256:
        return None
    with suppress(OSError):
        return position(study.ledger, task.measure)
    return None


def _list_reported(study: Study, limit: int, offset: int) -> HistoryReply | None:
    """What another tool's log reports, newest first: attempts that nothing here has measured or counts.

    None where there is no log.
    """
    log = reported(study.workspace.root, study.program().task)
    if not log.file:
        return None
    rows = _fitting(log.rows[::-1][offset : offset + limit])
    told = [*next_sentences(study), *filter(None, [log.unread])]
    return HistoryReply(next_actions=told, unit=unit_of(study), total=len(log.rows), rows=[], reported=rows)


def unit_of(study: Study) -> str:
    """The unit of the last runs' scores; empty for a language model, whose metric says it all."""
    metric = current_metric(study.ledger, study.program().task)
    return metric.unit if metric.places is None else ""


def lessons_reply(study: Study) -> HistoryReply:
    """The lessons of the history."""
    study.settle()
    task = study.program().task
    metric = current_metric(study.ledger, task)
    found, log = lessons(study.ledger, metric), reported(study.workspace.root, task)
    reply = HistoryReply(next_actions=next_sentences(study), total=found.attempts, rows=[], lessons=found)
    if agents := who_found_what(study.ledger.all(of_agents=True)):
        reply = reply.model_copy(update={"agents": agents})
    if not log.rows:
        return reply
    best = best_first(log.rows, lambda value: -metric.sign * value)[:_BEST_REPORTED]
    recent = [row for row in log.rows[: -_LAST_REPORTED - 1 : -1] if row not in best]
    return reply.model_copy(update={"reported": _fitting([*best, *recent])})


def write_note(study: Study, text: str, idea: bool, closes: int, source: str = "") -> NoteReply:
    """Store a note, or close the idea `closes`; legal at any time. Raises UnknownNote."""
    book, last, source = study.notebook, study.ledger.last(), " ".join(source.split())
    note = book.close(closes, text, source) if closes else book.add(text, idea, last.number if last else 0, source)
    ideas = sum(other.open for other in book.notes)
    return NoteReply(next_actions=next_sentences(study), note=note, open_ideas=ideas)


def read_library(study: Study, library: ReferenceLibrary, asked: Asked) -> LibraryReply:
    """A part of the reference library. Raises UnknownDocument, LibraryUnavailable."""
    found = library.answer(asked)
    return LibraryReply(
        next_actions=[*found.calls, *next_sentences(study)],
        documents=found.documents,
        text=found.text,
        next_offset=found.next_offset,
    )


def list_notes(study: Study, limit: int, offset: int) -> HistoryReply:
    """The notes, newest first."""
    study.settle()
    written = study.notebook.notes[::-1]
    notes = _fitting(written[offset : offset + limit])
    return HistoryReply(next_actions=next_sentences(study), total=len(written), rows=[], notes=notes)


def _fitting(rows: list[_Row]) -> list[_Row]:
    """As many rows as clients show completely; `total` and `offset` lead to the others."""
    sizes = accumulate(len(row.model_dump_json()) for row in rows)
    return rows[: max(sum(size <= ANSWER for size in sizes), 1)]


def show_experiment(study: Study, number: int) -> HistoryReply:
    """One experiment in depth. Raises UnknownExperiment."""
    study.settle()
    found = study.ledger.get(number)
    if found is None:
        raise unknown_experiment(study, number)
    folder = study.runs.of(number)
    before, after = study.workspace.files(found.attempt.parent), study.workspace.files(found.commit)
    detail = Detail(
        record=found,
        diff=first_lines(patch.diff(before, after), f"git show {found.commit}"),
        curve=folder.curve(_CURVE_POINTS),
        log_tail=fence_output(folder.log_tail(_LOG_BYTES), number),
    )
    return HistoryReply(next_actions=next_sentences(study), total=1, rows=[table_row(found)], detail=detail)


def require_known(study: Study, number: int) -> None:
    """Refuse a number that no experiment has; 0 names none. Raises UnknownExperiment."""
    if number and study.ledger.get(number) is None:
        raise unknown_experiment(study, number)


def unknown_experiment(study: Study, number: int | str) -> UnknownExperiment:
    """The refusal for an unknown number of an experiment, or for text that is not a number."""
    last = study.ledger.last()
    numbers = f"Experiments are numbered 1 to {last.number}" if last else "There is none yet"
    return UnknownExperiment(f"There is no experiment {clip(str(number), 20)}.", f"{numbers}: history() lists them.")


_STATUS_BYTES = 4096  # bytes of status, as text
_LINE_BYTES = (64, 52, 40, 28, 20, 14)


def fit_status(reply: StatusReply) -> StatusReply:
    """The snapshot, with lists cut to fit: its other parts grow with limits, verdicts and the machine."""
    for most in _LINE_BYTES:
        if len(reply.model_dump_json(indent=2).encode()) < _STATUS_BYTES:
            break
        reply = reply.model_copy(update={"memory": reply.memory.cut(most), **(_said_once(reply) if most < 40 else {})})
    return reply


def _said_once(reply: StatusReply) -> dict[str, object]:
    """Without what the snapshot says twice: incumbent and baseline tell the headline as well."""
    return {"headline": "", "head_moved": "The branch was moved: next_actions says where." if reply.head_moved else ""}


def sweep_reply(study: Study) -> SweepReply | None:
    """The last sweep, if nothing else was started since."""
    sweep = study.queue.sweep
    last = study.ledger.measured(sweep.lane) if sweep else None
    if sweep is None or (sweep.ended and last and last.number > max(_sweep_numbers(sweep), default=last.number)):
        return None
    return SweepReply(
        description=sweep.description,
        ended=sweep.ended,
        left=sum(item.experiment is None and not item.skipped for item in sweep.items),
        rows=[_sweep_row(item, study.ledger.get(item.experiment) if item.experiment else None) for item in sweep.items],
    )


def _sweep_numbers(sweep: Sweep) -> list[int]:
    return [item.experiment for item in sweep.items if item.experiment is not None]


def _sweep_row(item: SweepItem, experiment: Experiment | None) -> SweepRow:
    return SweepRow(knobs=item.knobs, skipped=item.skipped, experiment=table_row(experiment) if experiment else None)


def idle_words(study: Study, now: datetime) -> str:
    """Since when no run has been under way; empty while one is, shortly after the last, and while none may start."""
    last = study.ledger.last()
    if last is None or last.result is None or study.ledger.unfinished():
        return ""
    if limits.why_study_over(study) or limits.why_waiting(study):
        return ""
    minutes = (now - datetime.fromisoformat(last.result.finished_at)).total_seconds() / 60
    if minutes < _IDLE_MINUTES:
        return ""
    told = f"No run has been under way for {minutes:.0f} minutes."
    return f"{told} Prepare the next candidate in a second lane while one is measured."


def under_way(study: Study, lane: Lane) -> Running | None:
    """The lane's run, else the first of any other lane."""
    rows = [row for row in study.ledger.unfinished() if not row.queued]
    rows.sort(key=lambda row: study.lanes.of(row) is not lane)
    return describe_running(study, rows[0]) if rows else None


def why_so(run: Experiment, subject: Experiment, own: Judgement) -> str:
    """The reason of `subject`'s verdict, behind why a run that should have helped to it has no score.

    Args:
        own: the run's judgement, where the subject has none.
    """
    why = (subject.judgement or own).why
    if run is subject or run.score or run.result is None:
        return why
    return f"Run {run.number}: {run.result.reason.rstrip('.')}. {why}"


def describe_running(study: Study, experiment: Experiment) -> Running:
    """The stage of a run, and how long it may still take."""
    progress, budget = study.executor.handle(experiment.number).progress(), experiment.attempt.budget_seconds
    before = dict.fromkeys(("starting", "preflight", "setup"), budget)
    left = {**before, "training": budget - progress.elapsed_seconds}.get(progress.stage, 0)
    if experiment.attempt.task is not None:  # build and checks have limits of their own
        left = (progress.limit_seconds or budget) - progress.elapsed_seconds
    pace = progress.pace if progress.stage == "training" and experiment.attempt.task is None else None
    return Running(
        experiment=experiment.number,
        description=shorten(experiment.attempt.description),
        stage=progress.stage,
        elapsed_seconds=progress.elapsed_seconds,
        remaining_seconds=round(max(left, 0.0) / (pace or 1.0), 1),
        pace=pace,
        steps=progress.steps,
        loss=progress.loss,
        compiler=progress.compiler,
        gpu_strangers=progress.gpu_strangers,
        node_name=progress.node_name,
    )


def show_progress(study: Study, reply: RunReply) -> RunReply:
    """The same answer about a run that is under way still, with how far it is by now."""
    row = study.ledger.get(reply.experiment) if reply.running else None
    return reply.model_copy(update={"running": describe_running(study, row)}) if row else reply


def progress_in_words(reply: RunReply) -> str:
    """One line for a person: "step 812, loss 3.41, 241/300 s"."""
    if reply.status == "queued":
        return f"queued, place {reply.place}"
    running, left = reply.running, f", {reply.sweep.left} left in the sweep" if reply.sweep else ""
    return (_stage(running) if running else "deciding") + left


def _stage(running: Running) -> str:
    if running.stage != "training":
        return f"{running.stage}, {running.elapsed_seconds:.0f} s{', eager: no compiler' if running.compiler else ''}"
    step, loss = f"step {running.steps or 0}", "" if running.loss is None else f", loss {running.loss:.2f}"
    budget = running.elapsed_seconds + running.remaining_seconds * (running.pace or 1.0)
    return f"{step}{loss}, {running.elapsed_seconds:.0f}/{budget:.0f} s"
