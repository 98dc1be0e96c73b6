"""A lane: one candidate on its way through its runs to a decision. A study has one lane today, `main`."""

import re
import sys
from contextlib import suppress
from pathlib import Path, PurePosixPath

from server.errors import StaleText, WorkspaceUnusable
from server.history import audit_failures
from server.history.ledger import Ledger
from server.library.store import is_library
from server.paths import HOME, Home
from server.records import Experiment
from server.source import patch
from server.source.candidate import Candidate
from server.source.editable import OF_TASKS, Editable
from server.study.phase import Phase, derive
from server.task.definition import Task
from server.vcs.workspace import Workspace
from trainer.contract import Referee

MAIN = "main"
_FILES = ("editable", "off_limits", "hidden", "link", "judge", "hidden_final", "kind")
_WORD = re.compile(r"(-m\s+)?([\w@%+./-]+)")


def what_may_change(task: Task, root: Path | None = None) -> Editable:
    """Which files of the repository are the candidate's: those of `editable`, less what judges them or is withheld.

    Args:
        root: of the workspace: a reference library in it is withheld, too.
    """
    if task.kind is Referee.SEALED:
        return Editable(task.editable)
    withheld = {f"{HOME}/": "it is the server's"} | dict.fromkeys(task.off_limits, "it is in `off_limits`")
    if root and is_library(library := Home(root).library):
        withheld[f"{library.name}/"] = "it is the reference library"
    withheld |= dict.fromkeys(task.link, "it is in `link`") | dict.fromkeys(task.hidden, "it is in `hidden`")
    withheld |= dict.fromkeys(task.brought, "git does not have it, and each run is given a copy of the operator's")
    files: dict[str, str] = {}
    for field in ("command", "checks", "worker"):
        files |= dict.fromkeys(_named_in(getattr(task, field)), f"it is named in `{field}`")
    withheld |= {task.hidden_final: "it is the judge after the night"} if task.hidden_final else {}
    if task.judge:
        withheld[task.judge] = "it is the judge"
        folder = PurePosixPath(task.judge).parent.as_posix()
        withheld |= {} if folder == "." else {f"{folder}/": "it is in the judge's folder"}
    return Editable(task.editable, withheld, files, sys.stdlib_module_names, OF_TASKS)


def differs_in_files(one: Task, other: Task) -> bool:
    """Whether two definitions differ in which files the agent may change, or in what is withheld from it."""
    return any(getattr(one, field) != getattr(other, field) for field in _FILES)


def _named_in(command: str) -> list[str]:
    """The files that a command may mean, from the top of the repository; also of `-m PACKAGE.MODULE`."""
    found: list[str] = []
    for module, word in _WORD.findall(command):
        path = word.replace(".", "/") if module else word.removeprefix("./")
        found += [f"{path}.py", f"{path}/__main__.py"] if module else [path]
    return found


class Lane:
    """Where a lane stands follows from its rows in the ledger and from the files in its worktree.

    `ledger.last()` is the last row of the study; what concerns a candidate asks its lane.
    """

    def __init__(self, ledger: Ledger, workspace: Workspace, lane_id: str = MAIN) -> None:
        self._ledger, self._workspace, self.id = ledger, workspace, lane_id

    def candidate(self) -> Candidate:
        """The editable files in the lane's worktree. Raises WorkspaceUnusable if one is no plain text file."""
        return self._workspace.candidate()

    def patched(self, base: Candidate, text: str, base_sha256: str) -> Candidate:
        """`base`, the candidate, after a patch. Raises PatchRefused; StaleText: it was written against another text."""
        workspace = self._workspace
        if not workspace.editable.plain:
            return patch.patched_files(base, text, workspace.editable, workspace.names(), base_sha256)
        require_fresh(base, base_sha256)
        return patch.patched(base, text, workspace.file, exact=bool(base_sha256))

    def require_unspoiled(self) -> None:
        """Refuse a worktree that differs from the branch where the candidate may not. Raises PatchRefused."""
        self._workspace.require_unspoiled()

    def write(self, candidate: Candidate) -> None:
        """Replace the files in the worktree, all or none. Raises WorkspaceUnusable."""
        self._workspace.write_candidate(candidate)

    def holds(self, experiment: Experiment) -> bool:
        """Whether the candidate is the one that this experiment has measured."""
        return self._sha256() == experiment.attempt.train_sha256

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
        return derive(*known, self._sha256(), self.failure() is not None)

    def _sha256(self) -> str:
        """The candidate's hash; empty if a file is no plain text.

        Where program.md has changed `editable` since, the rows have the hash of other files. Then the candidate counts
        as the one whose files at these paths are the same.
        """
        found = self._workspace.candidate_sha256()
        if self._workspace.editable.plain or not found:
            return found
        for row in (self.measured(), self._ledger.incumbent()):
            with suppress(WorkspaceUnusable):  # git has lost it
                if row and self._workspace.files(row.attempt.commit).sha256 == found:
                    return row.attempt.train_sha256
        return found


def require_fresh(base: Candidate, base_sha256: str) -> None:
    """Refuse a change that was made for another candidate than `base`; "" is not compared. Raises StaleText."""
    if base_sha256 and base_sha256 != base.sha256:
        what = next(iter(base)) if len(base) == 1 else "The candidate"
        raise StaleText(
            f"{what} has sha256 {base.sha256}, the patch was written against {base_sha256}.",
            "Call read_train() and write the patch against what it shows.",
        )
