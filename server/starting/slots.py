"""The slots of an executor, as the rows of a study fill them."""

from dataclasses import dataclass
from pathlib import Path

from server.history.ledger import Ledger
from server.records import Experiment
from server.runs.cleanup import left_nothing
from server.runs.executor import Executor, Slot, ending, lasts_of
from server.runs.run_folder import RunFolders
from server.starting.order import in_order
from trainer.contract import RunFile

_RECENT = 8  # rows a slot, among which is the last one of each


@dataclass
class Slots:
    """Which are free, and who waits for one."""

    ledger: Ledger
    executor: Executor
    runs: RunFolders
    results: tuple[Path, ...] = ()  # to come, of the runs that were under way after the last move
    held: str = ""  # why nothing is started that waits, though a slot is free; empty where it is

    def waiting(self) -> list[Experiment]:
        """The runs that wait, the next one first."""
        queued = [row for row in self.ledger.unfinished() if row.queued]
        return in_order(queued, self._started()) if queued else []

    def vacant(self) -> bool:
        """Whether fewer runs are under way than there are slots.

        One more may begin before the result of one that is over is imported: that takes longer than a start.
        """
        under_way, count = len(self.under_way()), len(self.executor.slots)
        return under_way < count or (under_way == count and bool(self.over()))

    def under_way(self) -> list[Experiment]:
        """The runs that were started, and whose results are not imported."""
        return [row for row in self.ledger.unfinished() if not row.queued]

    def over(self) -> list[Experiment]:
        """Those of them that have a score and left nothing behind: no other end is without meaning for the next run."""
        of = self.runs.of
        return [row for row in self.under_way() if left_nothing(ending(self.executor, row.attempt, of(row.number)))]

    def look(self) -> None:
        """Note which results are to come."""
        self.results = tuple(self.runs.path(row.number) / RunFile.RESULT for row in self.under_way())

    def free(self, profile: str) -> Slot:
        """One that a run of this profile may start in. Raises RunnerUnavailable, DeviceBusy."""
        return self.executor.require_free(profile, lasts_of(self._started()))

    def _started(self) -> list[Experiment]:
        """The last rows that have, or had, a slot, newest first."""
        beside = len(self.ledger.unfinished())  # however many wait, they do not hide who was served
        rows = self.ledger.page(_RECENT * len(self.executor.slots) + beside, 0)
        return [row for row in rows if row.attempt.queued_at is None or row.attempt.slot is not None]
