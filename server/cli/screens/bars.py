"""Bars for what takes longer than two seconds: what runs, how long it has taken, and what is left.

They are drawn on a terminal alone: a file gets the lines that it got without them.
"""

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, contextmanager, suppress

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from server.paths import StudyPaths
from server.reporting.bill import time_in_words
from server.reporting.study_view import StudyView
from server.reporting.view_model import Summary
from server.text import printable

_LOOK_SECONDS = 5.0  # between two looks at the files of a study
_BAR = 12  # columns
_AFTER = 12.0  # seconds of a run beside its training, before one has told it


class RunBar:
    """The bar of a known number of runs, one after the other, whose lines tell where each is."""

    def __init__(self, out: Console, total: int, seconds: float) -> None:
        """`seconds`: of training a run."""
        self._total, self._usual = total, seconds + _AFTER
        self._begun = self._run_begun = time.monotonic()
        self._run, self._done = "", -1
        self._bars = Progress(
            *_columns(MofNCompleteColumn()), console=out, expand=True, transient=True, disable=not _draws(out)
        )
        self._bar = self._bars.add_task("starting", total=total, left="")

    def __enter__(self) -> "RunBar":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def tell(self, line: str) -> None:
        """Show a line: the name of a run, a colon, and where that is."""
        now, run = time.monotonic(), line.partition(": ")[0]
        if run != self._run:
            self._run, self._done, self._run_begun = run, self._done + 1, now
            if self._done:
                self._usual = (now - self._begun) / self._done
        share = min((now - self._run_begun) / self._usual, 0.95) if self._usual else 0.0
        done = min(self._done + share, self._total)
        left = time_in_words(max(self._total - done, 0.0) * self._usual)
        self._bars.update(self._bar, description=printable(line), completed=round(done, 2), left=f"about {left} left")


@contextmanager
def one_run(out: Console, what: str, usual: float) -> Generator[Callable[[str], None]]:
    """The bar of one run, which is told where the run is. `usual`: seconds that a run takes."""
    with Progress(*_columns(), console=out, expand=True, transient=True, disable=not _draws(out)) as bars:
        bar, begun = bars.add_task(what, total=1.0, left=""), time.monotonic()

        def tell(line: str) -> None:
            passed = time.monotonic() - begun
            left = f"{line}, about {time_in_words(max(usual - passed, 0.0))} left"
            bars.update(bar, completed=min(passed / usual, 0.97), left=printable(left))

        yield tell


@contextmanager
def waiting(out: Console, what: str) -> Generator[None]:
    """A bar without a measure, around what is of unknown length."""
    if not _draws(out):
        yield
        return
    with Progress(*_columns(), console=out, expand=True, transient=True) as bars:
        bars.add_task(what, total=None, left="")
        yield


@contextmanager
def driving(out: Console, paths: StudyPaths, hours: float, experiments: int) -> Generator[None]:
    """The bar of a study that is driven: the run under way, the experiments so far, and what is left of its limits.

    Args:
        hours, experiments: after which it ends; 0: never.
    """
    if not _draws(out):
        yield
        return
    with _StudyBar(out, paths, hours, experiments):
        yield


class _StudyBar(Progress):
    """Looks at the study's files now and then, in the thread that draws."""

    def __init__(self, out: Console, paths: StudyPaths, hours: float, experiments: int) -> None:
        self._paths, self._hours, self._most = paths, hours, experiments
        self._begun, self._looked = time.monotonic(), 0.0
        self._before: int | None = None
        self._bar: TaskID | None = None
        super().__init__(*_columns(), console=out, expand=True, refresh_per_second=1)
        self._bar = self.add_task("starting the client", total=None, left="")

    def get_renderables(self) -> Iterable[RenderableType]:
        """What is drawn; before it, the look that it needs."""
        if self._bar is not None and time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._looked = time.monotonic()
            with suppress(Exception):  # files that are being written: no bar ends a study, and what is shown stays
                self._look(self._bar)
        yield from super().get_renderables()

    def _look(self, bar: TaskID) -> None:
        with closing(StudyView(self._paths)) as view:
            told = view.summary()
        if self._before is None:
            self._before = told.counts.experiments
        passed, done = (time.monotonic() - self._begun) / 3600, told.counts.experiments - self._before
        limits: list[tuple[float, str]] = []  # how far it is on the way to each, and what is left
        if self._hours > 0:
            limits.append((passed / self._hours, time_in_words(max(3600 * (self._hours - passed), 0.0))))
        if self._most > 0:
            limits.append((done / self._most, f"{max(self._most - done, 0)} to do"))
        share, left = max(limits, default=(0.0, ""))
        kept = f"{done} done, {told.counts.kept} kept"
        self.update(
            bar,
            description=printable(_now(told)),
            total=1.0 if limits else None,
            completed=min(share, 1.0),
            left=f"{kept}, {left} left" if limits else kept,
        )


def _now(told: Summary) -> str:
    if told.now is None:
        return f"{told.study.state.value}: the agent is thinking" if told.study.state == "idle" else told.study.state
    return f"#{told.now.of or told.now.number} {told.now.stage}: {told.now.description}"


def _draws(out: Console) -> bool:
    """Whether a bar can be drawn there, and drawn over."""
    return out.is_terminal and not out.is_dumb_terminal


def _columns(*more: ProgressColumn) -> list[ProgressColumn]:
    """What runs, in the room that the others leave, a bar, how long it has taken, and what is left."""
    flexible = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    what = TextColumn("{task.description}", markup=False, table_column=flexible)
    return [what, BarColumn(_BAR), *more, TimeElapsedColumn(), TextColumn("{task.fields[left]}", markup=False)]
