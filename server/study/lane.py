"""Lanes: in each, one candidate is on its way through its runs to a decision. Every study has the lane `main`.

All lanes share the incumbent and the history. The worktree of `main` is on the study's branch; the others, which are
made when something is first written in them, are on no branch. When the incumbent moves, a candidate stays what it was
built on: `base` names that until the candidate is brought to the incumbent of now.
"""

import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from server.errors import PatchRefused, StaleText, UnknownLane, WorkspaceUnusable
from server.files import write_whole
from server.history import audit_failures, comparisons
from server.history.ledger import Ledger
from server.library.store import is_library
from server.paths import HOME, Home
from server.records import MAIN, Experiment
from server.source import patch
from server.source.candidate import Candidate
from server.source.editable import OF_TASKS, Editable
from server.study.phase import JUDGED, Phase, derive
from server.task.definition import Task
from server.text import clip
from server.vcs.workspace import Workspace
from trainer.contract import Referee

LANE = re.compile(r"[a-z0-9-]{1,20}")  # its name
_MOST = 16  # lanes that are open at once
_SHARED = 8  # of them that are no client's own, as soon as clients have names: each can open its own
_RECENT = 100  # rows, which name the clients that are at work
_COMMIT = re.compile(r"[0-9a-f]{40}")
_CONFLICT = (
    "The candidate is unchanged. Make these places equal to the incumbent's with apply_patch(patch), or call "
    "discard(reason) and write the change again."
)
_OPENING = "apply_patch(patch, lane=NAME) opens another lane"
_NO_GAIN = (Phase.WORSE, Phase.FAILED, Phase.INVALID)
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
    withheld |= dict.fromkeys(task.brought, "git does not have it, and each run gets a copy of the operator's file")
    files: dict[str, str] = {}
    for field in ("command", "checks", "worker"):
        files |= dict.fromkeys(_named_in(getattr(task, field)), f"it is named in `{field}`")
    withheld |= {task.hidden_final: "it is the final judge"} if task.hidden_final else {}
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
        self._folder, self._base = workspace.folder(lane_id), workspace.paths.lane_base(lane_id)

    @property
    def worktree(self) -> Path:
        """Where the candidate is, or will be."""
        return self._folder.worktree.path

    @property
    def opened(self) -> bool:
        """Whether the lane has a worktree."""
        return self.id == MAIN or self._folder.worktree.exists()

    def candidate(self) -> Candidate:
        """The editable files in the lane's worktree; while it has none, of what it would begin with.

        Raises WorkspaceUnusable if one is no plain text file.
        """
        return self._folder.candidate() if self.opened else self._workspace.files(self._beginning())

    def _beginning(self) -> str:
        """The commit that a worktree is made of: of a candidate that is under way, which somebody has deleted, its own.

        Else the incumbent's.
        """
        root = self.measured()
        return root.commit if root and root.decision is None else self._workspace.tip()

    def mount(self) -> None:
        """Make the worktree if there is none. Raises WorkspaceUnusable."""
        if self.id != MAIN:
            begun = self._beginning()
            if self._folder.worktree.mount("", begun):
                self._folder.write(self._workspace.files(begun))  # git may have changed line ends on the way

    def bring_back(self) -> None:
        """Write the candidate that is under way into a worktree that was made anew, if git still has it."""
        with suppress(WorkspaceUnusable):
            self._folder.write(self._workspace.files(self._beginning()))

    def close(self) -> None:
        """Remove the worktree, whose candidate is the incumbent. Raises WorkspaceUnusable."""
        self._base.unlink(missing_ok=True)
        self._folder.worktree.remove()

    def base(self) -> str:
        """The commit of the incumbent that the candidate was built on."""
        with suppress(OSError, UnicodeDecodeError):
            if _COMMIT.fullmatch(told := self._base.read_text(encoding="utf-8").strip()):
                return told
        root = self.measured()
        return root.attempt.parent if root and not root.decision and self.holds(root) else self._workspace.tip()

    @property
    def behind(self) -> bool:
        """Whether the candidate was built on another incumbent than the one of now."""
        return self.base() != self._workspace.tip()

    def rebased(self, incumbent: Experiment) -> Candidate:
        """The candidate's change on the incumbent of now. Raises PatchRefused, with both sides of what conflicts."""
        name, theirs = f"experiment {incumbent.number}", self._workspace.files(incumbent.commit)
        try:
            merged = self._workspace.rebase(self._workspace.files(self.base()), self.candidate(), theirs, name)
        except PatchRefused as refused:
            raise PatchRefused(refused.problem, _CONFLICT) from None
        if merged == theirs:
            raise PatchRefused(f"The incumbent, {name}, already contains this change.", "Call discard(reason).")
        return merged

    def stay(self, commit: str) -> None:
        """Write down what the candidate was built on, before the incumbent moves; what was written down stays."""
        if not self._base.exists():
            self._base.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._base, f"{commit}\n")

    def follow(self) -> None:
        """Bring a candidate that is no other than the incumbent of before to the incumbent of now."""
        if not self._base.exists() or ((run := self.run()) and run.running):
            return
        base, tip = self.base(), self._workspace.tip()
        now, old, new = self._sha256(), self._workspace.files(base).sha256, self._workspace.files(tip)
        if base == tip or now == new.sha256:
            self._base.unlink(missing_ok=True)
        elif now == old:
            self.write(new)
            self._base.unlink(missing_ok=True)

    def reset(self, incumbent: Candidate) -> None:
        """Make the incumbent, or what was brought to it, the candidate."""
        self.write(incumbent)
        self._base.unlink(missing_ok=True)

    def patched(self, base: Candidate, text: str, base_sha256: str) -> Candidate:
        """`base`, the candidate, after a patch. Raises PatchRefused; StaleText: it was written against another text."""
        workspace = self._workspace
        if not workspace.editable.plain:
            return patch.patched_files(base, text, workspace.editable, workspace.names(), base_sha256)
        require_fresh(base, base_sha256)
        return patch.patched(base, text, workspace.file, exact=bool(base_sha256))

    def reapplied(self, base: Candidate, number: int, base_sha256: str) -> Candidate:
        """`base` with what experiment `number` changed. Raises PatchRefused, StaleText, WorkspaceUnusable."""
        require_fresh(base, base_sha256)
        before, theirs = self._sides(number)
        return self._workspace.merge(before, base, theirs, f"experiment {number}")

    def with_change(self, base: Candidate, number: int) -> Candidate:
        """As `reapplied`, also where `base` has that change already."""
        before, theirs = self._sides(number)
        return self._workspace.rebase(before, base, theirs, f"experiment {number}")

    def _sides(self, number: int) -> tuple[Candidate, Candidate]:
        found = self._ledger.get(number)
        assert found is not None
        return self._workspace.files(found.attempt.parent), self._workspace.files(found.commit)

    def require_unspoiled(self) -> None:
        """Refuse a worktree that differs from the branch where the candidate may not. Raises PatchRefused."""
        if self.opened:
            self._folder.require_unspoiled()

    def require_new(self, code: str, *asked: object) -> None:
        """Refuse code that is being measured, or was; not what the lane has last measured on an earlier incumbent.

        Such code may contain what was kept since, so that it is the same on the incumbent of now. Raises
        AlreadyMeasured.

        Args:
            code: its fingerprint. asked: as for `comparisons.require_new`.
        """
        comparisons.require_alone(self._ledger, code, self.id)
        root, incumbent = self.measured(), self._ledger.incumbent()
        assert incumbent
        overtaken = root and not root.kept and root.attempt.parent != incumbent.commit
        if not (root and overtaken and root.attempt.fingerprint == code):
            comparisons.require_new(self._ledger, code, *asked)

    def write(self, candidate: Candidate) -> None:
        """Replace the files in the worktree, all or none. Raises WorkspaceUnusable."""
        self.mount()
        self._folder.write(candidate)

    def candidate_sha256(self) -> str:
        """Of the candidate's files; empty if one is no plain text file."""
        return self._folder.sha256() if self.opened else self.candidate().sha256

    def holds(self, experiment: Experiment) -> bool:
        """Whether the candidate is the one that this experiment has measured."""
        return self._sha256() == experiment.attempt.train_sha256

    def run(self) -> Experiment | None:
        """The lane's last run, whatever it was for; None before the first."""
        return self._ledger.last(self.id)

    def measured(self) -> Experiment | None:
        """The lane's last run of a candidate that was new: a decision is about that one."""
        return self._ledger.measured(self.id)

    def failure(self) -> Experiment | None:
        """The first run of the candidate's code that failed its audit; None if none did."""
        with suppress(WorkspaceUnusable):
            return audit_failures.failure_of(self._ledger, self.candidate())
        return None

    def overtaken(self) -> bool:
        """Whether the incumbent has moved since the undecided candidate was built on it."""
        root, incumbent = self.measured(), self._ledger.incumbent()
        if root is None or incumbent is None or root.decision or root.attempt.baseline:
            return False
        return root.attempt.parent != incumbent.commit

    def phase(self) -> Phase:
        """What may be done with the candidate now. A run whose result was not imported still counts as running."""
        root, incumbent = self.measured(), self._ledger.incumbent()
        known = self._sha256(), self.failure() is not None
        found = derive(self.run(), root, incumbent, *known)
        if found in JUDGED and root and self.overtaken():
            # Of another text by now the measured one says nothing.
            return Phase.STALE if self.holds(root) else derive(self.run(), None, incumbent, *known)
        return found

    def _sha256(self) -> str:
        """The candidate's hash; empty if a file is no plain text.

        Where program.md has changed `editable` since, the rows have the hash of other files. Then the candidate counts
        as the one whose files at these paths are the same.
        """
        found = self.candidate_sha256()
        if self._workspace.editable.plain or not found:
            return found
        for row in (self.measured(), self._ledger.incumbent()):
            with suppress(WorkspaceUnusable):  # git has lost it
                if row and self._workspace.files(row.commit).sha256 == found:
                    return row.attempt.train_sha256
        return found


class Lanes:
    """The lanes of a study, as the disk and the ledger have them."""

    def __init__(self, ledger: Ledger, workspace: Workspace) -> None:
        self._ledger, self._workspace = ledger, workspace
        self.main = Lane(ledger, workspace)
        self._known = {MAIN: self.main}

    def at(self, name: str) -> Lane:
        """The lane of this name. Until there is an incumbent, all that is done is about the baseline, in main."""
        if self._ledger.incumbent() is None:
            return self.main
        if (known := self._known.get(name or MAIN)) is None:
            known = self._known[name] = Lane(self._ledger, self._workspace, name)
        return known

    def of(self, row: Experiment) -> Lane:
        """The lane of a row."""
        return self.at(row.attempt.lane or MAIN)

    def all(self) -> list[Lane]:
        """Those that are open: main, those with a worktree, and those with something to wait for."""
        folder = self._workspace.paths.lanes
        names = {path.parent.name for path in folder.glob("*/worktree")} if folder.is_dir() else set[str]()
        names |= {row.attempt.lane for row in self._ledger.unfinished() if row.attempt.lane}
        return [self.main, *(self.at(name) for name in sorted(names) if LANE.fullmatch(name) and name != MAIN)]

    def mount(self) -> list[Lane]:
        """Those that are open, each with its worktree. In a copy of the study's refs there is none yet.

        Raises WorkspaceUnusable.
        """
        if not self._workspace.paths.lanes.is_dir():
            for lane in map(self.at, self._ledger.lanes()):
                if (root := lane.measured()) and root.decision is None:
                    lane.mount()
        for lane in (lanes := self.all()):
            lane.mount()
        return lanes

    def require(self, name: str) -> None:
        """Refuse the name of a lane that nobody has opened. Raises UnknownLane."""
        names = [lane.id for lane in self.all()]
        if name and name not in names and self._ledger.last(name) is None:
            raise UnknownLane(f"There is no lane {clip(name, 40)!r}.", f"{lanes_in_words(names)}; {_OPENING}.")

    def make_room(self, name: str, agent: str = "") -> None:
        """Close the idle lane that was used least lately, where too many are open for another one.

        Args:
            agent: who opens it; empty: a client without a name.

        Raises:
            UnknownLane: none is idle.
        """
        lane, lanes = self.at(name), [lane for lane in self.all() if lane is not self.main]
        if lane.opened:
            return
        own = {row.attempt.agent for row in self._ledger.page(_RECENT, 0)} | {agent}
        shared = [lane for lane in lanes if lane.id not in own]
        if any(own) and name not in own and len(shared) >= _SHARED:
            step = f"Continue in one of them, or discard its candidate{f'; {agent} is your own lane' if agent else ''}."
            _close_idle(shared, f"{_SHARED} lanes are open beside the clients' own, and each has a candidate.", step)
        elif len(lanes) >= _MOST - 1:
            told = f"All {_MOST} lanes are open, and each has a candidate."
            _close_idle(lanes, told, "Continue in one of these lanes, or discard its candidate.")

    def stay(self) -> None:
        """Before the incumbent moves: write down what each candidate was built on. Of one lane alone: nothing."""
        if len(lanes := self.all()) > 1 and (incumbent := self._ledger.incumbent()):
            for lane in lanes:
                lane.stay(incumbent.commit)

    def follow(self) -> None:
        """After the incumbent has moved: bring along what nobody has changed."""
        if self._workspace.paths.lanes.is_dir():
            for lane in self.all():
                with suppress(WorkspaceUnusable):  # who looks at the lane is told
                    lane.follow()


def _close_idle(lanes: Sequence[Lane], problem: str, step: str) -> None:
    """Close the idle one that was used least lately. Raises UnknownLane: none is idle."""
    phases = {lane: lane.phase() for lane in lanes}
    idle = [lane for lane, phase in phases.items() if phase is Phase.IDLE]
    if not idle:
        over = [f"{lane.id} ({phase.value})" for lane, phase in phases.items() if phase in _NO_GAIN]
        raise UnknownLane(problem, f"{step} These are no better: {', '.join(over)}." if over else step)
    min(idle, key=lambda lane: run.number if (run := lane.run()) else 0).close()


def lanes_in_words(names: Sequence[str]) -> str:
    """Which lanes there are, without a stop."""
    return f"The lanes are {', '.join(names)}" if len(names) > 1 else f"The only lane is {names[0]}"


def require_fresh(base: Candidate, base_sha256: str) -> None:
    """Refuse a change that was made for another candidate than `base`; "" is not compared. Raises StaleText."""
    if base_sha256 and base_sha256 != base.sha256:
        what = next(iter(base)) if len(base) == 1 else "The candidate"
        raise StaleText(
            f"{what} has sha256 {base.sha256}, but the patch was written against {base_sha256}.",
            "Call read_train(), and write the patch against the text that it shows.",
        )
