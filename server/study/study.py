"""One study: the server's mutable object, where workspace, executor and ledger meet.

Each method is one move. It runs under the app's lock, in a worker thread. The order of a move is always: commit object,
ledger row, branch, file. If a move breaks off, because the server is killed or the disk fails, `recover` finishes it
first: when the server starts again, or with the next call.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from server.errors import HeadMoved, LedgerDamaged, ProgramInvalid, RunnerUnavailable, WorkspaceUnusable
from server.foreign.load import bring, load, require_scripts
from server.history import audit_failures, comparisons, revocations, segments
from server.history.export import ResultsFile
from server.history.notes import Notebook
from server.locks import RepositoryLock, lock_path
from server.paths import Home
from server.records import Attempt, Experiment, Outcome, Purpose, Result
from server.runs.executor import Engine, RunRequest, RunSite, SlotRequest, ending, lasts_of, new_key
from server.runs.hardware import Hardware, probe
from server.runs.local_executor import LocalExecutor
from server.runs.profile_choice import as_torch_sees_it, default_profile
from server.runs.run_folder import RunFolders
from server.runs.run_spec import RunLimits, draw_seed
from server.runs.spawn import require_guards, trainer_hash
from server.scoring.early_stopping import loss_ceiling
from server.serve_options import ServeOptions
from server.source import patch
from server.source.candidate import Candidate
from server.source.language import Change
from server.source.patch import AppliedPatch
from server.study import ledger_rebuild
from server.study.git_repair import heal
from server.study.lane import Lane, require_fresh, what_may_change
from server.study.phase import Move, Phase, require
from server.study.sweep_queue import SweepQueue
from server.study.verdicts import Verdicts
from server.task.dataset import find
from server.task.program import Program, remember
from server.task.task_words import words_of
from server.task.upstream import PREPARE, audit_asked, reach, require_pinned
from server.task.words import LANGUAGE_MODEL, Words
from trainer.contract import CPU_PROFILES, Referee, RunFile, public_half, utc_now

_CURVE_POINTS = 300


class Study:
    """A workspace, a tag, and everything that happened under it."""

    def __init__(
        self, workspace: Path, tag: str, choices: ServeOptions | None = None, engine: Engine = LocalExecutor
    ) -> None:
        """Open the workspace, make what the tag needs, and finish what an earlier server left unfinished.

        Args:
            engine: makes what runs the experiments.

        Raises:
            Unavailable: with the next step for the operator; nothing was changed unless the tag is new.
        """
        self._program_path, self._state = workspace / "program.md", Home(workspace).study(tag).state
        self._load: Callable[[], Program] = self._load_program
        self.choices = choices or ServeOptions()
        self.hardware: Hardware = as_torch_sees_it(probe())
        usual = self.choices.profile or default_profile(self.hardware, "", "")
        if self.choices.require_sealed:
            require_guards(usual in CPU_PROFILES)
        self.opened_with = self.program().task
        self.workspace = ledger_rebuild.opened(workspace, tag, what_may_change(self.opened_with, workspace))
        paths = self.workspace.paths
        self.dataset = find(self.choices.data, paths.home.data)
        self.engine, self.slots_asked = engine, SlotRequest(self.choices.slots, usual)
        site = RunSite.of(paths, asked=self.slots_asked)
        self.executor, self.runs = engine(site), RunFolders(site.runs)  # who starts runs; to look at them
        self.notebook, self.queue = Notebook(paths.notes), SweepQueue(paths.sweep)
        self._lock = RepositoryLock(lock_path(self.workspace.root), tag)
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise
        try:
            self.settle()
        except LedgerDamaged:  # a row that looked like its copy in git, and cannot be read
            self.mend()
            self.settle()
        self.profile = self.choices.profile or self._machines_profile()

    def _machines_profile(self) -> str:
        known = self.ledger.incumbent() or self.ledger.last()
        last, files = known.attempt.profile if known else "", self.workspace.files(self.workspace.tip())
        return default_profile(self.hardware, last, files.get(self.workspace.file, ""))

    def _open(self, distrust: bool = False) -> None:
        """Open the history, or make it anew from git; with `distrust` every row of it is read first."""
        self.workspace.state.mkdir(parents=True, exist_ok=True)
        listed = self.workspace.listed()
        self.ledger = ledger_rebuild.open_ledger(self.workspace, self.notebook, listed, distrust)
        self.lane = Lane(self.ledger, self.workspace)
        self.verdicts = Verdicts(self.ledger, self.workspace, self.lane)
        self._results = ResultsFile(self.workspace.paths.results)
        self._taken = max([0, *listed.rows, *self.runs.numbers()])
        self._broken_off, self._behind = True, False  # behind: the branch, of what was kept

    def mend(self) -> None:
        """Open the history once more: it was damaged or deleted while we worked. Raises Unavailable."""
        old = self.ledger
        self._open(distrust=True)  # where this fails, the old one is what is asked, and found damaged, once more
        old.close()

    def close(self) -> None:
        """Let go of everything; a run under way goes on."""
        self.ledger.close()
        self.workspace.close()
        self._lock.release()

    @contextmanager
    def one_call(self) -> Generator[None]:
        """What is read of program.md in here is read once, when it is first asked for: a human may edit it meanwhile,
        and an answer, or a move, must not be made of two versions. So is what is read of the ledger between two writes.
        A call within a call is part of it.
        """
        before, self._load = self._load, cache(self._load)
        try:
            if self._is_foreign():
                self.mend()
            with self.ledger.one_call():
                yield
        finally:
            self._load = before

    def _is_foreign(self) -> bool:
        """Whether somebody else wrote into the ledger."""
        try:
            return self.ledger.foreign
        except LedgerDamaged:
            return True

    def program(self) -> Program:
        """program.md as it is now, or as it was first read in this call. Raises ProgramInvalid."""
        return self._load()

    def words(self) -> Words:
        """What refusals call things; a language model's while program.md cannot be read."""
        with suppress(ProgramInvalid):
            return words_of(self.program().task)
        return LANGUAGE_MODEL

    def budget_seconds(self) -> float:
        """Seconds of training a run. Raises ProgramInvalid."""
        task = self.program().task
        fixed = task.kind is Referee.KARPATHY  # by its prepare.py
        return task.budget_seconds if fixed else self.choices.budget_seconds or task.budget_seconds

    def incumbent(self) -> Candidate:
        """The candidate that was kept last; before there is one, what the study begins with."""
        return self.workspace.files(self.verdicts.base() or self.workspace.tip())

    @property
    def head_moved(self) -> str:
        """What somebody else did to the branch, and the operator's next step; empty while it is the incumbent's.

        One that was deleted counts as the incumbent's: `settle` makes it again.
        """
        try:
            self.verdicts.require_branch()
        except HeadMoved as moved:
            return str(moved)
        return ""

    def phase(self) -> Phase:
        """Where the night stands, after importing the result of a run that has ended meanwhile."""
        self.settle()
        return self.lane.phase()

    def settle(self) -> Experiment | None:
        """The lane's last run; if it has ended meanwhile, with its result imported, exactly once."""
        if self.ledger.gone or self.ledger.foreign:
            self.mend()
        elif self.workspace.refs.disturbed:
            heal(self.ledger, self.workspace, self.notebook)
        if self._broken_off or not self.workspace.worktree.exists():
            self._broken_off = False
            with self._whole():
                self.recover()
        elif not self.workspace.has_branch():
            with suppress(WorkspaceUnusable):  # the next move says so; results are imported all the same
                self.verdicts.restore_branch()
        if self._behind:
            self._behind = not self.verdicts.advance()
        last = self._settle()
        if told := self.verdicts.restart():
            self.notebook.add(told, idea=False, after=last.number if last else 0)
        return last

    def apply_patch(self, text: str, base_sha256: str = "", number: int = 0) -> AppliedPatch:
        """Change the candidate, or do once more what experiment `number` did: then `text` is empty.

        Raises Refusal; then nothing was changed.
        """
        require(self.phase(), Move.APPLY_PATCH, self.verdicts.fact(), self.words())
        self.verdicts.require_branch()
        base, incumbent = self.lane.candidate(), self.incumbent()
        after = self._reapplied(base, number, base_sha256) if number else self.lane.patched(base, text, base_sha256)
        self.replace(after)
        return AppliedPatch(incumbent, after, patch.diff(incumbent, after), base.sha256)

    def replace(self, candidate: Candidate) -> None:
        """Make this the candidate. Raises PatchRefused; then it is what it was."""
        self.verdicts.require_sound(candidate)
        self.lane.write(candidate)

    def run(self, description: str, hypothesis: str = "", source: str = "") -> Experiment:
        """Commit the candidate and start its run. Raises Refusal, RunnerUnavailable."""
        require(phase := self.phase(), Move.RUN_EXPERIMENT, self.verdicts.fact(), self.words())
        self.verdicts.require_branch()
        self.lane.require_unspoiled()
        many, last = len(self.executor.slots), self.ledger.page(1, 0)
        slot = self.executor.require_free(self.profile, lasts_of(last))
        task, budget = self.program().task, self.budget_seconds()
        plan = self.verdicts.plan(phase, task)
        if plan.of is None:
            self.verdicts.require_valid(plan.candidate, phase, self.words())
        audit_failures.require_sound(self.ledger, plan.candidate)
        code, dataset = plan.candidate.fingerprint, "" if task.sha256 else self.dataset.name
        if phase in (Phase.PATCHED, Phase.FAILED):
            comparisons.require_new(self.ledger, code, self.profile, dataset, budget, task.sha256, many > 1)
        key = new_key(self.executor)  # never written down: its public half, in the row, is enough after a restart
        attempt = Attempt(
            number=self.next_number(),
            baseline=phase in (Phase.NEW, Phase.BASELINE_FAILED),
            purpose=plan.purpose,
            of=plan.of,
            description=description,
            hypothesis=hypothesis,
            source=" ".join(source.split()) or None,
            parent=self.workspace.tip(),
            commit="",
            train_sha256=plan.candidate.sha256,
            fingerprint=code,
            compressed_bytes=plan.candidate.compressed_bytes,
            profile=self.profile,
            dataset=dataset,
            seed=draw_seed(),
            task=task.sha256,
            direction=task.direction if task.sha256 else None,
            scale=task.scale if task.sha256 else None,
            referee=trainer_hash(),
            signer=public_half(key) if key else None,
            budget_seconds=budget,
            started_at=utc_now(),
            slot=slot.id if many > 1 else None,
            concurrency=many if many > 1 else None,
        )
        attempt = attempt.model_copy(update={"commit": self.workspace.commit_attempt(attempt, plan.candidate)})
        made = None
        if attempt.of is None and not attempt.baseline:
            made = plan.candidate.changed_from(self.workspace.files(attempt.parent))
        request = self.request(attempt, plan.candidate, key).model_copy(update={"slot": slot})
        self.begin(attempt, made)
        self._start(request)
        return Experiment(attempt=attempt)

    def request(self, attempt: Attempt, candidate: Candidate, key: str) -> RunRequest:
        """What is asked of the executor. Raises WorkspaceUnusable."""
        task = self.program().task
        limits = RunLimits.of(task, self.choices, attempt.of is None, audit_failures.factor(self.ledger))
        limits = limits.beside(self.ledger.baseline(), attempt)
        if task.early_stop and attempt.of is None and not attempt.baseline:
            curves = [self.runs.of(good).curve(_CURVE_POINTS) for good in comparisons.good_runs(self.ledger, attempt)]
            limits = limits.model_copy(update={"ceiling": loss_ceiling(curves, attempt.budget_seconds)})
        root = self.workspace.root
        if task.kind is Referee.KARPATHY:
            require_pinned(root, self.workspace.modules(attempt.commit).get(PREPARE))
            limits = limits.beside_upstream(self.ledger.baseline(), attempt)
        terms = task.terms(*reach(task, root), audit_asked(segments.trust_so_far(self.ledger, task.sha256)))
        if terms is None:
            modules = self.workspace.modules(attempt.commit)
            return RunRequest(attempt=attempt, text=candidate.text, limits=limits, key=key, modules=modules)
        known = self.ledger.incumbent()
        if attempt.purpose is not Purpose.REFERENCE and known and segments.latest(self.ledger, known, task.sha256):
            limits = limits.model_copy(update={"proven": True})
        trees = {RunFile.TREE: attempt.commit}
        if terms.paired:
            trees[RunFile.INCUMBENT] = attempt.commit if attempt.baseline else self.verdicts.base() or attempt.commit

        def lay_out(folder: Path) -> None:
            for name, commit in trees.items():
                self.workspace.lay_out(commit, folder / name)
                bring(root, task.brought, folder / name)
                require_scripts(task, folder / name)

        return RunRequest(attempt=attempt, limits=limits, key=key, referee=task.kind, task=terms, trees=lay_out)

    def cancel(self, reason: str) -> None:
        """Ask for the end of the run. Raises Refusal, RunnerUnavailable."""
        require(self.phase(), Move.CANCEL_EXPERIMENT, words=self.words())
        if run := self.lane.run():
            self.executor.handle(run.number).cancel(reason)

    def keep(self, reason: str) -> Experiment:
        """Make the measured candidate the incumbent. Raises Refusal, HeadMoved."""
        require(self.phase(), Move.KEEP, self.verdicts.fact(), self.words())
        self.verdicts.require_branch()
        root = self.lane.measured()
        assert root is not None
        with self._whole():
            self._behind = not self.verdicts.keep(root, reason)
            self._results.write(self.ledger)
        return self.ledger.get(root.number) or root

    def discard(self, reason: str) -> Experiment | None:
        """Go back to the incumbent. Returns the experiment given up, None if the candidate was never measured."""
        require(phase := self.phase(), Move.DISCARD, self.verdicts.fact(), self.words())
        given_up = self.verdicts.given_up(phase)
        with self._whole():
            if given_up is not None:
                given_up = self.verdicts.decide(given_up.number, kept=False, reason=reason)
            self.verdicts.restore()
            self._results.write(self.ledger)
        return given_up

    def recover(self) -> None:
        """Finish the move that was broken off. Every step may be made twice."""
        self.workspace.prepare(self.verdicts.base())
        last = self._settle()
        if last is None or last.judgement is None:
            return
        self._behind = not self.verdicts.finish(last, self.program().task)
        self._tell_revocations()
        self._results.restore(self.ledger)

    def _tell_revocations(self) -> None:
        """Leave a note of each, once."""
        known = {note.text for note in self.notebook.notes}
        for by, text in revocations.told(self.ledger).items():
            if text not in known:
                self.notebook.add(text, idea=False, after=by)

    def next_number(self) -> int:
        """The number of the next run."""
        last = self.ledger.last()
        return max(last.number if last else 0, self._taken) + 1

    def begin(self, attempt: Attempt, made: Change | None) -> None:
        """Write the row of a run; the ref first, so that no `git gc` takes the commit of a row."""
        with self._whole():
            self.workspace.record(attempt.number, attempt.commit, self.workspace.recorded(attempt.number))
            self.ledger.begin(attempt, made)
            self.verdicts.archive(Experiment(attempt=attempt))

    def _reapplied(self, base: Candidate, number: int, base_sha256: str) -> Candidate:
        """`base` with what experiment `number` changed. Raises PatchRefused, StaleText, WorkspaceUnusable."""
        require_fresh(base, base_sha256)
        found = self.ledger.get(number)
        assert found is not None
        before, theirs = (self.workspace.files(commit) for commit in (found.attempt.parent, found.commit))
        return self.workspace.merge(before, base, theirs, f"experiment {number}")

    @contextmanager
    def _whole(self) -> Generator[None]:
        """What of these steps is broken off is finished by the next call."""
        try:
            yield
        except BaseException:
            self._broken_off = True
            raise

    def _load_program(self) -> Program:
        found = load(self._program_path, self._state)
        remember(self._state, found)
        return found

    def _settle(self) -> Experiment | None:
        run = self.lane.run()
        if (
            run is None
            or not run.running
            or (result := ending(self.executor, run.attempt, self.runs.of(run.number))) is None
        ):
            return run
        return self._import(run, result)

    def _start(self, request: RunRequest) -> None:
        try:
            self.executor.submit(request)
        except (RunnerUnavailable, WorkspaceUnusable) as error:  # else the row would stay without an end
            failed = Result(outcome=Outcome.ENV_FAIL, reason=error.problem, finished_at=utc_now())
            self._import(Experiment(attempt=request.attempt), failed)
            raise

    def _import(self, experiment: Experiment, result: Result) -> Experiment:
        ended = experiment.model_copy(update={"result": result})
        with self._whole():
            self._behind = not self.verdicts.receive(ended, self.program().task)
            self._tell_revocations()
            self._results.write(self.ledger)
        return self.ledger.get(experiment.number) or ended
