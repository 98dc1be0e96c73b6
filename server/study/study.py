"""One study: the server's mutable object, where workspace, executor and ledger meet.

Each method is one move. It runs under the app's lock, in a worker thread. The order of a move is always: commit object,
ledger row, branch, file. If a move breaks off, because the server is killed or the disk fails, `recover` finishes it
first: when the server starts again, or with the next call.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from server.errors import LedgerDamaged, ProgramInvalid, Refusal, RunnerUnavailable, WorkspaceUnusable
from server.foreign.load import load, prepare
from server.history import audit_failures, revocations
from server.history.export import ResultsFile
from server.history.notes import Notebook
from server.locks import RepositoryLock, lock_path
from server.paths import Home
from server.records import MAIN, Attempt, Experiment, Outcome, Result
from server.runs.executor import Engine, RunRequest, RunSite, Slot, SlotRequest, ending, new_key, nodes_of
from server.runs.hardware import Hardware, probe
from server.runs.local_executor import LocalExecutor
from server.runs.profile_choice import as_torch_sees_it, default_profile
from server.runs.run_folder import RunFolders
from server.runs.spawn import require_guards
from server.serve_options import ServeOptions
from server.source import patch
from server.source.candidate import Candidate
from server.source.language import Change
from server.source.patch import AppliedPatch
from server.starting.request import RequestMaker, RunWords, Terms
from server.starting.slots import Slots
from server.study import ledger_rebuild
from server.study.git_repair import repair_refs
from server.study.lane import Lane, Lanes, what_may_change
from server.study.phase import Move, Phase, require, require_unscored
from server.study.sweep_queue import SweepQueue
from server.study.verdicts import Verdicts
from server.task.dataset import find
from server.task.program import Program, remember
from server.task.task_words import words_of
from server.task.words import LANGUAGE_MODEL, Words
from trainer.contract import CPU_PROFILES, Referee, utc_now

_REBASED = (Phase.STALE, Phase.PATCHED, Phase.FAILED)  # if the incumbent has moved since


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
        self._load: Callable[[], Program] = lambda: remember(self._state, load(self._program_path, self._state))
        self.choices = choices or ServeOptions()
        self.hardware: Hardware = nodes_of(engine, workspace, self.choices.profile) or as_torch_sees_it(probe())
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
        known, files = self.ledger.incumbent() or self.ledger.last(), self.workspace.files(self.workspace.tip())
        last, text = known.attempt.profile if known else "", files.get(self.workspace.file, "")
        return default_profile(self.hardware, last, text)

    def _open(self, distrust: bool = False) -> None:
        """Open the history, or make it anew from git; with `distrust` every row of it is read first."""
        self.workspace.state.mkdir(parents=True, exist_ok=True)
        listed = self.workspace.listed()
        self.ledger = ledger_rebuild.open_ledger(self.workspace, self.notebook, listed, distrust)
        self.lanes = Lanes(self.ledger, self.workspace)
        self.lane = self.lanes.main
        self.verdicts = Verdicts(self.ledger, self.workspace, self.lanes)
        self.slots = Slots(self.ledger, self.executor, self.runs)
        self._requests = RequestMaker(self.workspace, self.ledger, self.runs, self.choices, prepare)
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
        self._lock.release()
        self.workspace.close(pack=True)  # git has locks of its own

    @contextmanager
    def one_call(self) -> Generator[None]:
        """Read program.md once in this block, and the ledger once between two writes: a human may edit program.md
        meanwhile, and an answer, or a move, must not mix two versions. A call within a call is part of it.
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
        with suppress(LedgerDamaged):
            return self.ledger.foreign
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
        """What somebody else did to the branch, and the operator's next step; empty while it is the incumbent's."""
        return self.verdicts.head_moved()

    def phase(self, lane: str = MAIN) -> Phase:
        """Where a lane stands, after importing the results of runs that have ended meanwhile."""
        self.settle()
        return self.lanes.at(lane).phase()

    def settle(self) -> Experiment | None:
        """The last run; whatever has ended meanwhile, in any lane, has its result imported, exactly once."""
        self.repair()
        last = self._settle()
        self.lanes.follow()
        if told := self.verdicts.restart():
            self.notebook.add(told, idea=False, after=last.number if last else 0)
        return last

    def repair(self) -> None:
        """Finish what was broken off, and mend what others have damaged, before anything else is done."""
        if self.ledger.gone or self.ledger.foreign:
            self.mend()
        elif self.workspace.refs.disturbed:
            repair_refs(self.ledger, self.workspace, self.notebook)
        if self._broken_off or not self.workspace.worktree.exists():
            self._broken_off = False
            with self._whole():
                self.recover()
        elif not self.workspace.has_branch():
            with suppress(WorkspaceUnusable):  # the next move says so; results are imported all the same
                self.verdicts.restore_branch()
        if self._behind:
            self._behind = not self.verdicts.advance()

    def apply_patch(
        self, text: str, base_sha256: str = "", number: int = 0, lane: str = MAIN, agent: str = ""
    ) -> AppliedPatch:
        """Change a lane's candidate, or do again what experiment `number` did, in place of a text. Raises Refusal."""
        phase, at = self.phase(lane), self.lanes.at(lane)
        require(phase, Move.APPLY_PATCH, self.verdicts.fact(at), self.words(), at.id)
        self.verdicts.require_branch()
        self.lanes.make_room(at.id, agent)
        base = at.candidate()
        before = self.workspace.files(at.base()) if at.behind else self.incumbent()
        after = at.reapplied(base, number, base_sha256) if number else at.patched(base, text, base_sha256)
        self.replace(after, at)
        return AppliedPatch(before, after, patch.diff(before, after), base.sha256)

    def replace(self, candidate: Candidate, lane: Lane | None = None) -> None:
        """Make this a lane's candidate. Raises PatchRefused; then it is what it was."""
        self.verdicts.require_sound(candidate)
        (lane or self.lane).write(candidate)

    def run(
        self, description: str, hypothesis: str = "", lane: str = MAIN, agent: str = "", source: str = ""
    ) -> Experiment:
        """Commit a lane's candidate and start its run, or queue it where no slot is free.

        What was built on an earlier incumbent is brought to the one of now. Raises Refusal, RunnerUnavailable.
        """
        phase, at = self.phase(lane), self.lanes.at(lane)
        require(phase, Move.RUN_EXPERIMENT, self.verdicts.fact(at), self.words(), at.id)
        self.verdicts.require_branch()
        at.require_unspoiled()
        slot = None if self.slots.waiting() or not self.slots.vacant() else self.slots.free(self.profile)
        return self._commission(at, phase, RunWords(description, hypothesis, source, agent), slot)

    def start(self, row: Experiment) -> None:
        """Start a run that waits. Raises RunnerUnavailable: it waits on; Unavailable."""
        incumbent, slot = self.ledger.incumbent(), self.slots.free(self.profile)
        if incumbent and row.attempt.parent != incumbent.commit:
            told = f"The incumbent changed to experiment {incumbent.number} while this run waited."
            return self._overtake(row, slot, told)
        key = new_key(self.executor)
        attempt = self._terms().started(row.attempt, slot, key)
        request = self.request(attempt, self.workspace.files(attempt.commit), key)
        with self._whole():
            self.verdicts.archive(self.ledger.start(attempt))
        self._start(request.model_copy(update={"slot": slot}))

    def _overtake(self, row: Experiment, slot: Slot, told: str) -> None:
        """End a row that waits for a comparison with an incumbent of before; a new candidate goes on in a new row."""
        lane, attempt = self.lanes.of(row), row.attempt
        run = lane.run()
        if attempt.of is not None:
            return self.refuse(row, f"{told} Its result would no longer decide anything.")
        if run and run.number == row.number:  # else a server was killed in the middle of this
            words = RunWords.of(attempt)
            try:
                run = self._commission(lane, Phase.PATCHED, words, slot)
            except Refusal as refused:
                return self.refuse(row, f"{told} {refused.problem}")
        on = run.number if run else 0
        self.refuse(row, f"{told} Its change was applied to the new incumbent, and continues as experiment {on}.")

    def refuse(self, row: Experiment, why: str, outcome: Outcome = Outcome.REFUSED) -> None:
        """End a run that was never started."""
        self._import(row, Result(outcome=outcome, reason=why, finished_at=utc_now()))

    def _commission(self, lane: Lane, phase: Phase, words: RunWords, slot: Slot | None) -> Experiment:
        """Commit a candidate, and start its run in the slot; None: it waits for one."""
        if phase in _REBASED and lane.behind:
            with self._whole():
                phase = self.verdicts.bring_up(lane)
        plan = self.verdicts.plan(phase, self.program().task, lane)
        if plan.of is None:
            self.verdicts.require_valid(plan.candidate, phase, self.program().task, self.words())
        audit_failures.require_sound(self.ledger, plan.candidate)
        terms, code = self._terms(), plan.candidate.fingerprint
        if phase in (Phase.PATCHED, Phase.FAILED):
            lane.require_new(code, *terms.asked)
        key = new_key(self.executor) if slot else ""  # never written down: its public half, in the row, is enough
        attempt = terms.attempt(words, slot, key).model_copy(
            update={
                "number": self.next_number(),
                "baseline": phase in (Phase.NEW, Phase.BASELINE_FAILED),
                "purpose": plan.purpose,
                "of": plan.of,
                "parent": self.workspace.tip(),
                "train_sha256": plan.candidate.sha256,
                "fingerprint": code,
                "compressed_bytes": plan.candidate.compressed_bytes,
                "lane": None if lane.id == MAIN else lane.id,
            }
        )
        attempt = attempt.model_copy(update={"commit": self.workspace.commit_attempt(attempt, plan.candidate)})
        made = None
        if attempt.of is None and not attempt.baseline:
            made = plan.candidate.changed_from(self.workspace.files(attempt.parent))
        request = self.request(attempt, plan.candidate, key) if slot else None
        self.begin(attempt, made)
        if request:
            self._start(request.model_copy(update={"slot": slot}))
        return Experiment(attempt=attempt)

    def _terms(self) -> Terms:
        task = self.program().task
        dataset = "" if task.sha256 else self.dataset.name
        return Terms.of(task, self.profile, dataset, self.budget_seconds(), len(self.executor.slots))

    def request(self, attempt: Attempt, candidate: Candidate, key: str) -> RunRequest:
        """What is asked of the executor. Raises WorkspaceUnusable."""
        base = self.verdicts.base() or attempt.commit
        return self._requests.make(self.program().task, attempt, candidate, base).model_copy(update={"key": key})

    def cancel(self, reason: str, lane: str = MAIN) -> None:
        """Ask for the end of a lane's run. Raises Refusal, RunnerUnavailable."""
        require(self.phase(lane), Move.CANCEL_EXPERIMENT, words=self.words(), lane=lane)
        if run := self.lanes.at(lane).run():
            if run.queued:
                self.refuse(run, f"cancelled in the queue: {reason}", Outcome.CANCELLED)
            else:
                require_unscored((handle := self.executor.handle(run.number)).progress().stage, run.number)
                handle.cancel(reason)

    def keep(self, reason: str, lane: str = MAIN, agent: str = "") -> Experiment:
        """Make a lane's measured candidate the incumbent. Raises Refusal, HeadMoved."""
        phase, at = self.phase(lane), self.lanes.at(lane)
        require(phase, Move.KEEP, self.verdicts.fact(at), self.words(), at.id)
        self.verdicts.require_branch()
        root = at.measured()
        assert root is not None
        with self._whole():
            self._behind = not self.verdicts.keep(root, reason, agent)
            self._results.write(self.ledger)
        return self.ledger.get(root.number) or root

    def discard(self, reason: str, lane: str = MAIN, agent: str = "") -> Experiment | None:
        """Go back to the incumbent. Returns the experiment given up, None if the candidate was never measured."""
        phase, at = self.phase(lane), self.lanes.at(lane)
        require(phase, Move.DISCARD, self.verdicts.fact(at), self.words(), at.id)
        given_up = self.verdicts.given_up(phase, at)
        with self._whole():
            if given_up is not None:
                given_up = self.verdicts.decide(given_up.number, False, reason, agent)
            self.verdicts.restore(at)
            self._results.write(self.ledger)
        return given_up

    def recover(self) -> None:
        """Finish the move that was broken off. Every step may be made twice."""
        if self.workspace.prepare(self.verdicts.base()):
            self.lanes.main.bring_back()
        lanes = self.lanes.mount()
        last = self._settle()
        if last is None or (last.judgement is None and len(lanes) == 1):
            return
        self._behind = not self.verdicts.finish(self.program().task)
        self._tell_revocations()
        self._results.restore(self.ledger)

    def _tell_revocations(self) -> None:
        """Leave a note of each, once."""
        for by, text in revocations.messages(self.ledger).items():
            if text not in {note.text for note in self.notebook.notes}:
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

    @contextmanager
    def _whole(self) -> Generator[None]:
        """If these steps are broken off, the next call finishes them."""
        try:
            yield
        except BaseException:
            self._broken_off = True
            raise

    def _settle(self) -> Experiment | None:
        for run in self.ledger.unfinished():
            if not run.queued and (result := ending(self.executor, run.attempt, self.runs.of(run.number))):
                self._import(run, result)
        return self.ledger.last()

    def _start(self, request: RunRequest) -> None:
        try:
            self.executor.submit(request)
        except (RunnerUnavailable, WorkspaceUnusable) as error:  # else the row would stay without an end
            failed = Result(outcome=Outcome.ENV_FAIL, reason=error.problem, finished_at=utc_now())
            self._import(Experiment(attempt=request.attempt), failed)
            raise

    def _import(self, experiment: Experiment, result: Result) -> None:
        ended = experiment.model_copy(update={"result": result})
        with self._whole():
            self._behind = not self.verdicts.receive(ended, self.program().task)
            self._tell_revocations()
            self._results.write(self.ledger)
