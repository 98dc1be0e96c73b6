"""When a run is hopeless: its training loss stays above that of every run that was any good, at equal time.

Optional, and off unless program.md says `early_stop: true`. The loss is train.py's own word; whoever understates it
gains nothing but the right to finish. (The median rule of Vizier, Golovin et al. 2017, with the worst good run for the
median.)
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

_FROM = 0.3  # share of the budget before which nothing is said
_RECENT = 6  # reports of a step, four a second at most, whose mean is compared
_PATIENCE = 4  # reports in a row above the ceiling


class EarlyStop:
    """The ceiling of one run."""

    def __init__(self, points: Sequence[Sequence[float]], budget: float) -> None:
        """`points`: (seconds, loss), ascending; empty: no run is hopeless."""
        self._times = [point[0] for point in points]
        self._losses = [point[1] for point in points]
        self._begin = _FROM * budget
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._above = 0

    def hopeless(self, seconds: float, loss: float) -> bool:
        """Take note of a step's loss at `seconds` of the budget; whether it is time to give up."""
        self._recent.append(loss)
        place = bisect_right(self._times, seconds) - 1
        if seconds < self._begin or place < 0 or len(self._recent) < _RECENT:
            return False
        above = sum(self._recent) / len(self._recent) > self._losses[place]
        self._above = self._above + 1 if above else 0
        return self._above >= _PATIENCE
