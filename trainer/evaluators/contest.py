"""Cases from a judge, put to one worker or to two in turns, until the result is clear, complete or out of time.

A pass is a set of cases from one seed, for workers that know none of them. Workers begin with practice, on cases of
another seed that do not count: times are taken once they no longer fall. In a measurement of times by pairs they are
replaced again and again, because two processes of the same code differ.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from statistics import fmean

from trainer.commands.contestant import Contestant
from trainer.commands.judge_process import JUDGE_STEP, PRACTICE, JudgeProcess, JudgeTerms
from trainer.commands.units import per_unit
from trainer.contract import MetricSource, Score, Spec
from trainer.evaluators.pairs import BLOCK, MOST_PAIRS, Pairs, candidate_first, is_flat, jackknife, mean_of, middle
from trainer.judging import WrongAnswer
from trainer.processes import subtree
from trainer.processes.one_core import OneCore
from trainer.run.clock import RunEnded

_TIMED = (MetricSource.CPU, MetricSource.WALL)
_PRACTICE = 4  # cases of a round
_ROUNDS = 12
_PRACTICE_SHARE = 0.25  # of the budget
_MOST_TIMED = 240  # cases in a pass: more change no median
_MOST_SCORED = 10_000
_FEWEST = 4  # pairs or times with which a measurement may end that is out of time
_MEMORY_PASSES = 3
_GROUPS = 20  # that a total is taken without, one after the other


class Contest:
    """One candidate against the judge, and where paired against the incumbent."""

    def __init__(self, spec: Spec, judge: JudgeProcess, terms: JudgeTerms, sides: Sequence[Contestant], alike: bool):
        """`sides`: the candidate, then the incumbent where there is one. `alike`: both have the same files."""
        assert spec.task is not None
        self._spec, self._task, self._judge, self._terms = spec, spec.task, judge, terms
        self._sides, self._candidate, self._alike = sides, sides[0], alike
        self._paired, self._timed = len(sides) > 1, spec.task.source in _TIMED
        self._pairs = Pairs(self._timed, 1 if spec.task.direction == "higher" else -1)
        self._factor = per_unit(spec.task.source, spec.task.unit)
        self._started, self._judging = time.monotonic(), 0.0
        self._asked: set[bytes] = set()
        self._right: set[bytes] = set()
        self._blocked = self._paired and self._timed
        self._cases = self._practised = self._drills = self._renewed = 0
        self._flat, self._repeats = True, False
        self._core: OneCore | None = None

    def run(self, begin: Callable[[], None], step: Callable[[int], None]) -> Score:
        """All passes.

        Args:
            begin: gives every side a new worker. step: called with the number of cases so far.

        Raises:
            RunEnded: an answer is wrong, a worker or the judge fails, or there is too little time.
        """
        self._started, self._begin, self._step = time.monotonic(), begin, step
        number = 0
        while number < self._most_passes and self._pass(number):
            number += 1
        return self._score()

    def figures(self) -> dict[str, float | int | str | None]:
        """What there is to tell beside the score, however the contest ended."""
        told: dict[str, float | int | str | None] = {n: fmean(values) for n, values in self._candidate.figures.items()}
        told |= {"cases": self._cases, "practice_cases": self._practised, "judge_seconds": round(self._judging, 3)}
        return told | {"setup_cpu_seconds": round(self._candidate.setup_cpu_seconds, 3), "warm": int(self._flat)}

    @property
    def _most_passes(self) -> float:
        if self._task.source == MetricSource.MEMORY:
            return self._task.repeats if self._task.repeats > 1 else _MEMORY_PASSES
        if self._paired:
            return 1 if self._terms.has_total else math.inf
        return self._task.repeats

    @property
    def _most_pairs(self) -> int:
        return self._task.repeats if self._task.repeats > 1 else MOST_PAIRS

    def _new_workers(self) -> None:
        """Go on with workers that know no case, at their usual speed."""
        self._begin()
        self._asked.clear()
        self._core = self._same_core()
        if self._blocked:
            self._pairs.next_block()
        if self._timed or self._terms.case_cpu_seconds is not None:
            self._practise()
        self._renewed = len(self._pairs)

    def _practise(self) -> None:
        """Bring the workers to their usual speed, on cases that do not count."""
        until = time.monotonic() + _PRACTICE_SHARE * self._spec.budget_seconds
        questions, seconds = list[bytes](), dict.fromkeys([side.name for side in self._sides], 0.0)
        for _ in range(_PRACTICE if self._timed else 1):
            questions.append(self._drill())
            for name, taken in self._turn(questions[-1], counts=False).items():
                seconds[name] += taken
        self._practised += len(questions)
        if self._timed:
            self._flat = self._warmed_up(questions, seconds, until) and self._flat

    def _drill(self) -> bytes:
        """A question to practise on."""
        for _ in range(2):
            if self._drills and (question := self._judge.case(PRACTICE)) is not None:
                return question
            self._drills += 1
            self._judge.begin(_seed(self._spec.seed, f"practice {self._drills}"), PRACTICE)
        raise self._no_case()

    def _warmed_up(self, questions: list[bytes], seconds: dict[str, float], until: float) -> bool:
        """Ask the same again, round by round, until no side gets faster. Returns whether it came to that in time.

        Args:
            seconds: of the first round, by side. until: monotonic seconds.
        """
        rounds = {side.name: [seconds[side.name]] for side in self._sides}
        for _ in range(_ROUNDS):
            if time.monotonic() > until:
                break
            for side in self._sides:
                rounds[side.name].append(sum(self._repeated(side, questions)))
            self._practised += len(questions)
            if all(map(is_flat, rounds.values())):
                return True
        return False

    def _repeated(self, side: Contestant, questions: list[bytes]) -> Iterator[float]:
        """Ask one side all of it again. The seconds of each answer, which is judged as ever."""
        for place, question in enumerate(questions, start=1):
            answer, seconds = self._answer(side, question)
            self._judged(side, question, answer, counts=False, back=len(questions) - place)
            yield seconds

    def _pass(self, number: int) -> bool:
        """Put one set of cases. Returns whether another one may follow."""
        self._judge.begin(_seed(self._spec.seed, f"cases {number}"))
        self._new_workers()
        before, most = self._cases, _MOST_SCORED if self._task.source == MetricSource.SCORE else _MOST_TIMED
        while self._cases - before < most:
            if time.monotonic() - self._started > self._spec.budget_seconds:
                self._require_enough()
                return False
            if self._blocked and len(self._pairs) - self._renewed >= BLOCK:
                self._new_workers()
            if (question := self._fresh()) is None:
                break
            self._turn(question, counts=True)
            self._cases += 1
            self._step(self._cases)
            if self._paired and self._enough():
                return False
        if self._cases == before:
            raise self._no_case()
        if self._cases - before == _MOST_SCORED:
            raise self._judges(f"cases() yields more than {_MOST_SCORED} cases: let it end")
        self._take_memory()
        return True

    def _fresh(self) -> bytes | None:
        """The next question; where time counts, the next that no worker of this pass has in its memory."""
        for _ in range(_MOST_SCORED):
            question = self._judge.case()
            if question is None or not self._timed:
                return question
            if hashlib.sha256(question).digest() not in self._asked:
                return question
            self._repeats = True
        raise self._no_case()

    def _turn(self, question: bytes, counts: bool) -> dict[str, float]:
        """Ask every side, in the order of ABBA, and score the answers. Returns the seconds that they took."""
        if self._core:
            self._core.hold(self._pids)
        first = candidate_first(len(self._pairs))
        answers, seconds, values = dict[str, bytes](), dict[str, float](), dict[str, float]()
        for side in self._sides if first else reversed(self._sides):
            answers[side.name], seconds[side.name] = self._answer(side, question)
        for side in self._sides:
            score = self._judged(side, question, answers[side.name], counts)
            values[side.name] = seconds[side.name] * self._factor if self._timed else score
        if counts and self._task.source != MetricSource.MEMORY:
            self._take(values, first)
        return seconds

    def _same_core(self) -> OneCore | None:
        """One core for the workers of both sides, where CPU seconds count: what else runs beside it slows both alike.

        Without it each keeps to a core of its own, and a busy neighbour of one makes a difference of 20 % and more.
        """
        if not self._paired or self._task.source != MetricSource.CPU:
            return None
        with suppress(OSError, ValueError):  # not on macOS
            return OneCore(self._candidate.pid, lambda: subtree.cpu_seconds(self._pids()))
        return None

    def _pids(self) -> list[int]:
        return subtree.below(side.pid for side in self._sides)

    def _take(self, values: dict[str, float], first: bool) -> None:
        for side in self._sides:
            side.samples.append(values[side.name])
        if self._paired:
            self._pairs.add(self._difference(*(values[side.name] for side in self._sides)), first)

    def _take_memory(self) -> None:
        """Of a pass, where memory counts."""
        if self._task.source == MetricSource.MEMORY:
            held = {side.name: side.memory_mb * self._factor for side in self._sides}
            self._take(held, candidate_first(len(self._pairs)))

    def _answer(self, side: Contestant, question: bytes) -> tuple[bytes, float]:
        """A side's answer, and its seconds by the clock of the metric."""
        if self._timed:
            self._asked.add(hashlib.sha256(question).digest())
        try:
            reply = side.ask(question)
        except RunEnded as ended:
            raise self._blamed(side, ended) from ended
        return reply.answer, side.seconds(reply)

    def _judged(self, side: Contestant, question: bytes, answer: bytes, counts: bool, back: int = 0) -> float:
        """The judge's score. Where time counts, an answer that it has taken is right whoever gives it."""
        key = hashlib.sha256(question + b"\n" + answer).digest()
        if self._timed and key in self._right:
            return 0.0
        begun = time.monotonic()
        try:
            verdict = self._judge.score(answer, side.name, counts, back)
        except WrongAnswer as wrong:
            ended = RunEnded("invalid", f"A wrong answer: {wrong}", cause="wrong_answer")
            raise self._blamed(side, ended) from wrong
        finally:
            self._judging += time.monotonic() - begun
        self._right.add(key)
        if counts:
            side.note(verdict.figures)
        return verdict.score if verdict.score is not None else 0.0

    def _blamed(self, side: Contestant, ended: RunEnded) -> RunEnded:
        """The same end; of an incumbent with other files it is no candidate's fault."""
        if side is self._candidate or self._alike or ended.outcome in ("cancelled", "env_fail"):
            return ended
        told = f"The incumbent, which was kept, failed on a case that the candidate could answer: {ended}"
        return RunEnded("env_fail", f"{told} The operator looks at the judge and at the incumbent.", cause="incumbent")

    def _difference(self, candidate: float, incumbent: float) -> float:
        if self._task.scale != "log" and not self._timed:
            return candidate - incumbent
        if min(candidate, incumbent) <= 0:
            raise self._judges("a score is 0 or negative, and `scale: log` in program.md needs scores above 0")
        return math.log(candidate / incumbent)

    def _enough(self) -> bool:
        if self._terms.has_total and not self._timed:
            return len(self._pairs) >= self._most_pairs
        return len(self._pairs) >= self._most_pairs or self._pairs.enough(self._least())

    def _least(self) -> float:
        """The smallest gain that counts, as a difference between the sides."""
        share = self._task.least_effect
        if self._task.scale != "log" and not self._timed:
            return share * abs(fmean(self._sides[1].samples))
        return math.log1p(share) if self._task.direction == "higher" else -math.log1p(-share)

    def _require_enough(self) -> None:
        """Raises RunEnded: the time is over, and too little was measured."""
        complete = self._task.source == MetricSource.SCORE and (not self._paired or self._terms.has_total)
        known = len(self._pairs) if self._paired else len(self._candidate.samples)
        if not complete and known >= (1 if self._task.source == MetricSource.MEMORY else _FEWEST):
            return
        budget = self._spec.budget_seconds
        told = f"The budget of {budget:g} s was over after {self._cases} cases"
        judging = f" (the judge took {self._judging:.1f} s of it)" if self._judging > budget / 10 else ""
        endless = f" If cases() in {self._task.judge} never ends, the operator lets it end." if complete else ""
        raise RunEnded("timeout", f"{told}{judging}, before there were enough for a score.{endless}", cause="budget")

    def _score(self) -> Score:
        value, spread = self._summary(self._candidate)
        details: dict[str, float | int] = {"samples": len(self._candidate.samples), "spread": spread}
        if self._paired:
            incumbent, _ = self._summary(self._sides[1])
            difference, stderr = self._compared()
            name = "log_ratio" if self._task.scale == "log" else "difference"
            if name == "difference" and self._timed:  # which are compared by their ratio all the same
                difference, stderr = incumbent * math.expm1(difference), incumbent * stderr
            details |= {name: difference, "stderr": stderr, "pairs": len(self._pairs), "incumbent": incumbent}
        return Score(self._task.metric, value, self._task.unit, "judged", details)

    def _summary(self, side: Contestant) -> tuple[float, float]:
        """A side's own number, and its standard error."""
        if self._task.source != MetricSource.SCORE:
            return middle(side.samples)
        if not self._terms.has_total:
            return mean_of(side.samples)
        whole = self._judge.total(side.name)
        if side is self._candidate:
            side.figures |= {name: [value] for name, value in whole.figures.items()}
        parts = self._leaving_out(side)
        assert whole.score is not None
        return whole.score, jackknife(parts) if parts else 0.0

    def _compared(self) -> tuple[float, float]:
        """The difference between the sides, and its standard error."""
        if self._task.source != MetricSource.SCORE or not self._terms.has_total:
            found = self._pairs.estimate()
            return found.mean, found.stderr if math.isfinite(found.stderr) else abs(found.mean)
        parts = [self._difference(*pair) for pair in zip(*map(self._leaving_out, self._sides), strict=True)]
        whole = self._difference(*(self._summary(side)[0] for side in self._sides))
        return whole, jackknife(parts) if parts else abs(whole)

    def _leaving_out(self, side: Contestant) -> list[float]:
        """The totals without one group of the cases each; none of a single case."""
        groups = min(_GROUPS, len(side.samples))
        if groups < 2:
            return []
        return [self._judge.total(side.name, group, groups).score or 0.0 for group in range(groups)]

    def _no_case(self) -> RunEnded:
        if self._repeats:
            told = "cases() repeats its questions, which workers could answer from memory: draw each from the seed"
            return self._judges(f"{told}, and more of them than the {_PRACTICE} to practise on")
        return self._judges("cases() yields no case")

    def _judges(self, what: str) -> RunEnded:
        told = f"The judge failed: {self._task.judge}: {what}."
        return RunEnded("env_fail", f"{told} {JUDGE_STEP.format(judge=self._task.judge)}", cause="judge")


def _seed(secret: int, use: str) -> int:
    """The judge's seed: from the run's, which was drawn in secret and makes the run repeatable."""
    return int.from_bytes(hashlib.sha256(f"{use} {secret}".encode()).digest()[:7], "big")
