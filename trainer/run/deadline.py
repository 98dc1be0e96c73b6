"""How long a process may train, hand in its weights and evaluate, by seconds that are counted from outside.

Training ends when the weights begin to arrive: by then they are made, and nothing that follows may improve them. So
the budget, `SHARE` of it and FLOOR_SECONDS bound all that comes before; the transfer is free as far as the size of the
weights explains it. What it takes beyond counts as training, because a process may send a first byte and train on.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

from trainer.contract import Spec
from trainer.run.clock import RunEnded, StageClock

SHARE = 0.02  # of the budget: the last step may take longer than those before it
FLOOR_SECONDS = 0.2  # the kernel counts CPU time in hundredths of a second for each process, and budgets may be short
# Of a slow machine; measured on an ordinary one: 6 GB in a CPU second of the sender, 0.4 GB in a second of wall time.
_BYTES_PER_SECOND = {"cpu": 500e6, "wall": 100e6}
# Seconds and share of the budget: what the first batches of an evaluation may take beyond the usual, for kernels to be
# chosen; and a usual one. On a CPU only the work of the process counts, which other load changes little.
_EXCESS = {"cpu": (1.5, 0.005), "wall": (3.0, 0.01)}
_LONGEST = (1.0, 0.01)
_ALIKE = {"cpu": 2.0, "wall": 3.0}  # times the usual one
_FIRST_USE = {"cpu": 0.5, "wall": 10.0}  # that a process has already that trained


def allowed(budget: float) -> float:
    """Seconds from the tokens to the first byte of the weights."""
    return (1 + SHARE) * budget + FLOOR_SECONDS


class Deadline:
    """The end of training in one trial."""

    def __init__(self, stage: StageClock, spec: Spec, clock: str, read: Callable[[], float]) -> None:
        """`read` gives the seconds of the stage's clock as they are now; `clock` says which ones, `cpu` or `wall`."""
        self._stage, self._spec, self._read = stage, spec, read
        self._rate = _BYTES_PER_SECOND[clock]
        self._free = 0.0
        self.seconds = 0.0  # of training, by the last frame

    def opened(self, kind: str, size: int) -> None:
        """The header of a frame is here, and `size` bytes will follow. Raises RunEnded: it comes too late."""
        self.seconds = self._read()
        self._stage.check(self.seconds)
        if kind == "submit":  # SHARE, because weights may be made large for the time that it gives
            self._free = min(size / self._rate, SHARE * self._spec.budget_seconds, self._spec.grace_seconds)
            self._stage.extend(self._free)

    def closed(self) -> float:
        """The last byte of the weights is here.

        Returns:
            The reading of the clock.

        Raises:
            RunEnded: they took longer than their size explains.
        """
        end = self._read()
        self._stage.check(end)
        self.seconds = max(self.seconds, end - self._free)
        return end


def check_batches(seconds: Sequence[float], budget: float, clock: str) -> None:
    """Batches are alike, and none is long: one that is did more than evaluate. Raises RunEnded.

    The usual one is longer than a quarter of them: a process may make many of them long, and pays for it in nothing.
    So how long it may be is bounded as well.

    Args:
        seconds: of each batch, by the clock of the budget. clock: `cpu` or `wall`.
    """
    usual = sorted(seconds)[len(seconds) // 4]
    least, share = _LONGEST
    if usual > least + share * budget:
        raise RunEnded(
            "invalid",
            f"A batch of the evaluation took {usual:.1f} s, and with a budget of {budget:g} s it may take "
            f"{least + share * budget:.1f} s: a forward pass must not do the work of a training.",
        )
    excess = sum(max(0.0, taken - _ALIKE[clock] * usual) for taken in seconds)
    least, share = _EXCESS[clock]
    if excess > least + share * budget:
        raise RunEnded(
            "invalid",
            f"The evaluation took {excess:.1f} s longer than batches of {usual:.2f} s explain: does a forward pass "
            "do work that belongs between session.start() and session.submit(model)?",
        )


def check_readings(readings: Sequence[float], budget: float, clock: str, plus: float = 0.0) -> None:
    """Hold an evaluation against `check_batches`. Raises RunEnded.

    Args:
        readings: of the clock, in seconds, before the first batch and after each.
        plus: seconds that passed before the first batch began.
    """
    taken = [after - before for before, after in pairwise(readings)]
    taken[0] = max(0.0, taken[0] - plus)
    check_batches(taken, budget, clock)


def rebuilding(size: int, clock: str) -> float:
    """Seconds that a replica may take for weights of `size` bytes and, on a GPU, for the code of its first batch."""
    return size / _BYTES_PER_SECOND[clock] + _FIRST_USE[clock]
