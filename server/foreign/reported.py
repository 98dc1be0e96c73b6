"""Earlier attempts as another tool's log reports them: nothing here has measured them, so none is compared with.

They are read anew whenever the log has changed, and kept nowhere else.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from pydantic import Field

from server.metric import Direction
from server.records import Value, lm_names
from server.text import clip

TRUST = "reported"
_MOST_BYTES = 32 << 20
_MOST_ROWS = 20_000
_TEXT = 500  # characters of a description
_LESSON = 300
_NO_NUMBERS = ("crash", "crashed", "checks_failed", "error", "failed", "timeout", "measurement_failure")
_KEPT = ("keep", "kept", "baseline")
_SHOWN = 3  # rows that could not be read, by line

# The columns of a table by what they hold; the first that is there counts.
_COLUMNS = {
    "run": ("iteration", "experiment#", "experiment", "run", "iter", "#"),
    "commit": ("commit", "commit_hash", "sha"),
    "value": ("metric", "metric_value", "value", "score", lm_names.NAME),
    "status": ("status", "decision", "verdict"),
    "description": ("description", "desc", "idea", "notes", "change"),
}
_COMMENT = re.compile(r"#[^\t]|#$")
_DIRECTION = re.compile(r"#\s*metric_direction\s*:\s*(lower|higher)\b", re.IGNORECASE)


class Reported(Value):
    """An attempt of another tool's log."""

    run: str  # as the log numbers it
    segment: int = 0
    status: str  # the log's own word
    value: float | None = None  # None: it crashed, or the log has no number
    commit: str = ""
    description: str = ""
    lesson: str = ""  # what its agent noted beside it
    trust: str = TRUST

    @property
    def kept(self) -> bool:
        return self.status.split(" ")[0].lower() in _KEPT


class Header(Value):
    """What a log says of its metric; None where it does not say it."""

    line: int
    name: str | None = None
    metric: str | None = None
    unit: str | None = None
    direction: Direction | None = None
    extra: bool = False  # it has a field that only codex-autoresearch writes


class ReportedLog(Value):
    """A log of another tool, as far as it can be read."""

    file: str
    header: Header | None = None  # the last one
    rows: list[Reported] = Field(default_factory=list[Reported])
    skipped: list[str] = Field(default_factory=list[str])  # lines that are no row, each with the reason
    figures: list[str] = Field(default_factory=list[str])  # names of further numbers of the last segment

    @property
    def summary(self) -> str:
        """What is in it, in a sentence or two."""
        kept, crashed = sum(row.kept for row in self.rows), sum(row.value is None for row in self.rows)
        segments = len({row.segment for row in self.rows})
        parts = [f"{kept} kept", f"{crashed} without a number"] + [f"{segments} segments"] * (segments > 1)
        told = f"{self.file} reports {len(self.rows)} earlier attempts ({', '.join(parts)})"
        return f"{told}; none of them is compared with. {self.unread}".strip()

    @property
    def unread(self) -> str:
        """What could not be read; empty if everything could."""
        if not self.skipped:
            return ""
        more = f", and {len(self.skipped) - _SHOWN} more" if len(self.skipped) > _SHOWN else ""
        lines = "lines" if len(self.skipped) > 1 else "line"
        return f"{len(self.skipped)} {lines} of {self.file} cannot be read: {'; '.join(self.skipped[:_SHOWN])}{more}."


def read_log(path: Path, name: str) -> ReportedLog:
    """The log at `path`; an empty one where there is none or it cannot be read. `name` is what texts call it."""
    try:
        found = path.stat()
    except OSError:
        return ReportedLog(file=name)
    return _read(path, name, (found.st_mtime_ns, found.st_size, found.st_ino))


@lru_cache(maxsize=4)
def _read(path: Path, name: str, _seen: tuple[int, ...]) -> ReportedLog:
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES)
    except OSError as error:
        return ReportedLog(file=name, skipped=[f"the file: {error.strerror}"])
    text = raw.decode("utf-8", errors="replace").removeprefix("\ufeff")
    return (_lines if path.suffix == ".jsonl" else _table)(name, text)


def _lines(name: str, text: str) -> ReportedLog:
    """JSON lines as pi-autoresearch writes them: a header, rows, and a new header where another measurement begins."""
    header: Header | None = None
    rows, skipped, figures, segment = list[Reported](), list[str](), dict[str, None](), 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        told = _object(line)
        if told is None:
            skipped.append(f"line {number} is not a JSON object")
        elif told.get("type") == "config":
            segment += bool(rows) and rows[-1].segment == segment
            header, figures = _header(told, number), {}
        elif (row := _row(told, segment)) is None:
            kind = told.get("type")
            skipped.append(f"line {number} is no run{f' but {kind}' if isinstance(kind, str) else ''}"[:80])
        elif len(rows) < _MOST_ROWS:
            rows.append(row)
            figures |= dict.fromkeys(_names(told.get("metrics")))
    return ReportedLog(file=name, header=header, rows=rows, skipped=skipped, figures=list(figures))


def _object(line: str) -> dict[str, Any] | None:
    try:
        told: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", told) if isinstance(told, dict) else None


def _header(told: dict[str, Any], line: int) -> Header:
    way = told.get("bestDirection")
    return Header(
        line=line,
        name=_text(told.get("name"), 100) or None,
        metric=_text(told.get("metricName"), 100) or None,
        unit=_text(told.get("metricUnit"), 40) or None,
        direction=way if way in ("lower", "higher") else None,
        extra="metricFormula" in told,
    )


def _row(told: dict[str, Any], segment: int) -> Reported | None:
    """A run, or None where the object is none. A metric of 0 beside `crash` is no number: old logs write it so."""
    run = told.get("run")
    if not isinstance(run, int | str) or isinstance(run, bool):
        return None
    status = _text(told.get("status"), 40) or "unknown"
    return Reported(
        run=_text(run, 20),
        segment=segment,
        status=status,
        value=_number(told.get("metric"), status),
        commit=_text(told.get("commit"), 40),
        description=_text(told.get("description"), _TEXT),
        lesson=_notes(told.get("asi")),
    )


def _number(told: Any, status: str) -> float | None:
    try:
        value = float(told) if isinstance(told, int | float | str) and not isinstance(told, bool) else math.nan
    except (ValueError, OverflowError):
        return None
    failed = status.split(" ")[0].lower() in _NO_NUMBERS
    return value if math.isfinite(value) and not (failed and value == 0) else None


def _names(told: Any) -> Iterator[str]:
    if isinstance(told, dict):
        yield from (name for name, value in cast("dict[Any, Any]", told).items() if isinstance(value, int | float))


def _notes(told: Any) -> str:
    """What the agent noted beside a run, in one line."""
    if not isinstance(told, dict):
        return ""
    pairs = cast("dict[Any, Any]", told).items()
    return _text(
        "; ".join(f"{name}: {value}" for name, value in pairs if isinstance(value, str | int | float)), _LESSON
    )


def _text(told: Any, most: int) -> str:
    return clip(" ".join(str(told).split()), most) if isinstance(told, str | int | float) else ""


def _table(name: str, text: str) -> ReportedLog:
    """A table with tabs between its fields and a line of names; lines with # before it may say the direction."""
    lines = text.splitlines()
    ways = [found[1].lower() for line in lines if (found := _DIRECTION.match(line.strip()))]
    way = cast("Direction", ways[-1]) if ways else None
    head = next((at for at, line in enumerate(lines) if line.strip() and not _COMMENT.match(line)), None)
    if head is None or not (columns := _columns(lines[head])):
        return ReportedLog(file=name)  # a table of something else
    rows, skipped = list[Reported](), list[str]()
    for number, line in enumerate(lines[head + 1 :], head + 2):
        if not line.strip() or _COMMENT.match(line):
            continue
        fields = line.split("\t")
        if (row := _of_fields(fields, columns, str(len(rows)))) is None:
            skipped.append(f"line {number} has {len(fields)} fields")
        elif len(rows) < _MOST_ROWS:
            rows.append(row)
    metric = lines[head].split("\t")[columns["value"]].strip()
    known = None if metric in ("metric", "metric_value", "value", "score") else metric
    return ReportedLog(file=name, header=Header(line=head + 1, metric=known, direction=way), rows=rows, skipped=skipped)


def _columns(line: str) -> dict[str, int]:
    """Where each kind of field is; empty where the line is no head of such a table."""
    names = [name.strip().lower() for name in line.split("\t")]
    found = {kind: next((names.index(name) for name in known if name in names), -1) for kind, known in _COLUMNS.items()}
    if found["value"] < 0 and len(names) >= 5 and names[0] == "commit":  # as karpathy's, with another metric
        found["value"] = 1
    return found if min(found["value"], found["status"], found["description"]) >= 0 else {}


def _of_fields(fields: list[str], columns: dict[str, int], number: str) -> Reported | None:
    """A line of a table, or None where it has not the fields that count."""

    def field(kind: str) -> str:
        at = columns[kind]
        return fields[at].strip() if 0 <= at < len(fields) else ""

    status = field("status").lower()
    if not status or max(columns["value"], columns["status"]) >= len(fields):
        return None
    return Reported(
        run=field("run") or number,
        status=_text(status, 40),
        value=_number(field("value"), status),
        commit="" if field("commit") == "-" else _text(field("commit"), 40),
        description=_text(field("description"), _TEXT),
    )


_WORD = re.compile(r"[A-Za-z_µ][\w.µ-]{2,}")
_EVERYDAY = set(
    "the and for with from into that this was were has have had not but its are use used using try tried made make add "
    "added adds remove removed change changed instead than then when more less also only all any per run runs baseline "
    "keep kept discard discarded".split()
)
_LIKE = 2.0  # weight that two attempts must share


def tried_before(log: ReportedLog, told: str, most: int = 3) -> list[Reported]:
    """The reported attempts whose words are most like these: of a description, or of a change."""
    wanted, counts = _words(told), Counter[str]()
    texts = [(row, _words(row.description)) for row in log.rows]
    for _, words in texts:
        counts.update(words)
    weighed = [(sum(1 / math.sqrt(counts[word]) for word in wanted & words), row) for row, words in texts]
    shared = [len(wanted & words) for _, words in texts]
    best = sorted(
        ((weight, at) for at, (weight, _) in enumerate(weighed) if _is_like(weight, shared[at], len(wanted))),
        reverse=True,
    )
    return [log.rows[at] for _, at in best[:most]]


def _is_like(weight: float, shared: int, wanted: int) -> bool:
    return shared >= 2 and (weight >= _LIKE or 3 * shared >= wanted)


def _words(text: str) -> set[str]:
    """The words by which a change is known, in one spelling: plural and case aside."""
    found = {word.lower().strip(".-").removesuffix("s") for word in _WORD.findall(text)}
    return {word for word in found if word not in _EVERYDAY and len(word) > 2}


def describe_row(row: Reported, unit: str = "") -> str:
    """A reported attempt as a line."""
    value = "" if row.value is None else f" {row.value:g}{f' {unit}' if unit else ''}"
    segment = f", segment {row.segment + 1}" if row.segment else ""
    return f"{row.run}: {row.status}{value}{segment}, {row.description or 'no description'}"


def best_first(rows: Iterable[Reported], key: Callable[[float], float]) -> list[Reported]:
    """The kept ones of the last segment that have a number, the best first; `key` is lowest for the best."""
    told = list(rows)
    last = max((row.segment for row in told), default=0)
    scored = [(key(row.value), row) for row in told if row.kept and row.value is not None and row.segment == last]
    return [row for _, row in sorted(scored, key=lambda pair: pair[0])]
