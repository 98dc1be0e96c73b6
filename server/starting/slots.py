"""The slots of an executor, as the rows of a study fill them."""

from dataclasses import dataclass

from server.history.ledger import Ledger
from server.records import Experiment
from server.runs.executor import Executor, Slot, lasts_of
from server.starting.order import in_order

_RECENT = 8  # rows a slot, among which is the last one of each


@dataclass
class Slots:
    """Which are free, and who waits for one."""

    ledger: Ledger
    executor: Executor
    held: str = ""  # why nothing is started that waits, though a slot is free; empty where it is

    def waiting(self) -> list[Experiment]:
        """The runs that wait, the next one first."""
        queued = [row for row in self.ledger.unfinished() if row.queued]
        return in_order(queued, self._started()) if queued else []

    def vacant(self) -> bool:
        """Whether fewer runs are under way than there are slots."""
        return sum(not row.queued for row in self.ledger.unfinished()) < len(self.executor.slots)

    def free(self, profile: str) -> Slot:
        """One that a run of this profile may start in. Raises RunnerUnavailable, DeviceBusy."""
        return self.executor.require_free(profile, lasts_of(self._started()))

    def _started(self) -> list[Experiment]:
        """The last rows that have, or had, a slot, newest first."""
        beside = len(self.ledger.unfinished())  # however many wait, they do not hide who was served
        rows = self.ledger.page(_RECENT * len(self.executor.slots) + beside, 0)
        return [row for row in rows if row.attempt.queued_at is None or row.attempt.slot is not None]
