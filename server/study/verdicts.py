"""Verdicts: what a run means for its candidate, written into the ledger, the commit's trailers and its ref."""

from contextlib import suppress
from typing import Any, NamedTuple

from server.errors import HeadMoved, PatchRefused, Unavailable, WorkspaceUnusable
from server.history import audit_failures, comparisons, revocations
from server.history.ledger import Ledger
from server.records import Attempt, Decision, Experiment, Judgement, Purpose, Result, Revocation, Score, Verdict
from server.scoring.decision_rule import Assessment
from server.source import patch
from server.source.candidate import Candidate
from server.study.lane import Lane, Lanes, what_may_change
from server.study.phase import Phase, new_baseline
from server.task.definition import Task
from server.task.words import Words
from server.vcs.workspace import Workspace
from trainer.contract import utc_now

_BESIDE = {Purpose.CONFIRM: Verdict.CONFIRMATION, Purpose.REFERENCE: Verdict.REFERENCE}


class RunPlan(NamedTuple):
    """A run that is about to start."""

    candidate: Candidate
    purpose: Purpose = Purpose.MEASURE
    of: int | None = None  # the experiment it repeats


class Verdicts:
    """Every method may be called twice and finishes what a killed server left."""

    def __init__(self, ledger: Ledger, workspace: Workspace, lanes: Lanes) -> None:
        self._ledger, self._workspace, self._lanes = ledger, workspace, lanes

    def receive(self, experiment: Experiment, rule: Task) -> bool:
        """Judge a result that has just come in; a baseline is kept at once. Whether the branch could be moved."""
        judged = self.judge(experiment, rule)
        if judged.verdict == Verdict.BASELINE:
            return self.keep(judged, "the baseline")
        moved = self.revise()
        self.reassess(self._lanes.of(judged), rule)
        self._end_others(self._lanes.of(judged), rule)
        return moved

    def _end_others(self, but: Lane, rule: Task) -> None:
        """What ends a candidate of another lane, whose own runs alone else judge it: each look more could be luck."""
        for lane in self._lanes.all():
            root = lane.measured()
            if lane is not but and root and root.score and root.decision is None and self._ended(root):
                self.reassess(lane, rule)

    def revise(self) -> bool:
        """Revoke the keeps that an audit has refuted, and those built on them. Whether the branch could be moved.

        The rows first, then the file, then the branch: while it is at what was revoked, the move is unfinished.
        """
        if due := revocations.due(self._ledger):
            self._lanes.stay()
            self._revoke(due)
        revoked, base = self._ledger.revoked(), self.base()
        if not revoked or base is None or not self._workspace.has_branch():
            return True  # a branch that was deleted is made again where it belongs
        left = next((row for row in revoked if row.commit == self._workspace.tip()), None)
        if left is None:
            return True
        for row in revoked:
            self.archive(row)  # a server that was killed after the rows has not
        for lane in self._lanes.all():
            if lane.holds(left):
                self.restore(lane)
        try:
            self._workspace.advance(base, left.commit)
        except HeadMoved:
            return False
        return True

    def _revoke(self, due: dict[int, Revocation]) -> None:
        self._ledger.revoke(due)
        for number in due:
            if row := self._ledger.get(number):
                self.archive(row)

    def judge(self, experiment: Experiment, rule: Task) -> Experiment:
        """Judge a result: commit object with trailers, ledger row, ref."""
        assert experiment.result is not None
        judgement = self._judgement(experiment, rule)
        judged = self._ledger.finish(experiment.number, experiment.result, judgement)
        self.record(judged)
        return judged

    def reassess(self, lane: Lane, rule: Task) -> None:
        """Judge the lane's undecided candidate again, by all that was run since."""
        root = lane.measured()
        if root is None or root.decision or root.score is None or root.attempt.baseline:
            return
        try:
            if self._judgement(root, rule) != root.judgement:
                self.judge(root, rule)
        except WorkspaceUnusable:
            if not self._lost(root):  # then its verdict stays
                raise

    def plan(self, phase: Phase, rule: Task, lane: Lane | None = None) -> RunPlan:
        """What the lane's next run is for."""
        lane = lane or self._lanes.main
        root, incumbent = lane.measured(), self._ledger.incumbent()
        again = incumbent
        if phase is Phase.PROMISING and root:
            wanted = self.assess(root, rule)
            if wanted.next is Purpose.CONFIRM:
                return RunPlan(self._workspace.files(root.commit), Purpose.CONFIRM, root.number)
            again = self._ledger.get(wanted.of) if wanted.of else incumbent
        if phase in (Phase.PROMISING, Phase.IDLE) and again:
            return RunPlan(self._workspace.files(again.commit), Purpose.REFERENCE, again.number)
        return RunPlan(lane.candidate() if incumbent else self._workspace.files(self._workspace.tip()))

    def assess(self, candidate: Experiment, rule: Task) -> Assessment:
        """What the candidate's scores amount to, and what has to be run next."""
        incumbent = comparisons.built_on(self._ledger, candidate.attempt)
        assert incumbent is not None
        made, kept = (self._workspace.files(commit) for commit in (candidate.commit, incumbent.commit))
        found = comparisons.assess_candidate(self._ledger, candidate, rule, simpler=made.simpler_than(kept))
        return audit_failures.once_more(self._ledger, candidate, found)

    def finish(self, rule: Task) -> bool:
        """Finish what was broken off after a result came in. Whether the branch could be moved."""
        lanes = self._lanes.all()
        for lane in lanes:
            for row in (lane.run(), lane.measured()):
                if row and row.judgement:
                    self.record(row)
        moved = self.revise()
        for lane in lanes:
            moved = self._finish(lane, rule) and moved
        if last := self._last_kept():  # its lane's folder may be gone
            moved = self._advance(last) and moved
        self._lanes.follow()
        return moved

    def _finish(self, lane: Lane, rule: Task) -> bool:
        root = lane.measured()
        if root is None or root.judgement is None:
            return True
        self.reassess(lane, rule)
        root = self._ledger.get(root.number) or root
        if root.revocation:
            return True
        if root.verdict == Verdict.BASELINE and root.decision is None:
            return self.keep(root, "the baseline")
        if root.decision is not None and not root.kept and lane.holds(root):
            self.restore(lane)
        return True

    def fact(self, lane: Lane) -> str:
        """What is known of the candidate, in a sentence; empty once it is decided."""
        if failed := lane.failure():
            return audit_failures.ended(failed)
        root = lane.measured()
        if root is None or root.decision is not None:
            return ""
        return f"Experiment {root.number}: {root.judgement.why if root.judgement else 'it is running.'}"

    def given_up(self, phase: Phase, lane: Lane) -> Experiment | None:
        """The experiment that a discard is about; None if the candidate was never measured."""
        root = lane.measured()
        if phase is Phase.PATCHED or root is None:
            return None
        # Another patch may have led to code that was ended before: then there is nothing to decide.
        return None if phase is Phase.INVALID and root.decision is not None else root

    def keep(self, experiment: Experiment, reason: str, agent: str = "") -> bool:
        """Make a candidate the incumbent: the row first, then the branch. Whether the branch could be moved."""
        self._lanes.stay()
        moved = self._advance(self.decide(experiment.number, kept=True, reason=reason, agent=agent))
        self._lanes.follow()
        return moved

    def advance(self) -> bool:
        """Move the branch to what was kept, if it could not be moved before. Whether it is there."""
        last = self._last_kept()
        return self.revise() and (last is None or self._advance(last))

    def _last_kept(self) -> Experiment | None:
        """The incumbent, where nothing was measured since in its lane: its keep may not have been finished."""
        incumbent = self._ledger.incumbent()
        return incumbent if incumbent and self._lanes.of(incumbent).measured() == incumbent else None

    def base(self) -> str | None:
        """The commit that the branch belongs at: the incumbent's, or what the night began with; None: it is new."""
        if incumbent := self._ledger.incumbent():
            return incumbent.commit
        if self._may_restart() and self._workspace.has_branch():
            return self._workspace.tip()
        first, last = self._ledger.get(1), self._ledger.measured()
        began = last if last and last.attempt.baseline else first
        return began.attempt.parent if began else None

    def restart(self) -> str:
        """While a task has no score yet, go on from where the checkout is: the operator may have repaired something.

        Returns what has changed for those who know of earlier runs, as a sentence; empty if nothing has.
        """
        last = self._ledger.last()
        if (last and last.running) or not self._may_restart() or not self._workspace.has_branch():
            return ""
        with suppress(Unavailable, PatchRefused):  # what is wrong with the checkout is told before the next run
            if (moved := self._workspace.restart()) and last:
                return (
                    f"Nothing has a score yet, so the baseline is now commit {moved[1][:12]}, where the checkout is. "
                    f"Experiment {last.number} ran commit {moved[0][:12]}."
                )
        return ""

    def _may_restart(self) -> bool:
        """Whether the study is a task's, and nothing is scored that a later baseline would be compared with."""
        if self._workspace.editable.plain or self._ledger.incumbent() or self._ledger.revoked():
            return False
        measured = self._ledger.measured()
        return measured is None or measured.verdict != Verdict.BASELINE  # else its keep was broken off

    def require_valid(self, candidate: Candidate, phase: Phase, rule: Task, words: Words) -> None:
        """Hold what is about to be run against the rules for its text; a baseline is no patch. Raises PatchRefused."""
        self._require_editable(candidate, rule)
        try:
            self.require_sound(candidate)
        except PatchRefused as error:
            if phase not in (Phase.NEW, Phase.BASELINE_FAILED):
                raise
            raise PatchRefused(error.problem, f"This is the baseline, not a patch: {new_baseline(words)}.") from None

    def _require_editable(self, candidate: Candidate, rule: Task) -> None:
        """Refuse what program.md has let be changed when the server started, and lets no more. Raises PatchRefused."""
        if self._workspace.editable.plain:
            return
        allowed, before = (
            what_may_change(rule, self._workspace.root),
            self._workspace.files(self.base() or self._workspace.tip()),
        )
        for path in sorted({*candidate, *before}):
            if candidate.get(path) != before.get(path) and (why := allowed.why_not(path)):
                raise PatchRefused(
                    f"{path} is changed, and program.md does not allow that any more: {why}.",
                    "Change it back with apply_patch(patch), or call discard(reason).",
                )

    def require_sound(self, candidate: Candidate) -> None:
        """Hold a new candidate against the rules for its text. Raises PatchRefused."""
        limits, tip = self._workspace.editable.limits, self._workspace.tip()
        incumbent = self._workspace.files(self.base() or tip)
        patch.check(candidate, limits, None if limits.modest else incumbent)
        if not limits.modest:
            return
        first = self._ledger.get(1)
        baseline = incumbent
        if first:
            with suppress(WorkspaceUnusable):  # git has lost it: then what it was built on has the same text
                baseline = self._workspace.files(first.attempt.parent)
                baseline = self._workspace.files(first.commit)
        candidate.require_modest(incumbent, baseline)

    def require_branch(self) -> None:
        """Refuse a branch that is not where it belongs; it only looks. Raises HeadMoved."""
        if base := self.base():
            self._workspace.require_at(base)

    def head_moved(self) -> str:
        """What `require_branch` says; empty while the branch is where it belongs, or was deleted."""
        try:
            self.require_branch()
        except HeadMoved as moved:
            return str(moved)
        return ""

    def restore_branch(self) -> None:
        """Make a deleted branch again, where it belongs. Raises WorkspaceUnusable."""
        if base := self.base():
            self._workspace.restore_branch(base)

    def restore(self, lane: Lane) -> None:
        """Make the incumbent's text the lane's candidate."""
        incumbent = self._ledger.incumbent()
        lane.reset(self._workspace.files(incumbent.commit if incumbent else self._workspace.tip()))

    def bring_up(self, lane: Lane) -> Phase:
        """Bring a candidate to the incumbent of now. Raises PatchRefused, with what conflicts; nothing was changed."""
        incumbent, root = self._ledger.incumbent(), lane.measured()
        assert incumbent
        self.require_sound(merged := lane.rebased(incumbent))
        if root and root.decision is None and root.score is not None:
            why = f"the incumbent changed to experiment {incumbent.number}: the change is measured again on that"
            self.decide(root.number, kept=False, reason=why)
        lane.reset(merged)
        return Phase.PATCHED

    def record(self, experiment: Experiment) -> None:
        """Move the attempt's ref; a server killed between row and ref has left none, or an earlier verdict's."""
        recorded = self._workspace.recorded(experiment.number)
        try:
            self._workspace.record(experiment.number, experiment.commit, recorded)
        except WorkspaceUnusable:
            if not self._lost(experiment):
                raise
        self.archive(experiment)

    def decide(self, number: int, kept: bool, reason: str, agent: str = "") -> Experiment:
        """Write down what becomes of a candidate, and who decides, if that is not who has asked for the run."""
        row = self._ledger.get(number)
        other = agent if agent and row and agent != row.attempt.agent else None
        decision = Decision(kept=kept, reason=reason, decided_at=utc_now(), agent=other)
        decided = self._ledger.decide(number, decision)
        self.archive(decided)
        return decided

    def archive(self, experiment: Experiment) -> None:
        """Copy a row of the ledger into git, from where it can be rebuilt."""
        self._workspace.archive(experiment.number, experiment.model_dump_json(exclude_none=True))

    def _advance(self, kept: Experiment) -> bool:
        """Move the branch to what was kept; where somebody else has moved it, it is left to them."""
        try:
            self._workspace.advance(kept.commit, kept.attempt.parent)
        except HeadMoved:
            return False
        return True

    def _lost(self, experiment: Experiment) -> bool:
        """Whether git has lost the experiment's commit for good; `git_repair.lost` tells of that."""
        return bool(self._workspace.objects.lacking([experiment.commit]))

    def _complaint(self, result: Result, incumbent: Experiment, rule: Task) -> str:
        assert incumbent.result is not None
        return rule.complaint(result.figures, comparisons.figures_of(self._ledger, incumbent, rule))

    def _ended(self, experiment: Experiment) -> str:
        """Why an experiment may not be kept, whatever its score; empty if it may."""
        if failed := audit_failures.failure(self._ledger, experiment):
            return audit_failures.ended(failed)
        lost = revocations.base_lost(self._ledger, experiment.attempt)
        return _rootless(experiment.number, lost) if lost else ""

    def _begun_anew(self, attempt: Attempt) -> str:
        """That a baseline is of another commit or task than the one before, which has no score; empty if it is not."""
        before = self._ledger.get(attempt.number - 1)
        if not attempt.baseline or attempt.task is None or before is None:
            return ""
        told = ""
        if before.attempt.parent != attempt.parent:
            old, new = before.attempt.parent[:12], attempt.parent[:12]
            told = f" It ran commit {new} of the checkout, and experiment {before.number} ran {old}."
        if before.attempt.task != attempt.task:
            told += f" program.md defines a different measurement from that of experiment {before.number}."
        return told

    def _judgement(self, experiment: Experiment, rule: Task) -> Judgement:
        attempt, result = experiment.attempt, experiment.result
        assert result is not None
        facts: dict[str, Any] = {}
        ended = self._ended(experiment) if attempt.of is None else ""
        if result.score is None:
            verdict = Verdict(result.outcome.value)
            why = result.reason + audit_failures.consequence(self._ledger, experiment)
        elif problem := _problem(attempt, result.score, rule):
            # The operator may have chosen the wrong scale: a baseline is tried again.
            verdict, why = Verdict.ENV_FAIL if attempt.baseline else Verdict.INVALID, problem
        elif ended:
            verdict, why = Verdict.INVALID, ended
        elif attempt.baseline:
            verdict, why = Verdict.BASELINE, f"The baseline: {comparisons.describe_run(experiment, rule)}."
        elif attempt.of is not None:
            verdict = _BESIDE[attempt.purpose]
            why = f"Experiment {attempt.of} again: {comparisons.describe_run(experiment, rule)}."
        else:
            found, incumbent = self.assess(experiment, rule), comparisons.built_on(self._ledger, attempt)
            assert incumbent is not None
            verdict, why = found.verdict, found.why
            if complaint := self._complaint(result, incumbent, rule):
                verdict, why = Verdict.GUARDRAIL, f"{complaint}. {why}"
            facts = {"delta": found.delta, "value": found.value, "incumbent": incumbent.number}
        why += self._begun_anew(attempt)
        files = self._workspace.files(experiment.commit)
        commit = self._workspace.commit_attempt(attempt, files, result, verdict)
        return Judgement(verdict=verdict, why=why, commit=commit, **facts)


def _problem(attempt: Attempt, score: Score, rule: Task) -> str:
    """Why a score cannot be judged at all; empty if it can."""
    problem = rule.measure.problem(score.value) if attempt.task == rule.sha256 else ""
    return f"{problem}. If such scores are intended, write `scale: linear` in program.md." if problem else ""


def _rootless(number: int, lost: Experiment) -> str:
    """Why a candidate that was measured may not be kept: what it was built on is gone."""
    by = f": experiment {lost.revocation.by} failed its audit" if lost.revocation else ""
    return (
        f"It was built on experiment {lost.number}, which is revoked{by}. Discard it; then "
        f"apply_patch(experiment={number}) tries its change on the current incumbent."
    )
