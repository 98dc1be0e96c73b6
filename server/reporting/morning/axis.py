"""Where a score stands on the chart's axis. Pure.

The axis is stretched near the best where one large gain would flatten the rest.
"""

import math
from collections.abc import Sequence

from server.metric import Metric

_STRETCHED = 40.0  # sigmas from best to worst, above which the axis is stretched
_UNITS = 8.0  # sigmas around the best that look as they are
_ROOM = 0.06  # of the axis, beyond what is shown
_TICKS = 5
_STEPS = (1, 2, 5, 10)


class Axis:
    """Heights from 0 at the bottom to 1 at the top; lower scores are lower, whichever way is better."""

    def __init__(self, metric: Metric, shown: Sequence[float], best: float, sigma: float | None) -> None:
        """`shown`: the scores that must be on it, at least one."""
        self._metric, self._best = metric, metric.place(best)
        places = [metric.place(score) for score in shown]
        span = max(abs(place - self._best) for place in places)
        unit = (sigma or 0.0) * _UNITS
        self.stretched = bool(unit) and span > _STRETCHED * unit / _UNITS
        self._unit = unit if self.stretched else 0.0
        low, high = (self._bent(place) for place in (min(places), max(places)))
        room = (high - low) * _ROOM or abs(self._bent(self._best)) * _ROOM or 1.0
        self._low, self._high = low - room, high + room

    def height(self, score: float) -> float:
        """Of a score; below 0 or above 1 if it is beyond the axis."""
        return (self._bent(self._metric.place(score)) - self._low) / (self._high - self._low)

    def ticks(self) -> list[float]:
        """Round scores, evenly spread for the eye, lowest first."""
        if not self._unit and self._metric.scale == "linear":
            return self._even()
        wanted = [self._score(self._low + (self._high - self._low) * (at + 0.5) / _TICKS) for at in range(_TICKS)]
        found: list[float] = []
        for at, score in enumerate(wanted):
            near = [abs(score - other) for other in (*wanted[max(at - 1, 0) : at], *wanted[at + 1 : at + 2])]
            tick = _round(score, min(filter(None, near), default=abs(score) or 1.0))
            if 0 < self.height(tick) < 1 and tick not in found:
                found.append(tick)
        return found

    def _even(self) -> list[float]:
        low, high = self._score(self._low), self._score(self._high)
        power = 10.0 ** math.floor(math.log10((high - low) / _TICKS))
        step = power * next(unit for unit in _STEPS if unit * power * (_TICKS + 1) >= high - low)
        first = math.ceil(low / step)
        return [float(f"{at * step:.12g}") for at in range(first, math.floor(high / step) + 1)]

    def _bent(self, place: float) -> float:
        away = place - self._best
        return math.asinh(away / self._unit) if self._unit else away

    def _score(self, bent: float) -> float:
        place = self._best + (self._unit * math.sinh(bent) if self._unit else bent)
        return math.exp(place) if self._metric.scale == "log" else place


def _round(score: float, step: float) -> float:
    """The nearest score of few digits, as coarse as the steps allow."""
    power = 10.0 ** math.floor(math.log10(step))
    coarse = max(unit * power for unit in _STEPS if unit * power <= step * 1.0001)
    return float(f"{round(score / coarse) * coarse:.12g}")


def decimals(ticks: Sequence[float]) -> int:
    """How many all of them need."""
    return max((len(f"{tick:.10f}".rstrip("0").partition(".")[2]) for tick in ticks), default=0)
