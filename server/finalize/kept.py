"""What a study has kept, as a branch is made of it: rows, effects, texts, and which changes lie on one line."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from server.errors import Unavailable
from server.finalize.effect import Effect, together
from server.finalize.line_merge import chains
from server.finalize.messages import Facts, Measured
from server.history.ledger import Ledger
from server.paths import StudyPaths
from server.records import Experiment
from server.reporting.study_view import StudyView
from server.reporting.view_model import Kind
from server.reporting.view_rows import Line, Scale, fold, lines
from server.reporting.view_summary import scale_of
from server.vcs.stack import Change, Stack


@dataclass(frozen=True)
class Kept:
    """The kept changes of a study, oldest first."""

    paths: StudyPaths
    facts: Facts
    base: str  # commit that the study began with
    rows: list[Experiment]
    effects: dict[int, Effect]
    changes: dict[int, Change]
    groups: list[list[int]]  # those that lie on one line together

    def row(self, number: int) -> Experiment:
        return next(row for row in self.rows if row.number == number)

    def together(self, group: Sequence[int]) -> Effect:
        return together(self.effects[number] for number in group)

    def measured(self, group: Sequence[int]) -> list[Measured]:
        return [Measured(self.row(number), self.effects[number]) for number in group]


def read(paths: StudyPaths, stack: Stack) -> Kept:
    """The kept changes, their effects, and which lie on one line. Raises Unavailable: nothing was kept."""
    with closing(StudyView(paths)) as view:
        every, metric = view.material()
    with closing(Ledger(paths.ledger, read_only=True)) as ledger, ledger.one_call():
        scale = scale_of(ledger, metric)
    kept = [line for line in lines(fold(every), scale) if line.kind is Kind.KEPT and not line.row.attempt.baseline]
    if not kept:
        raise Unavailable(
            f"Nothing was kept in {paths.tag} except the baseline.", "So there is nothing to put on a branch."
        )
    rows = [line.row for line in kept]
    effects = {line.row.number: _effect(line, scale) for line in kept}
    changes = {row.number: stack.changed(row.attempt.parent, row.commit) for row in rows}
    groups = chains(changes.items())
    return Kept(paths, Facts(metric, paths.tag), rows[0].attempt.parent, rows, effects, changes, groups)


def _effect(line: Line, scale: Scale) -> Effect:
    if line.change is None or not scale.comparable(line.row):
        return Effect(gain=None)
    return Effect(
        gain=scale.gain(line.change),
        error=line.error,
        confirmations=line.confirmations,
        sigma=scale.sigma,
        standing=line.standing,
    )
