"""A command that prints its own number, or whose seconds or memory are the number.

    build     once a side, in the tree that the others then see
    checks    a gate: before the first run, and after the last one in what that has left
    command   as often as `repeats` says, each time in a fresh copy of what was built; where the task is paired, the
              incumbent's tree takes turns with the candidate's, in the order ABBA

The code under test runs in the process that tells the number: its trust is `printed` at most.
"""

import math
import re
import time
from contextlib import closing
from dataclasses import dataclass, field
from statistics import median

from trainer.commands.output import Ended
from trainer.commands.units import per_unit
from trainer.contract import ALL_FIGURES, PRINTED, MetricSource, RunFile, RunResult, Score, Spec, TaskSpec
from trainer.evaluators.metric_lines import MetricProblem, Printed
from trainer.evaluators.pairs import Pairs, candidate_first, middle
from trainer.evaluators.workbench import Side, Workbench
from trainer.run.clock import RunEnded, ending_of
from trainer.run.run_folder import RunFolder

# Exit codes of a shell: of a program that is not there, and before the number of the signal that has killed one.
_NOT_FOUND = 127
_SIGNALS = 128
_MISSING = re.compile(rb"^(?:/bin/)?sh: .*not found\s*$", re.MULTILINE)
_NO_MEMORY = ("MemoryError", "std::bad_alloc", "heap out of memory", "Cannot allocate memory", "OutOfMemoryError")
_HINTS = (  # what a program says where a guard stops it, and what helps
    (
        re.compile(r"SemLock|sem_open|/dev/shm"),
        " Memory that is shared by name is out of reach: use threads, pipes or subprocesses in place of Pool and Lock.",
    ),
    (
        re.compile(r"socket|resolve host|name resolution|getaddrinfo|ENOTFOUND|Network is unreachable"),
        " Commands have no network, unless program.md says `network: true`.",
    ),
)
_LEAST_LEFT = 0.05  # seconds: with less of the budget left no run is begun
_WHOLE = {"steps", "tokens", "parameters", "audits", "audit_factor", "threads"}  # figures kept as whole numbers
_WORDS = {"device", "torch", "compiler", "data", "unkillable", "gpu_held", "node_name"}  # and as words


@dataclass
class _Runs:
    """What the runs of one side have told."""

    numbers: list[float] = field(default_factory=list[float])  # one a run
    samples: list[float] = field(default_factory=list[float])  # all that were printed
    figures: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    cpu: list[float] = field(default_factory=list[float])
    wall: list[float] = field(default_factory=list[float])


class CommandEvaluator:
    """Runs one experiment; whatever happens, it comes back with an ending and leaves no process behind."""

    def __init__(self, run_folder: RunFolder, spec: Spec) -> None:
        self._run_folder, self._spec, self._task = run_folder, spec, spec.task or TaskSpec("")
        self._figures: dict[str, float | int | str | None] = {}
        self._guards: dict[str, str] = {}
        self._runs = {RunFile.TREE: _Runs(), RunFile.INCUMBENT: _Runs()}

    def run(self) -> RunResult:
        """The whole experiment. Raises nothing: every end is an outcome."""
        if self._spec.task is None:
            return RunResult("env_fail", "The run's spec has no task: was it written by another version?")
        started = time.monotonic()
        ending = ending_of(self._carried_out)
        self._figures["total_seconds"] = round(time.monotonic() - started, 3)
        ending.figures.update(self._figures)
        ending.guards.update(self._guards)
        return ending

    def _carried_out(self) -> Score:
        with closing(Workbench(self._run_folder, self._spec)) as self._bench:
            self._guards = self._bench.guards
            return self._score()

    def _score(self) -> Score:
        self._sides = [self._built(RunFile.TREE)]
        self._check(self._sides[0], "before")
        if self._task.paired:
            self._sides.append(self._built(RunFile.INCUMBENT))
        self._measure()
        self._check(self._sides[0], "after")
        return self._scored()

    def _built(self, name: RunFile) -> Side:
        side = self._bench.side(name)
        if self._task.build:
            self._require("build", "The build", side)
        self._bench.keep(side)
        return side

    def _check(self, side: Side, when: str) -> None:
        if self._task.checks:
            self._require("checks", "The checks" if when == "before" else "After the last run the checks", side)

    def _require(self, step: str, what: str, side: Side) -> None:
        """Run build or checks.

        Raises:
            RunEnded: they fail. The candidate can be mended; the incumbent's build went well once.
        """
        command, seconds, stage = {
            "build": (self._task.build, self._task.build_seconds, "building"),
            "checks": (self._task.checks, self._task.checks_seconds, "checking"),
        }[step]
        own = side.name is RunFile.TREE
        self._bench.enter(stage, seconds)
        self._bench.say(step if own else f"{step} of the incumbent")
        ended = self._bench.run(side, command, seconds=seconds, log=True)
        if ended.exit_code != 0:
            how = f"did not end within {seconds:g} s ({step}_seconds)" if ended.timed_out else _how(ended)
            whose = "" if own else " of the incumbent, which went well before,"
            raise RunEnded("refused" if own else "env_fail", f"{what}{whose} {how}.{_last(ended)}", ended.tail, step)
        self._bench.require_unchanged(side)

    def _measure(self) -> None:
        """All runs of the command, within the budget."""
        budget, repeats = self._spec.budget_seconds, self._task.repeats
        deadline = time.monotonic() + budget
        self._bench.enter("measuring", budget)
        count = repeats * len(self._sides)
        for repeat in range(repeats):
            sides = self._sides if candidate_first(repeat) else self._sides[::-1]
            for side in sides:
                done = sum(len(runs.numbers) for runs in self._runs.values())
                left = deadline - time.monotonic()
                self._bench.renew(side)
                if left < _LEAST_LEFT:
                    raise self._too_slow(done, count)
                title = f"run {repeat + 1} of {repeats}"
                self._bench.say(title if side.name is RunFile.TREE else f"{title}, of the incumbent")
                ended = self._bench.run(side, self._task.command, seconds=left, log=True)
                if ended.timed_out:
                    raise self._too_slow(done, count)
                self._take(side, ended)
                self._bench.steps = done + 1

    def _too_slow(self, done: int, count: int) -> RunEnded:
        told = f"{done} of {count} runs of the command ended within the {self._spec.budget_seconds:g} s"
        advice = "The command must be quicker, `budget_seconds` larger or `repeats` smaller."
        return RunEnded("timeout", f"{told} of `budget_seconds`. {advice}", cause="budget")

    def _take(self, side: Side, ended: Ended) -> None:
        """Note what one run told. Raises RunEnded: it failed, changed a file, or told no number."""
        if ended.exit_code != 0:
            raise self._failed(ended)
        self._bench.require_unchanged(side)
        runs, printed = self._runs[side.name], Printed(ended.stdout, ended.stderr)
        samples = self._numbers(ended, printed)
        if self._task.scale == "log" and samples[-1] <= 0:
            told = f"The number {self._task.metric} is {samples[-1]:g}, and `scale: log` compares numbers above 0."
            raise RunEnded("invalid", told, ended.tail, "metric")
        runs.numbers.append(samples[-1])
        runs.samples += samples
        runs.cpu.append(ended.cpu_seconds)
        runs.wall.append(ended.wall_seconds)
        for name, value in self._wanted(printed).items():
            runs.figures.setdefault(name, []).append(value)

    def _wanted(self, printed: Printed) -> dict[str, float]:
        """The further numbers that the task wants, as far as they are there."""
        if self._task.figures == (ALL_FIGURES,):
            return {" ".join((PRINTED, *words)).rstrip(): value for words, value in printed.told().items()}
        told = {name: printed.figure(name) for name in self._task.figures}
        return {name: value for name, value in told.items() if value is not None}

    def _failed(self, ended: Ended) -> RunEnded:
        if ended.out_of_memory:
            told = "The kernel ended the command, or a process of its, for lack of memory."
            return RunEnded("oom", f"{told}{_last(ended)}", ended.tail, "kernel_oom")
        if ended.exit_code == _NOT_FOUND and _MISSING.search(ended.stderr):
            told = "The command names a program that is not there, so nothing was judged."
            advice = "Install it, add its folder to PATH or to `link`, or correct `command` in program.md."
            return RunEnded("env_fail", f"{told}{_last(ended).removesuffix('.')}. {advice}", ended.tail, "no_command")
        outcome, cause = ("oom", "oom") if _starved(ended) else ("crashed", "exit_code")
        hint = "" if self._task.network else next((hint for words, hint in _HINTS if words.search(ended.tail)), "")
        return RunEnded(outcome, f"The command {_how(ended)}.{_last(ended)}{hint}", ended.tail, cause)

    def _numbers(self, ended: Ended, printed: Printed) -> list[float]:
        task = self._task
        match task.source:
            case MetricSource.CPU:
                return [ended.cpu_seconds * per_unit(task.source, task.unit)]
            case MetricSource.WALL:
                return [ended.wall_seconds * per_unit(task.source, task.unit)]
            case MetricSource.MEMORY:
                return [ended.peak_memory_mb * per_unit(task.source, task.unit)]
        try:
            return printed.samples(task.metric, task.unit)
        except MetricProblem as problem:
            told = f"The command printed {problem}."
            raise RunEnded("invalid", told, ended.tail, "metric") from problem

    def _scored(self) -> Score:
        task, runs = self._task, self._runs[RunFile.TREE]
        for name, values in {"cpu_seconds": runs.cpu, "wall_seconds": runs.wall, **runs.figures}.items():
            value = median(values)
            if name not in _WORDS:
                self._figures[name] = round(value) if name in _WHOLE else value
        self._figures["peak_memory_mb"] = round(self._bench.peak_memory_mb, 1)
        several = runs.numbers if len(runs.numbers) > 1 else runs.samples
        details: dict[str, float | int] = {"samples": len(runs.samples), "runs": len(runs.numbers)}
        details["spread"] = middle(several)[1]
        if task.paired:
            details |= self._compared()
        return Score(task.metric, median(runs.numbers), task.unit, "printed", details)

    def _compared(self) -> dict[str, float | int]:
        """Candidate and incumbent, by the pairs of their runs."""
        ours, theirs = (self._runs[name].numbers for name in (RunFile.TREE, RunFile.INCUMBENT))
        logs = self._task.scale == "log"
        pairs = Pairs(trimmed=self._task.source in (MetricSource.CPU, MetricSource.WALL))
        for place, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            pairs.add(math.log(one / other) if logs else one - other, candidate_first(place))
        found = pairs.estimate()
        stderr = found.stderr if math.isfinite(found.stderr) else _of_few(ours, theirs, logs)
        name = "log_ratio" if logs else "difference"
        return {name: found.mean, "stderr": stderr, "pairs": found.pairs, "incumbent": median(theirs)}


def _of_few(ours: list[float], theirs: list[float], logs: bool) -> float:
    """The standard error of a difference of so few pairs that it cannot be told from them: as large as they are."""
    told = [math.log(one / other) if logs else one - other for one, other in zip(ours, theirs, strict=True)]
    return max(map(abs, told))


def _how(ended: Ended) -> str:
    code = ended.exit_code or 0
    if code < 0:
        return f"was killed by signal {-code}"
    within = f", as of a program that signal {code - _SIGNALS} has killed" if _SIGNALS < code <= _SIGNALS + 64 else ""
    return f"ended with exit code {code}{within}"


def _last(ended: Ended) -> str:
    """The last line that it printed, as a sentence; the run's log has the others."""
    lines = [line.strip() for line in ended.tail.splitlines() if line.strip()]
    return f" Its last line: {lines[-1][:300]}" if lines else " It printed nothing."


def _starved(ended: Ended) -> bool:
    """Whether a program that has failed says in its last lines that it got no memory."""
    return any(words in ended.tail[-2000:] for words in _NO_MEMORY)
