"""From a command to a metric with its noise: a run that looks at what is printed, then some of the same commit."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from server.adopt import interview, numbers
from server.adopt.interview import Given, Question
from server.adopt.numbers import Guess, Number, Source
from server.adopt.task_fields import changed
from server.adopt.trial_runs import TrialRuns
from server.errors import WorkspaceUnusable
from server.records import Outcome, Progress, Result, Trust, Value
from server.scoring import effects
from server.scoring.paired_rule import Pairs, pairs_of
from server.task.definition import Task
from server.text import clip, printable
from trainer.contract import ALL_FIGURES, MetricSource, TaskSpec

_MOST_RUNS = 20
_LEAST_RUNS = 3
_SELVES = 3  # runs in turns of the commit against itself
_LIMITS = (30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
_SLACK = 3.0  # times as slow as now a candidate may be
_READ: dict[str, Source] = {"cpu": "cpu", "wall": "wall", "memory": "memory"}
_SHOWN = 8
_STEPS = {  # by the cause of a failure, what the operator does
    "no_command": "Install it, or link its folder with --link.",
    "budget": "Does it wait for input or need an argument? Give all of it with --command; --limit 1200 allows 1200 s.",
    "checks": "Name other checks with --checks, or none with --checks ''.",
    "build": "Correct --build.",
    "changed_file": "Let it write to new files, or into {out}.",
    "metric": "Name another number with --metric, or its unit with --unit.",
}
_STEP = "Try the command in a fresh clone of the repository, and give the full command with --command."
_HOME = "HOME"  # in what a command prints that looks for it


class Measured(Value):
    """A task that is ready to be written."""

    task: Task
    remark: str = ""  # of the noise, for who reads program.md


class Measuring:
    """That of one draft of a task."""

    def __init__(
        self,
        draft: Task,
        given: Given,
        runs: TrialRuns,
        ask: Callable[[Question], str],
        say: Callable[[str], None],
    ) -> None:
        self._task, self._given, self._runs, self._ask, self._say = draft, given, runs, ask, say
        self._other_seconds = 0.0  # of build and checks, in each run

    def unmeasured(self) -> Measured:
        """The task by answers alone. Raises WorkspaceUnusable: they do not make one."""
        self._say("Nothing was run, so the number and its noise are unknown until doctor and the baseline run.")
        usual = self._task.metric.name  # as another tool's workspace has it, or `metric`
        name = self._given.metric or self._ask(interview.question("metric", usual, "what the command prints"))
        guess = numbers.read_by_referee(_READ[name], self._given.unit or "") if name in _READ else numbers.guess(name)
        return Measured(task=self._with_metric(guess))

    def measured(self, replaceable: bool) -> Measured:
        """The task as it was found to work.

        Args:
            replaceable: the checks were proposed, and are left out if the commit itself fails them.

        Raises:
            WorkspaceUnusable: the command does not work, or prints no such number.
        """
        first = self._tried(replaceable)
        self._task = self._with_metric(self._metric(first))
        plan = self._plan(first)
        night = effects.night(plan, self._given.hours, self._other_seconds)
        self._task = changed(
            self._task, repeats=plan.repeats, paired=plan.paired, budget_seconds=self._limit(plan.seconds)
        )
        remark = ""
        if plan.error is not None and night.effect is not None:
            told = effects.effect_in_words(night.effect, self._task.measure, plan.level)
            remark = f"A study of {night.hours:g} hours can detect effects of about {told} and more."
            if not plan.error:
                remark = "Repeated runs were identical, so any effect can be detected."
            self._say(f"{remark} It has time for about {night.ideas} changes.")
        return Measured(task=self._task, remark=remark)

    def _tried(self, replaceable: bool) -> Result:
        """The first run, timed by the referee; what it prints is among its figures."""
        self._say(f"Running `{self._task.command}` once (Ctrl-C ends it) ...")
        began = time.monotonic()
        result = self._run(self._terms(source=MetricSource.WALL, unit="s", figures=(ALL_FIGURES,)))
        if result.cause == "checks" and result.outcome is Outcome.REFUSED and replaceable:
            self._say(
                f"{result.reason} They were only a proposal, so they are left out: name other checks with --checks."
            )
            self._task = changed(self._task, checks=None)
            return self._tried(replaceable=False)
        self._require_finished(result)
        assert result.score is not None
        self._other_seconds = max(time.monotonic() - began - result.score.value, 0.0)
        if result.trust is Trust.UNCONFINED:
            self._say(
                "This machine cannot confine commands: this command can do whatever your account can. doctor says why."
            )
        return result

    def _run(self, terms: TaskSpec) -> Result:
        return self._runs.run(self._task, terms, _ignore)

    def _terms(self, **other: object) -> TaskSpec:
        terms = self._task.terms(self._links())
        assert terms is not None
        return replace(terms, **other)  # pyright: ignore[reportArgumentType]

    def _links(self) -> tuple[tuple[str, str], ...]:
        root = self._runs.root
        return tuple((path, str(root / path)) for path in self._task.link if (root / path).exists())

    def _require_finished(self, result: Result) -> None:
        """Raises WorkspaceUnusable: a run has no score; the last lines that it printed are told before."""
        if result.outcome is Outcome.FINISHED:
            return
        for line in [line for line in result.traceback.splitlines() if line.strip()][-_SHOWN:]:
            self._say(f"  | {line}")
        step = _STEPS.get(result.cause, _STEP)
        if result.cause == "exit_code" and "usage" in result.traceback.lower():
            step = f"It needs arguments: give them, as in --command '{self._task.command} ARGUMENT'."
        if not self._given.home and any(word in result.traceback for word in (_HOME, str(Path.home()))):
            step += (
                " A run does not see your home folder: --home allows it, --link allows one folder of the repository."
            )
        if "network" in result.reason and not self._given.network:
            step += " --network allows it the network."
        raise WorkspaceUnusable(f"It does not work yet. {result.reason}", step)

    def _metric(self, first: Result) -> Guess:
        """Which number it is: an option's, or asked with the best one as default. Raises WorkspaceUnusable."""
        assert first.score is not None
        printed = numbers.printed_numbers(first.figures)
        wall, cpu = first.score.value, first.figures.number("cpu_seconds") or 0.0
        chosen = numbers.choose(printed)
        read = numbers.of_referee(cpu, wall)
        told = ", ".join(f"{one.name} {one.value:g}{one.unit and ' ' + one.unit}" for one in printed[:_SHOWN])
        self._say(f"It took {wall:.3g} s, and {cpu:.3g} s of CPU time. It printed {told or self._nothing()}.")
        told_before = self._task.metric.name if "metric" in self._task.model_fields_set else ""
        chosen = next((one for one in printed if one.name == told_before), chosen)
        default = chosen.name if chosen else read.source
        name = self._given.metric
        if name is None:
            name = self._ask(interview.question("metric", default, _why(chosen, printed))) or default
        if name in _READ and not any(one.name == name for one in printed):
            unit = self._given.unit or (read.unit if name != "memory" else "")
            return numbers.read_by_referee(_READ[name], unit)
        found = next((one for one in printed if one.name == name), None)
        if found is None:
            known = f"It printed {told}" if told else "It printed no number with a name"
            step = f"{known}: --metric takes one of these, or cpu or wall, which the referee reads."
            raise WorkspaceUnusable(f"The command printed no number named {name}.", step)
        return numbers.of_number(found)

    def _nothing(self) -> str:
        """What was printed where no number with a name was."""
        last = clip(printable(self._runs.last_line()))
        return (
            f"no number with a name, as METRIC ms=12.3 is one; {f'its last line: {last}' if last else 'nothing at all'}"
        )

    def _with_metric(self, guess: Guess) -> Task:
        """The draft with this metric and its direction, which an option says, or who is asked."""
        guess = self._as_told(guess)
        direction = self._given.direction
        if direction is None:
            about = "" if guess.sure else "guessed, as its name does not say: check it"
            direction = self._ask(interview.question("direction", guess.direction, about)) or guess.direction
        unit = guess.unit if self._given.unit is None else self._given.unit
        metric = {"name": guess.name, "unit": unit, "source": guess.source}
        return changed(self._task, metric=metric, direction=direction, scale=guess.scale)

    def _as_told(self, guess: Guess) -> Guess:
        """The same with what another tool's workspace says of this number, in place of what its name tells."""
        told, theirs = self._task.model_fields_set, self._task.metric
        if guess.source != "printed" or ("metric" in told and guess.name != theirs.name):
            return guess
        unit = theirs.unit or guess.unit
        if "direction" not in told:
            return guess.model_copy(update={"unit": unit})
        return guess.model_copy(update={"unit": unit, "direction": self._task.direction, "sure": True})

    def _plan(self, first: Result) -> effects.Plan:
        """How often to measure, by some runs of the commit; without them once."""
        assert first.score is not None
        seconds, began = first.score.value, time.monotonic()
        if not self._given.noise_seconds:
            return effects.Plan(seconds=seconds)
        scores = self._scores(self._given.noise_seconds / 2)
        if len(scores) < _LEAST_RUNS:
            return effects.Plan(seconds=seconds)
        metric = self._task.measure
        scatter = effects.scatter_of(scores, metric)
        plan = effects.alone(scatter, metric, seconds, self._given.hours)
        left = self._given.noise_seconds - (time.monotonic() - began)
        pairs = effects.pairs_to_try(scatter, plan, seconds, self._given.hours)
        if pairs and 2 * pairs * seconds * _SELVES <= left:
            plan = effects.in_turns(self._selves(pairs), plan, metric, seconds, self._given.hours)
        moved = "they are exactly alike"
        if not scatter.exact:
            moved = f"the noise of a score is about {effects.effect_in_words(scatter.sigma, metric, scatter.level)}"
        self._say(f"{len(scores)} runs of the same commit: {moved}.")
        how = f"pairs of runs in turns with the incumbent: {plan.repeats}" if plan.paired else f"runs: {plan.repeats}"
        self._say(f"Proposed for one score: {how}, {plan.seconds:.3g} s.")
        return plan

    def _scores(self, seconds: float) -> list[float]:
        """Of some runs, one after the other: as many as fit, three at least."""
        self._say("Running it several more times, to measure the noise ...")
        scores, began = list[float](), time.monotonic()
        while len(scores) < _MOST_RUNS:
            passed = time.monotonic() - began
            if len(scores) >= _LEAST_RUNS and passed * (1 + 1 / len(scores)) > seconds:
                break
            result = self._run(self._terms(repeats=1, paired=False, checks=""))
            self._require_finished(result)
            assert result.score is not None
            scores.append(result.score.value)
        return scores

    def _selves(self, pairs: int) -> list[Pairs]:
        """Runs in turns of the commit against itself."""
        self._say("The machine drifts: measuring in pairs with the same commit ...")
        found = list[Pairs]()
        for _ in range(_SELVES):
            result = self._run(self._terms(repeats=pairs, paired=True, checks=""))
            self._require_finished(result)
            assert result.score is not None
            if told := pairs_of(result.score, self._task.measure):
                found.append(told)
        return found

    def _limit(self, seconds: float) -> float:
        """`budget_seconds` for a measurement that takes so long today."""
        wanted = max(seconds, 1.0) * _SLACK
        return next((float(limit) for limit in _LIMITS if limit >= wanted), wanted)


def _why(chosen: Number | None, printed: list[Number]) -> str:
    if chosen is None:
        none = "no printed number says that it is a result" if printed else "it prints none"
        return f"{none}, so the referee measures the time, including the start"
    others = [one.name for one in printed if one is not chosen]
    return f"it also printed {', '.join(others[:_SHOWN])}" if others else ""


def _ignore(_: Progress) -> None:
    pass
