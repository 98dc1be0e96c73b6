"""The history as a table in a terminal."""

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from server.metric import Metric
from server.records import Experiment
from server.reporting.summary import table_row
from server.text import printable

_STYLES = {"kept": "green", "revoked": "red"}


def history_table(experiments: Iterable[Experiment], metric: Metric) -> Table:
    """One line an experiment, in the order given; kept ones in green, revoked ones in red.

    Args:
        metric: that of the last of them; what was measured for another task is named in its own line.
    """
    rows = list(experiments)
    task = max(rows, key=lambda row: row.number).attempt.task if rows else None
    unit = f" ({metric.unit})" if metric.places is None and metric.unit not in ("", metric.name) else ""
    score = metric.name + unit
    drawn = Table("#", "commit", "verdict", "decision", score, "Δ", "trust", "description")
    for row in rows:
        line, score = table_row(row), ""
        if line.value is not None:
            score = metric.number(line.value, 4) if row.attempt.task == task else _of_others(row, line.value)
        delta = "" if line.delta is None else metric.number(line.delta, 4, "+")
        names = (str(line.experiment), line.commit[:7], line.verdict, line.decision)
        cells = (*names, score, delta, line.trust, line.description)
        drawn.add_row(*(Text(printable(cell)) for cell in cells), style=_STYLES.get(line.decision, ""))
    return drawn


def _of_others(row: Experiment, value: float) -> str:
    """A score of another task, with its own name and unit."""
    known = row.score
    return Metric(known.name, "lower", known.unit, places=None).word(value, 4) if known else f"{value:g}"
