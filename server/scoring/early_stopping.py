"""Above which loss a new candidate is hopeless: that of the worst good run at equal time. Pure."""

from bisect import bisect_right
from collections.abc import Sequence

from server.records import Point

_CURVES = 3  # fewer good runs tell nothing
_POINTS = 60
_SMOOTH = 5  # points on each side


def loss_ceiling(curves: Sequence[Sequence[Point]], budget: float) -> list[tuple[float, float]]:
    """(seconds, loss) over the budget; empty while there are fewer than three good runs.

    Args:
        curves: loss curves of runs that were any good, each ascending in time.
    """
    smooth = [_smoothed(curve) for curve in curves if len(curve) > 2 * _SMOOTH]
    if len(smooth) < _CURVES:
        return []
    times = [budget * step / _POINTS for step in range(1, _POINTS)]
    return [(time, max(_at(curve, time) for curve in smooth)) for time in times]


def _smoothed(curve: Sequence[Point]) -> list[tuple[float, float]]:
    """The mean of the points before each: what the referee compares is a mean of steps that are over, too."""
    losses = [point.loss for point in curve]
    return [
        (point.seconds, sum(losses[max(0, index - _SMOOTH) : index + 1]) / (index + 1 - max(0, index - _SMOOTH)))
        for index, point in enumerate(curve)
    ]


def _at(curve: list[tuple[float, float]], time: float) -> float:
    return curve[max(0, bisect_right([seconds for seconds, _ in curve], time) - 1)][1]
