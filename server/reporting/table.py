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
    """One line an experiment, in the order given; kept ones in green, revoked ones in red."""
    unit = f" ({metric.unit})" if metric.places is None and metric.unit not in ("", metric.name) else ""
    score = metric.name + unit
    drawn = Table("#", "commit", "verdict", "decision", score, "Δ", "trust", "description")
    for line in map(table_row, experiments):
        score = "" if line.value is None else metric.number(line.value, 4)
        delta = "" if line.delta is None else metric.number(line.delta, 4, "+")
        names = (str(line.experiment), line.commit[:7], line.verdict, line.decision)
        cells = (*names, score, delta, line.trust, line.description)
        drawn.add_row(*(Text(printable(cell)) for cell in cells), style=_STYLES.get(line.decision, ""))
    return drawn
