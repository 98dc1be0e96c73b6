"""A chart of a study in a few lines of text: what was tried, and the best so far. Pure."""

from collections.abc import Sequence

from server.metric import Metric
from server.records import Experiment

_HEIGHT = 7  # lines
_STEP = 5  # columns from one experiment to the next, where there is room
_LEAST = 0.02  # share of the best score that the axis spans at least
_BEYOND = 2.0  # times the spread of what is kept: what is worse than that is drawn at the edge


def text_chart(experiments: Sequence[Experiment], metric: Metric, width: int) -> list[str]:
    """Lines of at most `width` columns: # kept, o not kept, x without a score, - the best so far.

    Scores far beyond those that were kept are drawn at the edge. Empty without a score.
    """
    rows = [row for row in experiments if row.attempt.of is None and not row.running]
    scores = [row.value for row in rows if row.value is not None]
    kept = [row.value for row in rows if row.kept and row.value is not None]
    if not scores:
        return []
    best, first = (kept or scores)[-1], (kept or scores)[0]
    spread = max(abs(first - best), abs(best) * _LEAST)
    lowest = max(min(scores), min(best, first) - _BEYOND * spread)
    highest = min(max(scores), max(best, first) + _BEYOND * spread)
    if highest - lowest < spread:
        highest = lowest + spread
    axis = max(len(metric.number(one, 4)) for one in (lowest, highest)) + 2
    step = max(1, min(_STEP, (width - axis) // max(len(rows), 1)))
    rows = rows[-((width - axis) // step) :]
    field = [[" "] * (step * len(rows)) for _ in range(_HEIGHT)]
    level: int | None = None
    for at, row in enumerate(rows):
        place = at * step
        if row.kept and row.value is not None:
            level = _line(row.value, lowest, highest)
        if level is not None:
            field[level][place : place + step] = "-" * step
        if row.value is None:
            field[0][place] = "x"
        else:
            field[_line(row.value, lowest, highest)][place] = "#" if row.kept else "o"
    names = {0: metric.number(highest, 4), _HEIGHT - 1: metric.number(lowest, 4)}
    lines = [f"{names.get(at, ''):>{axis - 2}} |{''.join(line)}".rstrip() for at, line in enumerate(field)]
    numbers = "".join(f"{row.number:<{step}}" for row in rows) if step > len(str(rows[-1].number)) else ""
    legend = f"{metric.name}, {metric.direction} is better: # kept, o not kept, x no score, - the best so far"
    return [*lines, f"{'':>{axis}}{numbers}".rstrip(), legend]


def _line(value: float, lowest: float, highest: float) -> int:
    """The line of a value: 0 is the top, and the edge is the end."""
    share = (highest - min(max(value, lowest), highest)) / (highest - lowest)
    return round(share * (_HEIGHT - 1))
