"""What a run is made with, and what an executor is asked for: limits, files and terms."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from server.history import audit_failures, comparisons, segments
from server.history.ledger import Ledger
from server.metric import Direction, Scale
from server.records import Attempt, Purpose
from server.runs.executor import RunRequest, Slot
from server.runs.run_folder import RunFolders
from server.runs.run_spec import RunLimits, draw_seed
from server.runs.spawn import trainer_hash
from server.scoring.early_stopping import loss_ceiling
from server.serve_options import ServeOptions
from server.source.candidate import Candidate
from server.task.definition import Task
from server.task.upstream import PREPARE, audit_asked, reach, require_pinned
from server.vcs.workspace import Workspace
from trainer.contract import Referee, RunFile, public_half, utc_now

# What a queued attempt is given, or given anew, when its run starts.
AT_START = (
    *("profile", "dataset", "seed", "task", "direction", "scale", "referee", "budget_seconds", "started_at"),
    *("signer", "concurrency", "slot"),
)
_CURVE_POINTS = 300


class RunWords(NamedTuple):
    """What is said of a run, and the name of the client that asks for it."""

    description: str
    hypothesis: str = ""
    source: str = ""  # where the idea comes from
    agent: str = ""

    @classmethod
    def of(cls, attempt: Attempt) -> "RunWords":
        """What was said of an attempt."""
        return cls(attempt.description, attempt.hypothesis, attempt.source or "", attempt.agent or "")


@dataclass(frozen=True)
class Terms:
    """What every run is made with now."""

    profile: str
    dataset: str
    budget_seconds: float
    task: str | None
    direction: Direction | None
    scale: Scale | None
    slots: int

    @property
    def asked(self) -> tuple[object, ...]:
        """What code that was measured before was measured with: `segments.circumstances`."""
        return self.profile, self.dataset, self.budget_seconds, self.task, self.slots > 1

    @classmethod
    def of(cls, task: Task, profile: str, dataset: str, budget_seconds: float, slots: int) -> "Terms":
        """Those of program.md and of the server."""
        direction, scale = (task.direction, task.scale) if task.sha256 else (None, None)
        return cls(profile, dataset, budget_seconds, task.sha256, direction, scale, slots)

    def attempt(self, words: RunWords, slot: Slot | None, key: str) -> Attempt:
        """An attempt that says nothing of its candidate yet. `slot` None: it is queued."""
        now = utc_now()
        made = Attempt(
            number=1,
            baseline=False,
            description=words.description,
            hypothesis=words.hypothesis,
            source=" ".join(words.source.split()) or None,
            parent="",
            commit="",
            train_sha256="",
            agent=words.agent or None,
            profile=self.profile,
            dataset=self.dataset,
            seed=draw_seed(),
            task=self.task,
            direction=self.direction,
            scale=self.scale,
            referee=trainer_hash(),
            budget_seconds=self.budget_seconds,
            started_at=now,
            queued_at=None if slot else now,
        )
        return made.model_copy(update=self._in_slot(slot, key)) if slot else made

    def started(self, queued: Attempt, slot: Slot, key: str) -> Attempt:
        """A queued attempt as it is once its run starts: program.md, or the trainer, may be another by now."""
        now = self.attempt(RunWords(""), slot, key)
        return queued.model_copy(update={**{name: getattr(now, name) for name in AT_START}, "slot": slot.id})

    def _in_slot(self, slot: Slot, key: str) -> dict[str, object]:
        """Of one slot alone a row says nothing."""
        told: dict[str, object] = {"slot": slot.id, "concurrency": self.slots} if self.slots > 1 else {}
        return {"signer": public_half(key) if key else None, **told}


@dataclass(frozen=True)
class RequestMaker:
    """Makes the requests of one study."""

    workspace: Workspace
    ledger: Ledger
    runs: RunFolders
    choices: ServeOptions
    prepare: Callable[[Path, Task, Path], None]  # puts what git does not have of a repository into a run's files

    def make(self, task: Task, attempt: Attempt, candidate: Candidate, base: str) -> RunRequest:
        """A request without key and slot.

        Args:
            task: program.md's. base: the commit of what a paired run measures beside the candidate.

        Raises:
            WorkspaceUnusable: git has lost something, or upstream's files are others.
        """
        root, limits = self.workspace.root, self._limits(task, attempt, candidate)
        terms = task.terms(*reach(task, root), audit_asked(segments.trust_so_far(self.ledger, task.sha256)))
        if terms is None:
            modules = self.workspace.modules(attempt.commit)
            return RunRequest(attempt=attempt, text=candidate.text, limits=limits, modules=modules)
        known = self.ledger.incumbent()
        if attempt.purpose is not Purpose.REFERENCE and known and segments.latest(self.ledger, known, task.sha256):
            limits = limits.model_copy(update={"proven": True})
        trees = {RunFile.TREE: attempt.commit}
        if terms.paired:
            trees[RunFile.INCUMBENT] = attempt.commit if attempt.baseline else base

        def lay_out(folder: Path) -> None:
            for name, commit in trees.items():
                self.workspace.lay_out(commit, folder / name)
                self.prepare(root, task, folder / name)

        return RunRequest(attempt=attempt, limits=limits, referee=task.kind, task=terms, trees=lay_out)

    def _limits(self, task: Task, attempt: Attempt, candidate: Candidate) -> RunLimits:
        simpler = self._simpler(attempt, candidate)  # no confirmation comes before such a keep
        asked = audit_failures.factor(self.ledger, Purpose.CONFIRM if simpler else attempt.purpose)
        limits = RunLimits.of(task, self.choices, attempt.of is None, asked)
        if not simpler and task.keep_rule != "any" and audit_failures.first_look(self.ledger, attempt):
            limits = limits.model_copy(update={"first_look": True})
        limits = limits.beside(self.ledger.baseline(), attempt)
        if task.early_stop and attempt.of is None and not attempt.baseline:
            curves = [self.runs.of(good).curve(_CURVE_POINTS) for good in comparisons.good_runs(self.ledger, attempt)]
            limits = limits.model_copy(update={"ceiling": loss_ceiling(curves, attempt.budget_seconds)})
        if task.kind is Referee.KARPATHY:
            require_pinned(self.workspace.root, self.workspace.modules(attempt.commit).get(PREPARE))
            limits = limits.beside_upstream(self.ledger.baseline(), attempt)
        return limits

    def _simpler(self, attempt: Attempt, candidate: Candidate) -> bool:
        """Whether this is the first run of a language model with less code than the one that it was built on."""
        if attempt.purpose is not Purpose.MEASURE or attempt.baseline or attempt.task is not None:
            return False
        return candidate.simpler_than(self.workspace.files(attempt.parent))
