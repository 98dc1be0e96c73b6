"""A lane: one candidate on its way through its runs to a decision. A study has one lane today, `main`."""

from contextlib import suppress

from server.errors import WorkspaceUnusable
from server.history import audit_failures
from server.history.ledger import Ledger
from server.records import Experiment
from server.source.candidate import Candidate
from server.study.phase import Phase, derive
from server.vcs.workspace import Workspace

MAIN = "main"


class Lane:
    """Where a lane stands follows from its rows in the ledger and from the files in its worktree.

    `ledger.last()` is the last row of the study; what concerns a candidate asks its lane.
    """

    def __init__(self, ledger: Ledger, workspace: Workspace, lane_id: str = MAIN) -> None:
        self._ledger, self._workspace, self.id = ledger, workspace, lane_id

    def candidate(self) -> Candidate:
        """The editable files in the lane's worktree. Raises WorkspaceUnusable if one is no plain text file."""
        return self._workspace.candidate()

    def write(self, candidate: Candidate) -> None:
        """Replace the files in the worktree, all or none. Raises WorkspaceUnusable."""
        self._workspace.write_candidate(candidate)

    def holds(self, experiment: Experiment) -> bool:
        """Whether the candidate is the one that this experiment has measured."""
        return self._workspace.candidate_sha256() == experiment.attempt.train_sha256

    def run(self) -> Experiment | None:
        """The lane's last run, whatever it was for; None before the first."""
        return self._ledger.last()

    def measured(self) -> Experiment | None:
        """The lane's last run of a candidate that was new: a decision is about that one."""
        return self._ledger.measured()

    def failure(self) -> Experiment | None:
        """The first run of the candidate's code that failed its audit; None if none did."""
        with suppress(WorkspaceUnusable):
            return audit_failures.failure_of(self._ledger, self.candidate())
        return None

    def phase(self) -> Phase:
        """What may be done with the candidate now. A run whose result was not imported still counts as running."""
        known = self.run(), self.measured(), self._ledger.incumbent()
        return derive(*known, self._workspace.candidate_sha256(), self.failure() is not None)
