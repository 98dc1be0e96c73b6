"""Puts a judge's questions to the sides of a contest, has the answers scored, and says whose fault a failure is.

What the judge cannot score of the candidate, and can score of the incumbent on the same case, is the candidate's doing;
where there is no incumbent beside it, so is what this judge has coped with in the baseline's run. It is never put down
to the machine: a candidate could choose such an end. All else that the judge does is the operator's to mend.
"""

import hashlib
import math
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from trainer.commands.contestant import Contestant
from trainer.commands.judge_process import CASES, JUDGE_STEP, Drawn, JudgeFailed, JudgeProcess, Verdict
from trainer.contract import UNSCORED, MetricSource, Spec
from trainer.judging import WrongAnswer
from trainer.run.clock import RunEnded

TIMED = (MetricSource.CPU, MetricSource.WALL)


class Examiner:
    """That of one run."""

    def __init__(self, spec: Spec, judge: JudgeProcess, sides: Sequence[Contestant], alike: bool) -> None:
        """`sides`: the candidate, then the incumbent where there is one. `alike`: both have the same files."""
        assert spec.task is not None
        self._spec, self._task, self._judge = spec, spec.task, judge
        self._candidate, self._alike, self._paired = sides[0], alike, len(sides) > 1
        self._copes = not alike if self._paired else spec.proven
        self.timed = spec.task.source in TIMED
        self.judging = 0.0  # seconds that the judge took for answers
        self._asked: set[bytes] = set()
        self._right: set[bytes] = set()
        self._spoken: set[tuple[str, str]] = set()  # stream and side, where the judge has had an answer

    def begin(self, use: str, stream: str = CASES) -> None:
        """Begin a stream of cases, CASES or PRACTICE, from a seed for this use. Raises RunEnded."""
        self._spoken = {one for one in self._spoken if one[0] != stream}
        self._judge.begin(_seed(self._spec.seed, use), stream)

    def case(self, stream: str = CASES) -> bytes | None:
        """The next question for all sides; None after the last. Raises RunEnded."""
        return self._judge.case(stream)

    def draw(self, side: Contestant, stream: str = CASES) -> Drawn | None:
        """The next question of a side's own conversation, which is told that side's last answer; None after its end.

        Raises:
            RunEnded: the judge finds that answer wrong, or fails.
        """
        with self._weighed(side, (stream, side.name) in self._spoken):
            return self._judge.draw(stream, side.name)

    def knows(self, question: bytes) -> bool:
        """Whether somebody was asked this since `forget`, so that a worker may have the answer in its memory."""
        return _hash(question) in self._asked

    def forget(self) -> None:
        """All workers are new."""
        self._asked.clear()

    def answer(self, side: Contestant, question: bytes) -> tuple[bytes, float]:
        """A side's answer, and its seconds by the clock of the metric. Raises RunEnded."""
        if self.timed:
            self._asked.add(_hash(question))
        try:
            reply = side.ask(question)
        except RunEnded as ended:
            raise self._blamed(side, ended) from ended
        return reply.answer, side.seconds(reply)

    def score(self, side: Contestant, question: bytes, answer: bytes, counts: bool, back: int = 0) -> float:
        """The judge's score of an answer to the last case, or to one before it. Raises RunEnded.

        Where time counts, an answer that it has taken is right whoever gives it.
        """
        key = _hash(question + b"\n" + answer)
        if self.timed and key in self._right:
            return 0.0
        with self._weighed(side):
            verdict = self._judge.score(answer, side.name, counts, back)
        self._right.add(key)
        return self._noted(side, verdict, counts)

    def reply(self, side: Contestant, answer: bytes, counts: bool, stream: str = CASES) -> float:
        """The same for a side's own conversation, which goes on with this answer. Raises RunEnded."""
        with self._weighed(side):
            verdict = self._judge.score(answer, side.name, counts)
        self._spoken.add((stream, side.name))
        return self._noted(side, verdict, counts)

    def total(self, side: Contestant, without: int = 0, of: int = 0) -> Verdict:
        """The score of all counted answers of a side, or of those but one group. Raises RunEnded."""
        with self._weighed(side):
            return self._judge.total(side.name, without, of)

    def difference(self, candidate: float, incumbent: float) -> float:
        """How far two scores are apart; of times and on a log scale, the logarithm of their ratio. Raises RunEnded."""
        if self._task.scale != "log" and not self.timed:
            return candidate - incumbent
        if incumbent > 0 >= candidate and self._copes:
            told = f"The judge gives the candidate a score of {candidate:g} and the incumbent one of {incumbent:g}"
            raise RunEnded("invalid", f"{told}; `scale: log` in program.md compares scores above 0.", cause=UNSCORED)
        if min(candidate, incumbent) <= 0:
            raise self.failed("a score is 0 or negative, and `scale: log` in program.md needs scores above 0")
        return math.log(candidate / incumbent)

    def too_many(self, most: int) -> RunEnded:
        """The end of a run in which there are more than so many cases."""
        told = f"The conversation with the candidate did not end after {most} questions."
        return self._by_answers(told, f"cases() yields more than {most} cases: let it end")

    def untimed(self, why: str) -> RunEnded:
        """The end of a run in which there was no answer whose time counts."""
        return self._by_answers(f"No answer of the candidate can be timed: {why}.", why)

    def _by_answers(self, told: str, what: str) -> RunEnded:
        """An end that answers can bring about, where the judge reads them; else the judge alone has."""
        return RunEnded("invalid", told, cause=UNSCORED) if self._spoken and self._copes else self.failed(what)

    def failed(self, what: str) -> RunEnded:
        """The end of a run in which the judge has done what no judge may do."""
        told = f"The judge failed: {self._task.judge}: {what}."
        return RunEnded("env_fail", f"{told} {JUDGE_STEP.format(judge=self._task.judge)}", cause="judge")

    def _noted(self, side: Contestant, verdict: Verdict, counts: bool) -> float:
        if counts:
            side.note(verdict.figures)
        return verdict.score if verdict.score is not None else 0.0

    @contextmanager
    def _weighed(self, side: Contestant, its_doing: bool = True) -> Generator[None]:
        """The judge looks at what a side gave, and where `its_doing` does nothing else: how that may end the run."""
        begun = time.monotonic()
        try:
            yield
        except WrongAnswer as wrong:
            ended = RunEnded("invalid", f"A wrong answer: {wrong}", cause="wrong_answer")
            raise self._blamed(side, ended) from wrong
        except JudgeFailed as failed:
            if its_doing and self._copes and side is self._candidate:
                raise self._unscored(failed) from failed
            raise
        finally:
            self.judging += time.monotonic() - begun

    def _unscored(self, failed: JudgeFailed) -> RunEnded:
        # What an exception says may be what is hidden.
        what = failed.what.partition(": ")[0] if self._task.hidden else failed.what
        other = "the incumbent's answers to the same cases" if self._paired else "the baseline's answers"
        told = f"The judge cannot score what the candidate answers: {failed.where}: {what}. It can score {other}."
        step = "If the answer is right, the operator must let the judge accept it."
        return RunEnded("invalid", f"{told} {step}", cause=UNSCORED)

    def _blamed(self, side: Contestant, ended: RunEnded) -> RunEnded:
        """The same end; of an incumbent with other files it is no candidate's fault."""
        if side is self._candidate or self._alike or ended.outcome in ("cancelled", "env_fail"):
            return ended
        told = f"The incumbent, which was kept, failed on a case that the candidate could answer: {ended}"
        return RunEnded(
            "env_fail", f"{told} The operator should look at the judge and at the incumbent.", cause="incumbent"
        )


def _hash(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _seed(secret: int, use: str) -> int:
    """The judge's seed: from the run's, which was drawn in secret and makes the run repeatable."""
    return int.from_bytes(hashlib.sha256(f"{use} {secret}".encode()).digest()[:7], "big")
