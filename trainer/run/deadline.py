"""How long a process may train, hand in its weights and evaluate, by seconds that are counted from outside.

Training ends when the weights begin to arrive: by then they are made, and nothing that follows may improve them. So
the budget, `SHARE` of it and FLOOR_SECONDS bound all that comes before; the transfer is free as far as the size of the
weights explains it. What it takes beyond counts as training, because a process may send a first byte and train on.
"""

from collections.abc import Callable, Sequence
from statistics import median

from trainer.contract import Spec
from trainer.run.clock import RunEnded, StageClock

SHARE = 0.02  # of the budget: the last step may take longer than those before it
FLOOR_SECONDS = 0.2  # the kernel counts CPU time in hundredths of a second for each process, and budgets may be short
# Of a slow machine; measured on an ordinary one: 6 GB in a CPU second of the sender, 0.4 GB in a second of wall time.
_BYTES_PER_SECOND = {"cpu": 500e6, "wall": 100e6}
# of the budget: what the first batches may take for kernels to be chosen
_EXCESS_SECONDS = 3.0
_EXCESS_SHARE = 0.01


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


def check_batches(seconds: Sequence[float], budget: float) -> None:
    """Batches are alike: a long one did more than evaluate. Raises RunEnded."""
    usual = median(seconds)
    excess = sum(max(0.0, taken - 3 * usual) for taken in seconds)
    if excess > _EXCESS_SECONDS + _EXCESS_SHARE * budget:
        raise RunEnded(
            "invalid",
            f"Evaluating took {excess:.1f} s more than batches of {usual:.2f} s explain: does a forward pass do "
            "work that belongs between session.start() and session.submit(model)?",
        )
