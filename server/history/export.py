"""The history in formats that other tools read: results.tsv, CSV and JSON lines.

results.tsv on disk is written whole after every move, but a line is made anew only while its row can still change.
"""

import json
from collections.abc import Iterable, Mapping
from csv import DictWriter
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from server.files import write_whole
from server.history.ledger import Ledger
from server.records import MAIN, Experiment, Figures, Verdict, decision_name, lm_names

_COLUMNS = ("commit", lm_names.COLUMN, "memory_gb", "status", "description")
_More = Mapping[int, Mapping[str, Any]]
_TAB = "\t"
_UNNAMED = "score"  # the column of a task that has none yet
_STATUS = {"kept": "keep", "discarded": "discard"}


def tsv(experiments: Iterable[Experiment]) -> str:
    """results.tsv. A missing score is an empty field, never 0.

    A language model's has the five columns of karpathy/autoresearch. Of another task the second is named by the metric,
    and a sixth holds the trust. So are all rows of a study in which there is one: an old row has its score as well.
    """
    told = _read(experiments)
    return _header(told.metric) + "".join(line for _, line in told.formed(told.metric))


class _Told(NamedTuple):
    """What results.tsv is made of. All rows of a long study would take 70 MB, so each becomes a line as it is read."""

    metric: str  # the name of the last score that is no language model's; empty if all are
    lines: list[tuple[int, str]]  # each with the number of its experiment
    open: list[int]  # the numbers of rows that may still change

    def formed(self, metric: str) -> list[tuple[int, str]]:
        """The lines under the columns for this metric: only a named one has the trust."""
        if metric:
            return self.lines
        return [(number, f"{line.rpartition(_TAB)[0]}\n" if line else "") for number, line in self.lines]


def _read(experiments: Iterable[Experiment]) -> _Told:
    metric, lines, open_ = "", list[tuple[int, str]](), list[int]()
    for row in experiments:
        lines.append((row.number, _line(row)))
        if (name := _metric_of(row)) not in ("", _UNNAMED) or not metric:
            metric = name
        if _may_change(row):
            open_.append(row.number)
    return _Told(metric, lines, open_)


def _metric_of(row: Experiment | None) -> str:
    """The name of a row's score, if that is no language model's."""
    if row is None or row.attempt.task is None:
        return ""
    return row.score.name if row.score else _UNNAMED


def _header(metric: str) -> str:
    names = (_COLUMNS[0], metric, *_COLUMNS[2:], "trust") if metric else _COLUMNS
    return _TAB.join(names) + "\n"


def _line(experiment: Experiment) -> str:
    """One line of results.tsv, with the trust.

    Empty for what the preflight refused and for runs that judged another experiment: they were no experiments.
    """
    if experiment.verdict == Verdict.REFUSED or experiment.attempt.of is not None:
        return ""
    score = "" if experiment.value is None else _score(experiment.value, experiment.attempt.task is not None)
    figures = experiment.result.figures if experiment.result else Figures()
    memory = figures.peak_memory_mb or figures.told_peak_memory_mb
    fields = (
        experiment.commit[:7],
        score,
        "" if memory is None else f"{memory / 1024:.1f}",
        _status(experiment),
        " ".join(experiment.attempt.description.split()),
        experiment.trust,
    )
    return _TAB.join(fields) + "\n"


def _score(value: float, of_task: bool) -> str:
    """Of a task by ten significant digits: it may be of any size."""
    return f"{value:.10g}" if of_task else f"{value:.6f}"


def jsonl(experiments: Iterable[Experiment], more: _More | None = None) -> str:
    """One experiment a line, everything the ledger knows. `more`: further fields, by number."""
    told = more or {}
    return "".join(json.dumps({**_document(row), **told.get(row.number, {})}) + "\n" for row in experiments)


def csv(experiments: Iterable[Experiment], more: _More | None = None) -> str:
    """Every experiment as a line under names: a spreadsheet's form of what the ledger knows, one column a figure.

    Lane and agent have columns where there are any.

    Args:
        more: further columns, by number.
    """
    rows, told = list(experiments), more or {}
    lanes, agents = any(row.attempt.lane for row in rows), any(row.attempt.agent for row in rows)
    flat = [{**_flat(row, lanes, agents), **told.get(row.number, {})} for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    text = StringIO()
    writer = DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _flat(row: Experiment, lanes: bool, agents: bool) -> dict[str, Any]:
    score, judged = row.score, row.judgement
    known = {
        "experiment": row.number,
        "commit": row.commit,
        "verdict": row.label,
        "decision": decision_name(row),
        "metric": score.name if score else "",
        "value": row.value,
        "unit": score.unit if score else "",
        "delta": judged.delta if judged and not row.revocation else None,
        "trust": row.trust,
        "description": " ".join(row.attempt.description.split()),
        **({"lane": row.attempt.lane or MAIN} if lanes else {}),
        **({"agent": row.attempt.agent or ""} if agents else {}),
        **({"source": row.attempt.source} if row.attempt.source else {}),
        "of": row.attempt.of,
        "started_at": row.attempt.started_at,
        "why": judged.why if judged else "",
    }
    details = {f"score.{name}": value for name, value in (score.details if score else {}).items()}
    figures = dict(row.result.figures.model_dump(exclude_none=True)) if row.result else {}
    return {**known, **details, **{f"figure.{name}": value for name, value in figures.items()}}


def _document(experiment: Experiment) -> dict[str, Any]:
    told: dict[str, Any] = {**experiment.model_dump(mode="json", exclude_none=True), "trust": experiment.trust}
    if experiment.score:  # as it is stored, and by the names that every metric has
        told["result"]["score"] |= dict(experiment.score)
    return told


def _status(experiment: Experiment) -> str:
    # Upstream knows keep, discard and crash; a run without a score that counts is a crash to it, whatever was decided.
    if experiment.result is not None and experiment.value is None:
        return "crash"
    return _STATUS.get(decision_name(experiment), decision_name(experiment))


def settled_before(rows: Iterable[Experiment], measured: Experiment | None) -> int:
    """Of the rows with lower numbers none changes any more, unless it is revoked: 0 if there are none.

    A row is final once the row of a later new train.py follows it; in several lanes, once it has ended and is decided.

    Args:
        rows: those that were not final before. measured: the last one of a new train.py.
    """
    return min([measured.number, *(row.number for row in rows if _may_change(row))]) if measured else 0


def _may_change(row: Experiment) -> bool:
    return row.running or (row.attempt.of is None and not row.decision and row.value is not None)


class ResultsFile:
    """Only rows that may still change, and new ones, are read again.

    The exception is a row that is revoked, or the first one of another metric: then all lines are made anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._final = 0  # the last number whose line on disk never changes again
        self._lines = ""  # up to that one
        self._metric = ""  # of the lines
        self._revoked: list[int] = []  # when it was written

    def restore(self, ledger: Ledger) -> None:
        """Bring the file up to date, unless it is newer than the ledger and has a line for each experiment.

        Raises:
            LedgerUnavailable, OSError.
        """
        if not self._whole(ledger):
            self.write(ledger)

    def write(self, ledger: Ledger) -> None:
        """Bring the file up to date.

        Raises:
            LedgerUnavailable, OSError: the file is as it was; the next call makes up for it.
        """
        if (revoked := [row.number for row in ledger.revoked()]) != self._revoked:
            self._final, self._lines, self._revoked = 0, "", revoked
        told, measured = _read(ledger.all(after=self._final)), ledger.measured()
        metric = told.metric
        if metric in ("", _UNNAMED):  # the last rows tell none
            metric = self._metric or metric
        if metric != self._metric and self._final:
            self._final, self._lines, told = 0, "", _read(ledger.all())
        self._metric = metric
        lines = told.formed(metric)
        write_whole(self._path, "".join((_header(metric), self._lines, *(line for _, line in lines))))
        self._final = max(min([measured.number, *told.open]) - 1, 0) if measured else 0
        self._lines += "".join(line for number, line in lines if number <= self._final)

    def _whole(self, ledger: Ledger) -> bool:
        """Whether the file is newer than the ledger, and has as many lines as it must."""
        if not self._path.exists() or self._path.stat().st_mtime_ns <= ledger.written_ns:
            return False
        text = self._path.read_text(encoding="utf-8", errors="replace")
        names = [_metric_of(row) for row in (ledger.last(), ledger.measured())]
        header = _header(next((name for name in names if name not in ("", _UNNAMED)), max(names)))
        return text.startswith(header) and text.endswith("\n") and text.count("\n") == 1 + ledger.experiments()
