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
    drawn = Table("#", "commit", "verdict", "decision", metric.name, "Δ", "trust", "description")
    for line in map(table_row, experiments):
        score = "" if line.value is None else f"{line.value:.4f}"
        delta = "" if line.delta is None else f"{line.delta:+.4f}"
        names = (str(line.experiment), line.commit[:7], line.verdict, line.decision)
        cells = (*names, score, delta, line.trust, line.description)
        drawn.add_row(*(Text(printable(cell)) for cell in cells), style=_STYLES.get(line.decision, ""))
    return drawn
