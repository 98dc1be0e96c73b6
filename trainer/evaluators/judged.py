"""A task whose answers a judge scores: `referee: judged`.

Three kinds of processes: this one, which holds the clock and carries bytes; the judge, which is the author's and never
meets the candidate's code; and the workers, confined, which alone run that code. The judge draws a case from a secret
seed, the worker is asked, its clock stops at the answer's last byte, the judge scores the answer. Where a task is
paired, the incumbent's worker lives beside the candidate's and answers the same cases, in turns.

What a worker does before its first answer is set-up, limited and not measured. What it computes between two answers
counts for the later one. A wrong answer ends the run: there is no score for the rest.
"""

import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace

from trainer.commands import file_tree
from trainer.commands.contestant import Contestant
from trainer.commands.examiner import Examiner
from trainer.commands.judge_process import JudgeFailed, JudgeProcess
from trainer.contract import UNSCORED, RunFile, RunResult, Score, ScratchRole, Spec
from trainer.evaluators.contest import Contest
from trainer.evaluators.workbench import Side, Workbench
from trainer.processes import scratch
from trainer.run.clock import RunEnded, ending_of
from trainer.run.run_folder import RunFolder
from trainer.text import plain

_CANDIDATE = "candidate"
_INCUMBENT = "incumbent"
_LAST_WORDS = 2000  # bytes


class Judged:
    """Runs one candidate against a judge; whatever happens, it comes back with an ending."""

    def __init__(self, run_folder: RunFolder, spec: Spec) -> None:
        assert spec.task is not None
        self._run_folder, self._spec, self._task = run_folder, spec, spec.task
        self._figures: dict[str, float | int | str | None] = {}
        self._guards: dict[str, str] = {}

    def run(self) -> RunResult:
        """The whole run. Raises nothing: every end is an outcome."""
        started = time.monotonic()
        ending = ending_of(self._carried_out)
        if ending.outcome == "crashed" and not ending.traceback:
            ending = replace(ending, traceback=self._last_words())
        self._figures["total_seconds"] = round(time.monotonic() - started, 3)
        ending.figures.update(self._figures)
        ending.guards.update(self._guards)
        return ending

    def _carried_out(self) -> Score:
        with closing(Workbench(self._run_folder, self._spec)) as bench:
            self._guards = bench.guards
            return self._run(bench)

    def _last_words(self) -> str:
        """The end of the run's log: what a worker that crashed has printed, and nearly always why."""
        with suppress(OSError):
            return plain(self._run_folder.log.read_bytes()[-_LAST_WORDS:].decode("utf-8", "replace"))
        return ""

    def _run(self, bench: Workbench) -> Score:
        names = {_CANDIDATE: RunFile.TREE} | ({_INCUMBENT: RunFile.INCUMBENT} if self._task.paired else {})
        sides = {name: bench.side(file) for name, file in names.items()}
        for name, side in sides.items():
            self._build(bench, name, side)
        own = scratch.make(self._run_folder.folder, ScratchRole.JUDGE)
        tree = self._run_folder.folder / RunFile.TREE
        file_tree.link(tree, self._task.links)  # what git does not have is for the judge as well
        try:
            with closing(JudgeProcess(tree, own, self._spec, bench.watch)) as judge:
                bench.spared.add(judge.pid)
                score = self._measure(bench, judge, sides)
        finally:
            with suppress(OSError):
                scratch.remove(own)
        for side in sides.values():
            bench.require_unchanged(side)
        return score

    def _build(self, bench: Workbench, name: str, side: Side) -> None:
        """Run the build command in a side. Raises RunEnded: `refused`, the candidate does not build."""
        if not self._task.build:
            return
        bench.enter("building", self._task.build_seconds)
        ended = bench.run(side, self._task.build, seconds=self._task.build_seconds, log=True)
        bench.require_unchanged(side)
        if ended.exit_code == 0:
            return
        how = (
            "did not end within `build_seconds` of program.md"
            if ended.timed_out
            else f"ended with exit code {ended.exit_code}"
        )
        lines = ended.tail.strip().splitlines()
        said = f": {lines[-1][:200]}" if lines else ""
        if name == _INCUMBENT:
            told = f"The incumbent was built before, and now its build {how}{said}"
            raise RunEnded("env_fail", f"{told}. The operator looks at the machine.", ended.tail, "build")
        raise RunEnded("refused", f"The build {how}{said}", ended.tail, "build")

    def _measure(self, bench: Workbench, judge: JudgeProcess, sides: dict[str, Side]) -> Score:
        terms = judge.load()
        contestants = [Contestant(name, self._task.source, terms, self._spec.setup_seconds) for name in sides]
        alike = len(sides) < 2 or _alike(*sides.values())
        contest = Contest(self._spec, Examiner(self._spec, judge, contestants, alike), terms, contestants)

        def begin(beginning: Sequence[Contestant]) -> None:
            left = [contestant.leave() for contestant in beginning]
            if any(left):
                bench.end_all()  # what a worker has left behind works for no later one
            for contestant in beginning:
                contestant.meet(bench.worker(sides[contestant.name], self._task.worker))

        def step(cases: int) -> None:
            bench.steps = cases
            bench.watch()

        bench.enter("measuring", self._spec.budget_seconds)
        try:
            return contest.run(begin, step)
        except RunEnded as ended:
            _tell_operator(ended, judge)
            raise
        finally:
            for contestant in contestants:
                contestant.leave()
            self._figures |= contest.figures() | {"peak_memory_mb": contestants[0].peak_memory_mb}


def _tell_operator(ended: RunEnded, judge: JudgeProcess) -> None:
    """Print, into supervisor.log, why the judge has failed: of a candidate's run the agent is told less."""
    if isinstance(ended.__cause__, JudgeFailed):
        print(f"{ended.__cause__}\n{ended.__cause__.traceback}")  # noqa: T201
    if ended.cause in ("judge", UNSCORED) and judge.printed.strip():
        print(judge.printed)  # noqa: T201


def _alike(one: Side, other: Side) -> bool:
    """Whether both sides have the same files, as where the baseline is measured against itself."""
    states = [{name: (state.content, state.runnable) for name, state in side.files.items()} for side in (one, other)]
    return states[0] == states[1]
