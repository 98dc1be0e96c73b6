"""What a trial asks of a replica, and what the answers amount to.

Where a replica fails, another one goes on with what is left: the machine may have ended it. What is left shows no token
that was asked for so far and not answered, so a replica that fails on purpose gains nothing by it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from trainer.evaluators import audit
from trainer.run.child import ChildProcess

_BATCHES_AGAIN = 4  # that are asked again to tell why an audit failed


@dataclass(frozen=True)
class EvaluationPlan:
    """What a trial trains and is measured on.

    `rows` uint16 [R, T + 1] are the evaluation's tokens; `secret` says that they are validation text, of which no word
    may come back but the score; `audits` positions are audited; `max_steps` ends training beside the clock.
    """

    rows: NDArray[np.uint16]
    secret: bool
    audits: int
    max_steps: int | None = None


@dataclass
class Questions:
    """The probes of an audit, about claims float32 [R, T] of rows uint16 [R, T + 1].

    They are asked in batches of `height`; answers are logits, float32 [height, vocabulary].
    """

    probes: audit.Probes
    claims: NDArray[np.float32]
    rows: NDArray[np.uint16]
    height: int
    vocabulary: int
    answers: NDArray[np.float64] = field(init=False)  # -log p in nats [K]; of the batches that were answered
    _answered: int = field(default=0, init=False)  # batches

    def __post_init__(self) -> None:
        self.answers = np.empty(len(self.probes.cuts))

    def ask(self, replica: ChildProcess, read: Callable[[], float], readings: list[float]) -> None:
        """Have what is left answered; a reading of the clock joins `readings` after each batch. Raises RunEnded."""
        for batch in self.probes.batches[self._answered :]:
            self.answers[batch] = self._asked(replica, self.probes, batch)
            readings.append(read())
            self._answered += 1

    def objection(self, device: str) -> str | None:
        """Why the claims cannot be believed, as audit.objection has it."""
        return audit.objection(self._claimed, self.answers, self.probes.weights, device)

    def cause(self, replica: ChildProcess, device: str) -> str:
        """What that points at, found by asking again about the claims that hold least. Raises RunEnded."""
        claimed, height = self._claimed, self.height
        worst = np.argsort(-np.abs(self.answers - claimed))[: _BATCHES_AGAIN * height]
        some = audit.chosen(self.probes, worst, height)
        regrouped, repeated = (self._all(replica, some) for _ in range(2))
        unaltered = self._all(replica, replace(some, inputs=self.rows[some.rows, :-1]))
        answers = audit.Answers(self.answers[worst], regrouped, repeated, unaltered)
        return audit.cause(claimed[worst], answers, device)

    @property
    def _claimed(self) -> NDArray[np.float32]:
        return self.claims[self.probes.rows, self.probes.cuts]

    def _all(self, replica: ChildProcess, probes: audit.Probes) -> NDArray[np.float64]:
        nats = np.empty(len(probes.cuts))
        for batch in probes.batches:
            nats[batch] = self._asked(replica, probes, batch)
        return nats

    def _asked(self, replica: ChildProcess, probes: audit.Probes, batch: NDArray[np.int64]) -> NDArray[np.float64]:
        full = np.resize(batch, self.height)  # a short batch is filled up: kernels depend on shapes
        inputs = probes.inputs[full]
        replica.tell("probe", inputs.tobytes(), shape=inputs.shape, cuts=probes.cuts[full].tolist())
        logits = replica.floats("logits", self.height, self.vocabulary)[: len(batch)]
        return audit.negative_log_likelihood(logits, self.rows[probes.rows[batch], probes.cuts[batch] + 1])
