"""A study as it lies on disk, for whoever only looks: beside a server that works, after it, or without one.

It takes no lock and changes nothing. Rows that cannot change any more are read once.
"""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from pydantic import TypeAdapter

from server.errors import ProgramInvalid, WorkspaceUnusable
from server.foreign.load import load
from server.history import audit_failures, revocations
from server.history.chain import Mark
from server.history.export import settled_before
from server.history.ledger import Ledger
from server.history.notes import Note
from server.locks import lock_holder, lock_path
from server.metric import Metric
from server.paths import StudyPaths
from server.records import Experiment
from server.reporting.bill import bill_view
from server.reporting.hidden_split import hidden_of
from server.reporting.position import Position, position
from server.reporting.view_detail import LOG_BYTES, Detail, Evidence, detail
from server.reporting.view_model import (
    Bill,
    Health,
    Hidden,
    Lane,
    Limit,
    MetricView,
    NoteView,
    Now,
    StudyHead,
    StudyState,
    Summary,
)
from server.reporting.view_rows import fold, seconds_between
from server.reporting.view_summary import (
    Surroundings,
    empty_summary,
    lanes_of,
    now_view,
    scale_of,
    summarize,
)
from server.runs.run_folder import RunFolders
from server.study import limits
from server.study.background import STALE_SECONDS, seconds_since_heartbeat
from server.study.find_study import OperatorRequest, read_request
from server.study.git_repair import lost
from server.study.lane import LANE
from server.study.ledger_rebuild import edited
from server.task.definition import Task
from server.task.policy import StudyFacts
from server.vcs.objects import commit_diff
from trainer.contract import utc_now

_CURVE = 300  # points that are read
_NOTES = TypeAdapter(list[Note])
_PAST = 40  # runs that tell how long one takes


@dataclass(frozen=True)
class Told:
    """What others know of a study, whom a reader of its files cannot ask."""

    hidden: Hidden | None = None
    agent: str = ""
    bill: Bill | None = None


class StudyView:
    """A reader of one study. One thread at a time."""

    def __init__(self, paths: StudyPaths) -> None:
        """Look at a study whose folder may not be there yet."""
        self.paths, self.root = paths, paths.home.root
        self.runs = RunFolders(paths.runs)
        self._ledger: Ledger | None = None
        self._rows: dict[int, Experiment] = {}
        self._restored: list[int] = []
        self._fresh = False  # the ledger was opened anew since the last summary
        self._final = 0  # rows before this number are final, but for revocations

    def close(self) -> None:
        """Let go of the ledger's file."""
        if self._ledger:
            self._ledger.close()
        self._ledger = None

    def changed(self) -> bool:
        """Whether rows were written since the last summary, or the ledger is another file. Raises LedgerUnavailable."""
        if self._ledger is None:
            return self.paths.ledger.exists()
        return self._fresh or self._ledger.gone or self._ledger.foreign

    def summary(self, told: Told | None = None) -> Summary:
        """The study as it is now. Raises LedgerUnavailable: its ledger cannot be read at this moment."""
        told, ledger = told or Told(), self._open()
        if ledger is None:
            return self._nothing(told)
        with ledger.one_call():
            rows, task = self._read(ledger), self._task()
            metric = self._metric(task, rows)
            at_work = self.under_way()
            around = Surroundings(
                head=self._head(ledger, rows, task, metric),
                health=self._health(ledger, rows),
                now=at_work[-1] if at_work else None,
                lanes=self.lanes(at_work),
                notes=self._notes(),
                limits=self._limits(ledger, task, metric),
                hidden=told.hidden or hidden_of(self.paths, rows, scale_of(ledger, metric)),
                agent=told.agent,
                bill=told.bill or bill_view(self.paths),
            )
            found = summarize(ledger, rows, metric, around).model_copy(update={"quiet": self.quiet()})
        self._fresh = False
        return found

    def quiet(self) -> float:
        """Seconds since the last run that was read ended, or began; 0 where there is none, or a clock was set back."""
        last = next(reversed(self._rows.values()), None)
        return seconds_between(_end(last), utc_now()) if last else 0.0

    def material(self) -> tuple[list[Experiment], Metric]:
        """Every row, and what the last one measured. Raises LedgerUnavailable."""
        ledger = self._open()
        rows = self._read(ledger) if ledger else []
        return rows, self._metric(self._task(), rows)

    def position(self) -> Position | None:
        """Where the study stands; None while nothing was run. Raises LedgerUnavailable, OSError."""
        rows, metric = self.material()
        return position(self._ledger, metric) if self._ledger and rows else None

    def pulse(self) -> tuple[StudyHead, list[Now]] | None:
        """What changes while a run goes on, without a look at rows; None before the first summary."""
        if (ledger := self._ledger) is None:
            return None
        rows, task = list(self._rows.values()), self._task()
        with ledger.one_call():
            return self._head(ledger, rows, task, self._metric(task, rows)), self.under_way()

    def under_way(self) -> list[Now]:
        """The runs under way, the oldest first."""
        if not (found := self._running()):
            return []
        past = list(self._rows.values())[-_PAST:]
        incumbent = next((row for row in reversed(self._rows.values()) if row.kept), None)
        other = self.runs.of(incumbent.number).curve(_CURVE) if incumbent else []
        folders = ((row, self.runs.of(row.number)) for row in found)
        return [now_view(row, folder.progress(), past, (folder.curve(_CURVE), other)) for row, folder in folders]

    def lanes(self, at_work: Sequence[Now]) -> list[Lane]:
        """The lanes of the rows that were read, and of the runs under way."""
        folder = self.paths.lanes
        found = (path.parent.name for path in folder.glob("*/worktree")) if folder.is_dir() else ()
        return lanes_of(list(self._rows.values()), at_work, {name for name in found if LANE.fullmatch(name)})

    def now(self) -> Now | None:
        """The run under way, of several the one that began last; None while there is none."""
        return next(reversed(self.under_way()), None)

    def _running(self) -> list[Experiment]:
        last = list(self._rows.values())[-_PAST:]
        return [row for row in last if row.running and not row.queued and not self.runs.of(row.number).over()]

    def detail(self, number: int) -> Detail | None:
        """An experiment in depth, a repeated run as the experiment that it repeats; None: there is none.

        Raises:
            LedgerUnavailable.
        """
        if (ledger := self._open()) is None:
            return None
        rows = self._read(ledger)
        row = self._rows.get(number)
        if row is not None and row.attempt.of is not None:
            row = self._rows.get(row.attempt.of)
        if row is None:
            return None
        with ledger.one_call():
            against = row.judgement.incumbent if row.judgement else None
            incumbent = ledger.incumbent()
            other = against or (incumbent.number if incumbent and incumbent.number != row.number else None)
            evidence = Evidence(
                diff=self._diff(row),
                log=self.runs.of(row.number).log_tail(LOG_BYTES),
                curve=self.runs.of(row.number).curve(_CURVE),
                against_curve=self.runs.of(other).curve(_CURVE) if other else [],
                features=ledger.features(row.number),
                category=ledger.category_of().get(row.number, ""),
            )
            return detail(fold(rows), row, scale_of(ledger, self._metric(self._task(), rows)), evidence)

    def _open(self) -> Ledger | None:
        """The ledger as it is now; None before there is one. Raises LedgerUnavailable."""
        if self._ledger is not None and not self._ledger.gone and not self._ledger.foreign:
            return self._ledger
        if not self.paths.ledger.exists():
            self.close()
            self._rows, self._final = {}, 0
            return None
        fresh = Ledger(self.paths.ledger, read_only=True)
        another = self._ledger is None or self._ledger.gone
        self.close()
        self._ledger, self._fresh = fresh, True
        if another:
            self._rows, self._final = {}, 0
        return fresh

    def _read(self, ledger: Ledger) -> list[Experiment]:
        """Every row, the oldest first. Read again is what may have changed: what is not final, revoked or put back."""
        restored, revoked = ledger.marked(Mark.RESTORED), {row.number: row for row in ledger.revoked()}
        if restored != self._restored:
            self._final, self._restored = 0, restored
        rows = {number: revoked.get(number, row) for number, row in self._rows.items() if number < self._final}
        rows |= {row.number: row for row in ledger.all(after=max(rows, default=0))}
        told = list(rows.values())
        self._rows, self._final = rows, settled_before(told, ledger.measured())
        return told

    def _nothing(self, told: Told) -> Summary:
        """The summary of a study in which nothing was measured yet."""
        task = self._task()
        server, pulse = self._server()
        asked = read_request(self.paths.state)
        head = StudyHead(
            tag=self.paths.tag,
            task=task.name if task else "",
            metric=MetricView.of((task or Task()).measure),
            branch=f"autoresearch/{self.paths.tag}",
            profile="",
            dataset="",
            budget=task.budget_seconds if task else None,
            started="",
            elapsed=0.0,
            state=StudyState.EMPTY if server != "off" else StudyState.OFF,
            asked=asked.value if asked else "",
        )
        health = Health(server=server, pulse=pulse, disk_gb=_free_gb(self.root))
        return empty_summary(Surroundings(head=head, health=health, notes=self._notes(), agent=told.agent))

    def _task(self) -> Task | None:
        """program.md's definition; None where it cannot be read."""
        with suppress(ProgramInvalid):
            return load(self.root / "program.md", self.paths.state).task
        return None

    def _metric(self, task: Task | None, rows: Sequence[Experiment]) -> Metric:
        """What the last run measured: program.md's metric if that is its definition still, else what the run tells."""
        last = rows[-1] if rows else None
        if last is None or (task is not None and task.sha256 == last.attempt.task):
            return (task or Task()).measure
        if last.attempt.task is None:
            return Task().measure
        scored = next(
            (row.score for row in reversed(rows) if row.score and row.attempt.task == last.attempt.task), None
        )
        found = self.runs.of(last.number).spec().get("task")
        told = cast("dict[str, object]", found) if isinstance(found, dict) else {}
        name = str(told.get("metric") or (scored.name if scored else "score"))
        unit = str(told.get("unit") or (scored.unit if scored else ""))
        direction: Literal["lower", "higher"] = "higher" if told.get("direction") == "higher" else "lower"
        return Metric(name, direction, unit, "log" if told.get("scale") == "log" else "linear", places=None)

    def _head(self, ledger: Ledger, rows: Sequence[Experiment], task: Task | None, metric: Metric) -> StudyHead:
        first, last = (rows[0].attempt, rows[-1]) if rows else (None, None)
        state, why = self._state(ledger, last, task)
        asked = read_request(self.paths.state)
        return StudyHead(
            tag=self.paths.tag,
            task=task.name if task else "",
            metric=MetricView.of(metric),
            branch=f"autoresearch/{self.paths.tag}",
            profile=last.attempt.profile if last else "",
            dataset=last.attempt.dataset if last else "",
            budget=last.attempt.budget_seconds if last else None,
            started=first.started_at if first else "",
            elapsed=seconds_between(first.started_at, _end(last)) if first and last else 0.0,
            state=state,
            asked=asked.value if asked else "",
            why=why,
        )

    def _state(self, ledger: Ledger, last: Experiment | None, task: Task | None) -> tuple[StudyState, str]:
        if self._running():
            return StudyState.RUNNING, ""
        if (asked := read_request(self.paths.state)) is not None:
            paused = asked is OperatorRequest.PAUSE
            return StudyState.PAUSED if paused else StudyState.STOPPED, limits.REQUEST_REASONS[asked]
        if task and last and (why := limits.why_over(self.paths.state, task, ledger)):
            return StudyState.OVER, why
        server, pulse = self._server()
        if server == "hangs":
            return StudyState.HANGS, f"its server has not reported for {(pulse or 0) / 60:.0f} min"
        if server == "off":
            return StudyState.OFF, "no server is running; the next one continues the study"
        return (StudyState.IDLE, "") if last else (StudyState.EMPTY, "")

    def _server(self) -> tuple[str, float | None]:
        """Whether this study's server works, and the seconds since its last sign of life."""
        try:
            served, lock = lock_holder(self.root), lock_path(self.root)
        except OSError:
            return "off", None
        if served is None or served.tag != self.paths.tag:
            return "off", None
        quiet = seconds_since_heartbeat(self.paths.state, lock)
        return "hangs" if quiet > STALE_SECONDS else "on", round(max(quiet, 0.0), 1)

    def _health(self, ledger: Ledger, rows: Sequence[Experiment]) -> Health:
        server, pulse = self._server()
        ended = [row for row in rows if row.result]
        last = next((row for row in reversed(ended) if row.result and row.result.guards), None)
        scored = next((row for row in reversed(ended) if row.score), None)
        figures = scored.result.figures if scored and scored.result else None
        heat = f", {figures.gpu_celsius} °C" if figures and figures.gpu_celsius else ""
        problems = [audit_failures.message(ledger), *revocations.messages(ledger).values(), edited(ledger)]
        return Health(
            server=server,
            pulse=pulse,
            guards=last.result.guards if last and last.result else {},
            trust=scored.trust if scored else "",
            device=f"{figures.device}{heat}" if figures and figures.device else "",
            disk_gb=_free_gb(self.paths.state),
            disturbed=sum(bool(row.disturbance) for row in ended),
            problems=[told for told in (*problems, lost(self.paths.state)) if told],
        )

    def _notes(self) -> list[NoteView]:
        """What the agent wrote down; nothing where the file is damaged: a server sets it aside, a reader does not."""
        try:
            notes = _NOTES.validate_json(self.paths.notes.read_bytes())
        except (OSError, ValueError):
            return []
        return [
            NoteView(number=n.number, after=n.after, idea=n.idea, open=n.open, text=n.cited, outcome=n.outcome)
            for n in notes
        ]

    def _limits(self, ledger: Ledger, task: Task | None, metric: Metric) -> list[Limit]:
        if task is None:
            return []
        with suppress(OSError):
            return _limits_of(task, limits.study_facts(self.paths.state, ledger, task), metric)
        return []

    def _diff(self, row: Experiment) -> str:
        if row.attempt.baseline:
            return ""
        try:
            return commit_diff(self.root, row.attempt.parent, row.commit)
        except WorkspaceUnusable as error:
            return f"{error.problem}\n"


def _end(row: Experiment) -> str:
    """When a run ended, or, if it has not, when it began."""
    return row.result.finished_at if row.result else row.attempt.started_at


def _limits_of(task: Task, facts: StudyFacts, metric: Metric) -> list[Limit]:
    stop, found = task.stop, list[Limit]()
    ways = (("hours", facts.hours, stop.hours), ("experiments", facts.experiments, stop.experiments))
    for name, used, of in (*ways, ("experiments without a keep", facts.since_keep, stop.plateau)):
        if of is not None:
            told = f"{used:.1f} of {of:g}" if isinstance(used, float) else f"{used} of {of}"
            found.append(Limit(name=name, used=used, of=of, share=min(used / of, 1.0), told=told))
    if stop.target is not None:
        value = "nothing" if facts.value is None else metric.number(facts.value, 4)
        told = f"{value} on the way to {stop.target:g}"
        found.append(Limit(name=f"target {metric.name}", used=facts.value, of=stop.target, share=None, told=told))
    return found


def _free_gb(folder: Path) -> float | None:
    try:
        return round(shutil.disk_usage(folder).free / 1e9, 1)
    except OSError:
        return None
