"""`autoresearch history`: one line an experiment, and the same for programs."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from server.history.ledger import Ledger
from server.history.segments import metric_shown
from server.metric import Metric
from server.records import Verdict, decision_name
from server.reporting.view_model import Kind, Standing
from server.reporting.view_rows import Line, fold, lines
from server.reporting.view_summary import scale_of
from server.reporting.view_words import shown_change, shown_size
from server.task.definition import Task
from server.text import printable

_STYLES = {Kind.KEPT: "green", Kind.REVOKED: "red", Kind.RUNNING: "blue"}
_USUAL = {  # the decision that follows from a verdict, which needs no word
    "kept": (Verdict.BASELINE, Verdict.IMPROVED, Verdict.SIMPLER),
    "discarded": tuple(set(Verdict) - {Verdict.IMPROVED, Verdict.SIMPLER, Verdict.PROMISING}),
    "open": tuple(set(Verdict) - {Verdict.IMPROVED, Verdict.SIMPLER}),
    "running": tuple(Verdict),
    "revoked": tuple(Verdict),
    "": tuple(Verdict),
}
_UNSURE = {Standing.NOISE: "in the noise", Standing.PROVISIONAL: "provisional"}
_GAP = 2  # columns between two
_LEAST = 16  # columns for what was tried
_KEPT = 20  # numbers in a line
_RIGHT = "#"


class Listed(NamedTuple):
    """The experiments of a study, the newest first, and what they were measured by."""

    told: list[Line]
    metric: Metric
    total: int

    @property
    def kept(self) -> list[int]:
        """Numbers of what is kept, the oldest first."""
        return [line.row.number for line in reversed(self.told) if line.kind is Kind.KEPT]


def listed(ledger: Ledger, task: Task) -> Listed:
    """Every experiment, repeated runs folded into the one that they repeat. `task`: program.md's."""
    rows = list(ledger.all())
    metric = metric_shown(rows, task)
    told = lines(fold(rows), scale_of(ledger, metric))
    return Listed(told[::-1], metric, len(told))


def screen(found: Listed, limit: int, width: int) -> list[Text]:
    """The list for people: what it shows, one line an experiment, and what is kept."""
    shown = found.told[:limit]
    if not shown:
        return [Text("No experiment has run yet.")]
    names, cells = _columns(shown, found.metric)
    alike = _alike(names, cells)
    kept = [at for at in range(len(names)) if names[at] not in alike]
    sizes = [max(cell_len(row[at]) for row in (names, *cells)) for at in kept]
    sizes[-1] = min(sizes[-1], max(width - sum(sizes[:-1]) - _GAP * (len(sizes) - 1), _LEAST))
    drawn = [Text(_line([names[at] for at in kept], sizes), "bold")]
    for one, row in zip(shown, cells, strict=True):
        drawn.append(Text(_line([row[at] for at in kept], sizes), _STYLES.get(one.kind, "")))
    every = [f"{name} {value}" for name, value in alike.items() if value]
    return [Text(f"{_head(found, len(shown))}{'; all rows: ' + ', '.join(every) if every else ''}"), *drawn]


def kept_in_words(found: Listed) -> str:
    """Which experiments are kept; empty where there are none."""
    numbers = found.kept
    some = "… " if len(numbers) > _KEPT else ""
    return f"kept: {some}{', '.join(map(str, numbers[-_KEPT:]))}" if numbers else ""


def as_json(found: Listed, limit: int) -> dict[str, Any]:
    """The list for programs. Changes and errors are on the metric's scale: of a log scale, natural logarithms."""
    metric = found.metric
    about = {"name": metric.name, "unit": metric.unit, "direction": metric.direction, "scale": metric.scale}
    return {"metric": about, "total": found.total, "experiments": [_fields(one) for one in found.told[:limit]]}


def _fields(one: Line) -> dict[str, Any]:
    row, judged = one.row, one.row.judgement
    figures = row.result.figures if row.result else None
    return {
        "number": row.number,
        "verdict": row.verdict,
        "decision": decision_name(row),
        "value": row.value,
        "first_score": row.score.value if row.score else None,
        "value_error": one.value_error,
        "delta": judged.delta if judged and row.value is not None else None,
        "change": one.change,
        "change_error": one.error,
        "against": judged.incumbent if judged else None,
        "runs": one.runs,
        "trust": row.trust,
        "commit": row.commit,
        "seconds": figures.total_seconds if figures else None,
        "started_at": row.attempt.started_at,
        "description": row.attempt.description,
        "why": judged.why if judged else "",
    }


def _head(found: Listed, shown: int) -> str:
    metric = found.metric
    unit = f" in {metric.unit}" if metric.places is None and metric.unit not in ("", metric.name) else ""
    some = f"the last {shown} of {found.total} experiments" if shown < found.total else f"{shown} experiments"
    some = some.removesuffix("s") if shown == found.total == 1 else some
    return printable(
        f"{some}, newest first; {metric.name}{unit}, {metric.direction} is better; ± is one standard error"
    )


def _columns(shown: Sequence[Line], metric: Metric) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, and the cells of each line."""
    values = [("" if one.row.value is None else _value(one, metric), _error(one, metric)) for one in shown]
    longest = max(cell_len(value) for value, _ in values)
    cells = [
        [
            str(one.row.number),
            _verdict(one),
            f"{value:>{longest}}{error}",
            "" if one.change is None else shown_change(metric, one.change),
            printable(one.row.described),
        ]
        for one, (value, error) in zip(shown, values, strict=True)
    ]
    return ["#", "verdict", printable(metric.name), "Δ", "what"], cells


def _value(one: Line, metric: Metric) -> str:
    known, value = one.row.score, one.row.value or 0.0
    if one.value_error is None and known is not None and known.name != metric.name:  # of an earlier definition
        return printable(Metric(known.name, "lower", known.unit, places=None).word(value, 4))
    return metric.number(value, 4)


def _error(one: Line, metric: Metric) -> str:
    return "" if one.value_error is None or not one.value_error else f" ± {shown_size(metric, one.value_error)}"


def _verdict(one: Line) -> str:
    """The verdict, and the decision where it does not follow from it, or how unsure it is."""
    row = one.row
    decision, verdict = decision_name(row), row.verdict
    if unsure := _UNSURE.get(one.standing) if one.kind is Kind.KEPT else "":
        return f"{verdict}, {unsure}"
    usual = row.running or verdict in _USUAL.get(decision, ())
    return row.label if usual else f"{verdict}, {decision}"


def _alike(names: Sequence[str], cells: Sequence[Sequence[str]]) -> dict[str, str]:
    """The columns that say the same in each of several lines, or nothing, and what they say."""
    found: dict[str, str] = {}
    for at, name in enumerate(names[1:-1], start=1):
        told = {row[at].strip() for row in cells}
        if len(told) == 1 and (len(cells) > 1 or told == {""}):
            found[name] = told.pop()
    return found


def _line(cells: Iterable[str], sizes: Sequence[int]) -> str:
    told = [
        f"{'':<{size - cell_len(cell)}}{cell}" if at == 0 else _cell(cell, size)
        for at, (cell, size) in enumerate(zip(cells, sizes, strict=True))
    ]
    return f"{'':<{_GAP}}".join(told).rstrip()


def _cell(text: str, size: int) -> str:
    return set_cell_size(text, size) if cell_len(text) <= size else f"{set_cell_size(text, size - 1)}…"
