"""Cases from a judge, put to one worker or to two in turns, until the result is clear, complete or out of time.

A pass is a set of cases from one seed, for workers that know none of them. Workers begin with practice, on cases of
another seed that do not count: times are taken once they no longer fall. In a measurement of times by pairs they are
replaced again and again, because two processes of the same code differ.

Where the judge reads the answers, a pass is a conversation with each side. It is put to its end, because a later
question may be what finds an earlier answer wrong: of one that is not over nothing counts.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from statistics import fmean

from trainer.commands.contestant import Contestant
from trainer.commands.examiner import Examiner
from trainer.commands.judge_process import PRACTICE, Drawn, JudgeTerms
from trainer.commands.units import per_unit
from trainer.contract import MetricSource, Score, Spec
from trainer.evaluators.pairs import BLOCK, MOST_PAIRS, Pairs, candidate_first, is_flat, jackknife, mean_of, middle
from trainer.processes import subtree
from trainer.processes.one_core import OneCore
from trainer.run.clock import RunEnded

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

    def __init__(self, spec: Spec, examiner: Examiner, terms: JudgeTerms, sides: Sequence[Contestant]):
        """`sides`: the candidate, then the incumbent where there is one."""
        assert spec.task is not None
        self._spec, self._task, self._examiner, self._terms = spec, spec.task, examiner, terms
        self._sides, self._candidate = sides, sides[0]
        self._paired, self._timed = len(sides) > 1, examiner.timed
        self._pairs = Pairs(self._timed, 1 if spec.task.direction == "higher" else -1)
        self._pending: list[tuple[dict[str, float], bool]] = []  # measured, of a conversation that is not over
        self._factor = per_unit(spec.task.source, spec.task.unit)
        self._started = time.monotonic()
        self._blocked = self._paired and self._timed
        scored = spec.task.source == MetricSource.SCORE
        # Whether a side has one number, of all it has answered: then the sides are compared by that, and not in pairs.
        self._whole = scored and (terms.has_total or terms.converses)
        self._cases = self._practised = self._drills = self._renewed = 0
        self._flat, self._repeats, self._stale = True, False, False
        self._core: OneCore | None = None

    def run(self, begin: Callable[[Sequence[Contestant]], None], step: Callable[[int], None]) -> Score:
        """All passes.

        Args:
            begin: gives each of some sides a new worker. step: called with the number of cases so far.

        Raises:
            RunEnded: an answer is wrong, a worker or the judge fails, or there is too little time.
        """
        self._started, self._begin, self._step = time.monotonic(), begin, step
        number, go_through = 0, self._conversation if self._terms.converses else self._pass
        while number < self._most_passes and go_through(number):
            number += 1
        return self._score()

    def figures(self) -> dict[str, float | int | str | None]:
        """What there is to tell beside the score, however the contest ended."""
        told: dict[str, float | int | str | None] = {n: fmean(values) for n, values in self._candidate.figures.items()}
        told |= {
            "cases": self._cases,
            "practice_cases": self._practised,
            "judge_seconds": round(self._examiner.judging, 3),
        }
        return told | {"setup_cpu_seconds": round(self._candidate.setup_cpu_seconds, 3), "warm": int(self._flat)}

    @property
    def _most_passes(self) -> float:
        if self._task.source == MetricSource.MEMORY:
            return self._task.repeats if self._task.repeats > 1 else _MEMORY_PASSES
        if self._paired:
            return 1 if self._terms.has_total or self._whole else math.inf
        return self._task.repeats

    @property
    def _most_pairs(self) -> int:
        return self._task.repeats if self._task.repeats > 1 else MOST_PAIRS

    def _new_workers(self) -> None:
        """Go on with workers that know no case, at their usual speed."""
        self._begin(self._sides)
        self._examiner.forget()
        self._stale = False
        self._core = self._same_core()
        if self._blocked:
            self._pairs.next_block()
        if self._timed or self._terms.case_cpu_seconds is not None:
            self._practise()
        self._renewed = len(self._pairs)

    def _practise(self) -> None:
        """Bring the workers to their usual speed, on cases that do not count."""
        until = time.monotonic() + _PRACTICE_SHARE * self._spec.budget_seconds
        if self._terms.converses:
            self._flat = self._rehearsed(until) and self._flat
            return
        questions, seconds = list[bytes](), dict.fromkeys([side.name for side in self._sides], 0.0)
        for _ in range(_PRACTICE if self._timed else 1):
            questions.append(self._drill())
            for name, taken in self._turn(dict.fromkeys(seconds, questions[-1]), counts=False).items():
                seconds[name] += taken
        self._practised += len(questions)
        if self._timed:
            self._flat = self._warmed_up(questions, seconds, until) and self._flat

    def _drill(self) -> bytes:
        """A question to practise on."""
        for _ in range(2):
            if self._drills and (question := self._examiner.case(PRACTICE)) is not None:
                return question
            self._drills += 1
            self._examiner.begin(f"practice {self._drills}", PRACTICE)
        raise self._no_case()

    def _rehearsed(self, until: float) -> bool:
        """Begin the same conversation again and again, until no side gets faster. Returns whether it came to that."""
        self._drills += 1
        rounds = {side.name: list[float]() for side in self._sides}
        for _ in range(_ROUNDS if self._timed else 1):
            self._examiner.begin(f"practice {self._drills}", PRACTICE)
            for side in reversed(self._sides):
                rounds[side.name].append(sum(self._begun(side)))
            if not self._timed or all(map(is_flat, rounds.values())):
                return True
            if time.monotonic() > until:
                break
        return False

    def _begun(self, side: Contestant) -> Iterator[float]:
        """The seconds of a side's first answers in a conversation."""
        for _ in range(_PRACTICE):
            drawn = self._examiner.draw(side, PRACTICE)
            if drawn is None or drawn.fresh:
                return
            answer, seconds = self._examiner.answer(side, drawn.question)
            self._examiner.reply(side, answer, counts=False, stream=PRACTICE)
            self._practised += 1
            yield seconds

    def _warmed_up(self, questions: list[bytes], seconds: dict[str, float], until: float) -> bool:
        """Ask the same again, round by round, until no side gets faster. Returns whether it came to that in time.

        Args:
            seconds: of the first round, by side. until: monotonic seconds.
        """
        rounds = {side.name: [seconds[side.name]] for side in self._sides}
        for _ in range(_ROUNDS):
            if time.monotonic() > until:
                break
            for side in reversed(self._sides):
                rounds[side.name].append(sum(self._repeated(side, questions)))
            self._practised += len(questions)
            if all(map(is_flat, rounds.values())):
                return True
        return False

    def _repeated(self, side: Contestant, questions: list[bytes]) -> Iterator[float]:
        """Ask one side all of it again. The seconds of each answer, which is judged as ever."""
        for place, question in enumerate(questions, start=1):
            answer, seconds = self._examiner.answer(side, question)
            self._examiner.score(side, question, answer, counts=False, back=len(questions) - place)
            yield seconds

    def _pass(self, number: int) -> bool:
        """Put one set of cases. Returns whether another one may follow."""
        self._examiner.begin(f"cases {number}")
        self._new_workers()
        before, most = self._cases, _MOST_SCORED if self._task.source == MetricSource.SCORE else _MOST_TIMED
        while self._cases - before < most:
            if self._out_of_time():
                self._require_enough()
                return False
            if self._blocked and len(self._pairs) - self._renewed >= BLOCK:
                self._new_workers()
            if (question := self._fresh()) is None:
                break
            self._turn(dict.fromkeys([side.name for side in self._sides], question), counts=True)
            self._settle()
            self._cases += 1
            self._step(self._cases)
            if self._paired and self._enough():
                return False
        if self._cases == before:
            raise self._no_case()
        if self._cases - before == _MOST_SCORED:
            raise self._examiner.too_many(_MOST_SCORED)
        self._take_memory()
        return True

    def _conversation(self, number: int) -> bool:
        """Put one conversation to each side. Returns whether another one may follow."""
        self._examiner.begin(f"cases {number}")
        if not number or self._stale or not self._blocked or len(self._pairs) - self._renewed >= BLOCK:
            self._new_workers()
        before = self._cases
        while drawn := self._drawn():
            if self._out_of_time():
                self._pending.clear()
                self._require_enough()
                return False
            if self._cases - before == _MOST_SCORED:
                raise self._examiner.too_many(_MOST_SCORED)
            if forgetful := [side for side in self._sides if side.name in drawn and drawn[side.name].fresh]:
                self._begin(forgetful)
                self._stale = True  # not at its usual speed, and no other one is there
            self._turn({name: one.question for name, one in drawn.items()}, self._may_count(drawn))
            self._cases += 1
            self._step(self._cases)
        if self._cases == before or (self._timed and not self._pending):
            raise self._no_case()
        self._settle()
        self._take_memory()
        return not (self._paired and self._enough())

    def _drawn(self) -> dict[str, Drawn]:
        """What the sides are asked next; nothing once all conversations are over.

        The incumbent's comes first: what the judge cannot do there is not the candidate's doing.
        """
        found = {side.name: self._examiner.draw(side) for side in reversed(self._sides)}
        return {name: one for name, one in found.items() if one is not None}

    def _may_count(self, drawn: Mapping[str, Drawn]) -> bool:
        """Whether the answers to these count; those whose time tells nothing are judged all the same."""
        if not self._timed:
            return True
        known = any(self._examiner.knows(one.question) for one in drawn.values())
        self._repeats = self._repeats or known
        return len(drawn) == len(self._sides) and not self._stale and not known

    def _out_of_time(self) -> bool:
        return time.monotonic() - self._started > self._spec.budget_seconds

    def _fresh(self) -> bytes | None:
        """The next question; where time counts, the next that no worker of this pass has in its memory."""
        for _ in range(_MOST_SCORED):
            question = self._examiner.case()
            if question is None or not self._timed or not self._examiner.knows(question):
                return question
            self._repeats = True
        raise self._no_case()

    def _turn(self, questions: Mapping[str, bytes], counts: bool) -> dict[str, float]:
        """Ask the sides, in the order of ABBA, and have the answers scored. Returns the seconds that they took.

        The incumbent's answer is scored first: what the judge then cannot score is the candidate's doing.
        """
        if self._core:
            self._core.hold(self._pids)
        first = candidate_first(len(self._pairs) + len(self._pending))
        answers, seconds, values = dict[str, bytes](), dict[str, float](), dict[str, float]()
        asked = [side for side in self._sides if side.name in questions]
        for side in asked if first else reversed(asked):
            answers[side.name], seconds[side.name] = self._examiner.answer(side, questions[side.name])
        for side in reversed(asked):
            if self._terms.converses:
                score = self._examiner.reply(side, answers[side.name], counts)
            else:
                score = self._examiner.score(side, questions[side.name], answers[side.name], counts)
            values[side.name] = seconds[side.name] * self._factor if self._timed else score
        if counts and self._task.source != MetricSource.MEMORY:
            self._pending.append((values, first))
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

    def _settle(self) -> None:
        """Let what was measured count."""
        for values, first in self._pending:
            self._take(values, first)
        self._pending.clear()

    def _take(self, values: Mapping[str, float], first: bool) -> None:
        for side in self._sides:
            if side.name in values:
                side.samples.append(values[side.name])
        if self._paired and len(values) == len(self._sides):
            both = (values[side.name] for side in self._sides)
            self._pairs.add(0.0 if self._whole else self._examiner.difference(*both), first)

    def _take_memory(self) -> None:
        """Of a pass, where memory counts."""
        if self._task.source == MetricSource.MEMORY:
            held = {side.name: side.memory_mb * self._factor for side in self._sides}
            self._take(held, candidate_first(len(self._pairs)))

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
        complete = self._task.source == MetricSource.SCORE and (not self._paired or self._whole)
        known = len(self._pairs) if self._paired else len(self._candidate.samples)
        if not complete and known >= (1 if self._task.source == MetricSource.MEMORY else _FEWEST):
            return
        budget = self._spec.budget_seconds
        told = f"The budget of {budget:g} s was over after {self._cases} cases"
        taken = self._examiner.judging
        judging = f" (the judge took {taken:.1f} s of it)" if taken > budget / 10 else ""
        endless = f" If cases() in {self._task.judge} never ends, the operator lets it end." if complete else ""
        raise RunEnded("timeout", f"{told}{judging}, before there were enough for a score.{endless}", cause="budget")

    def _score(self) -> Score:
        incumbent = self._summary(self._sides[1])[0] if self._paired else 0.0
        value, spread = self._summary(self._candidate)
        details: dict[str, float | int] = {"samples": len(self._candidate.samples), "spread": spread}
        if self._paired:
            difference, stderr = self._compared(value, incumbent)
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
        whole = self._examiner.total(side)
        if side is self._candidate:
            side.figures |= {name: [value] for name, value in whole.figures.items()}
        parts = self._leaving_out(side, len(side.samples))
        assert whole.score is not None
        return whole.score, jackknife(parts) if parts else 0.0

    def _compared(self, candidate: float, incumbent: float) -> tuple[float, float]:
        """The difference between the sides, whose own numbers these are, and its standard error."""
        if not self._whole:
            found = self._pairs.estimate()
            return found.mean, found.stderr if math.isfinite(found.stderr) else abs(found.mean)
        fewest = min(len(side.samples) for side in self._sides)
        theirs, ours = (self._leaving_out(side, fewest) for side in reversed(self._sides))
        parts = [self._examiner.difference(*pair) for pair in zip(ours, theirs, strict=True)]
        whole = self._examiner.difference(candidate, incumbent)
        return whole, jackknife(parts) if parts else abs(whole)

    def _leaving_out(self, side: Contestant, samples: int) -> list[float]:
        """The totals without one group of the cases each; none of a single case."""
        groups = min(_GROUPS, samples)
        if groups < 2:
            return []
        return [self._examiner.total(side, group, groups).score or 0.0 for group in range(groups)]

    def _no_case(self) -> RunEnded:
        if self._repeats:
            told = "cases() repeats its questions, which workers could answer from memory: draw each from the seed"
            return self._examiner.untimed(f"{told}, and more of them than the {_PRACTICE} to practise on")
        if self._cases:
            return self._examiner.untimed("cases() asks nothing but NEW_WORKERs, whose answers are not timed")
        return self._examiner.failed("cases() yields no case")
