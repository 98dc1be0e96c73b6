"""The history as a table in a terminal."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from server.metric import Metric
from server.records import Experiment
from server.reporting.summary import table_row
from server.reporting.view_rows import Line
from server.reporting.view_words import KEPT
from server.text import printable

_STYLES = {"kept": "green", "revoked": "red"}
_NARROW = 110  # columns; in less, commit and trust would leave no room for what was tried
_LEFT_AWAY = ("commit", "trust")
_PLAIN: dict[str, Any] = {"box": None, "pad_edge": False}


def history_table(
    experiments: Iterable[Experiment],
    metric: Metric,
    columns: int = _NARROW,
    kept: Mapping[int, Line] | None = None,
) -> Table:
    """One line an experiment, in the order given; kept ones in green, revoked ones in red.

    Args:
        metric: that of the last of them; what was measured for another task is named in its own line.
        columns: of the terminal. A narrow one is told less of each, without lines between.
        kept: how sure what was kept is, by number.
    """
    known = kept or {}
    rows = list(experiments)
    task = max(rows, key=lambda row: row.number).attempt.task if rows else None
    unit = f" ({metric.unit})" if metric.places is None and metric.unit not in ("", metric.name) else ""
    score = metric.name + unit
    names = ("#", "commit", "verdict", "decision", score, "Δ", "trust", "description")
    shown = [at for at, name in enumerate(names) if columns >= _NARROW or name not in _LEFT_AWAY]
    drawn = Table(*(names[at] for at in shown), **({} if columns >= _NARROW else _PLAIN))
    for row in rows:
        line, score = table_row(row), ""
        decision = KEPT[known[row.number].standing] if row.number in known else line.decision
        if line.value is not None:
            score = metric.number(line.value, 4) if row.attempt.task == task else _of_others(row, line.value)
        delta = "" if line.delta is None else metric.number(line.delta, 4, "+")
        first = (str(line.experiment), line.commit[:7], line.verdict, decision)
        cells = (*first, score, delta, line.trust, row.described)
        drawn.add_row(*(Text(printable(cells[at])) for at in shown), style=_STYLES.get(line.decision, ""))
    return drawn


def _of_others(row: Experiment, value: float) -> str:
    """A score of another task, with its own name and unit."""
    known = row.score
    return Metric(known.name, "lower", known.unit, places=None).word(value, 4) if known else f"{value:g}"
