"""One side of a judged task: the worker that is asked for it, and what it has given so far."""

from trainer.commands.judge_process import JudgeTerms
from trainer.commands.worker import Reply, Worker
from trainer.contract import MetricSource
from trainer.run.clock import RunEnded

_CPU_SLACK = 0.05  # seconds beyond a limit in CPU seconds, and share of it: none can stop to the microsecond
_LEAST_SECONDS = 1e-6  # a time is above zero, or it has no logarithm


class Contestant:
    """Candidate or incumbent. Its worker stands still while it is not asked: nobody takes time from another one."""

    def __init__(self, name: str, source: str, terms: JudgeTerms, setup_seconds: float) -> None:
        """`setup_seconds`: what a worker may take until it can answer, of wall time."""
        self.name = name
        self._source, self._terms, self._setup_seconds = source, terms, setup_seconds
        self._worker: Worker | None = None
        self._fresh = True
        self.peak_memory_mb = 0.0  # of all workers that have ended
        self.setup_cpu_seconds = 0.0  # of the last worker, its first answer included
        self.samples: list[float] = []  # a case or a pass each: seconds, scores or MiB, as the metric has it
        self.figures: dict[str, list[float]] = {}  # of the judge

    def meet(self, worker: Worker) -> None:
        """Go on with a new worker, which knows no case, once the one before has ended."""
        self._worker, self._fresh = worker, True

    def leave(self) -> bool:
        """End the worker. Returns whether there was one."""
        if self._worker is None:
            return False
        self.peak_memory_mb = max(self.peak_memory_mb, self._worker.memory_mb)
        self._worker.close()
        self._worker = None
        return True

    def ask(self, question: bytes) -> Reply:
        """The worker's answer; to its first question it answers when it is set up.

        Raises:
            RunEnded: it fails, takes longer than the judge allows, or somebody cancelled the run.
        """
        assert self._worker is not None
        setting_up, self._fresh = self._fresh, False
        seconds = self._terms.case_seconds + (self._setup_seconds if setting_up else 0.0)
        self._worker.resume()
        try:
            reply = self._worker.ask(question, seconds=seconds)
        except RunEnded as ended:
            if setting_up and ended.outcome == "timeout":
                told = f"The worker was not set up within {self._setup_seconds:g} s (`setup_seconds` in program.md)"
                raise RunEnded("timeout", f"{told}, or did not answer its first question.", cause="setup") from ended
            raise
        if self._source != MetricSource.SCORE or self._terms.case_cpu_seconds is not None:
            self._worker.require_alive()
        self._worker.pause()
        if setting_up:
            self.setup_cpu_seconds = reply.cpu_seconds
        elif (most := self._terms.case_cpu_seconds) is not None and reply.cpu_seconds > most + _CPU_SLACK * (1 + most):
            told = f"The worker used {reply.cpu_seconds:.2f} CPU seconds for a case, and the judge allows {most:g}"
            raise RunEnded("timeout", f"{told}. What it does between two cases counts for the later one.", cause="cpu")
        return reply

    def seconds(self, reply: Reply) -> float:
        """What one answer took, by the clock of the metric: CPU seconds, or those on the wall.

        Work between two cases counts for the later one by either clock.
        """
        taken = reply.cpu_seconds if self._source == MetricSource.CPU else reply.wall_seconds + reply.between_seconds
        return max(taken, _LEAST_SECONDS)

    @property
    def pid(self) -> int:
        """Of its worker; all that this starts is below it."""
        assert self._worker is not None
        return self._worker.pid

    @property
    def memory_mb(self) -> float:
        """MiB that its worker and all that this started have held at the most."""
        assert self._worker is not None
        return self._worker.memory_mb

    def note(self, figures: dict[str, float]) -> None:
        """Keep what the judge told of one answer beside the score."""
        for name, value in figures.items():
            self.figures.setdefault(name, []).append(value)
