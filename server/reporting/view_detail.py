"""One experiment in depth, and a diff whose changed tokens are marked."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from pydantic import Field

from server.history.comparisons import compare_figures
from server.records import Experiment, Figures, Point, Value
from server.reporting.view_model import Kind, Standing
from server.reporting.view_rows import Folded, Scale, line_of
from server.reporting.view_summary import gap_curve, thinned
from server.reporting.view_words import verdict_words

LOG_BYTES = 4096
_DIFF_LINES = 1200
_LINE = 1000  # characters
_TOKENS = re.compile(r"\d[\w.]*(?:(?<=[eE])[+-]\d+)?|\w+|\s+|[^\w\s]")  # a number is one, with its point
_ALIKE = 0.4  # a line that has less in common with the one that it replaces is another line
_SILENT = ("diff --git ", "index ", "old mode ", "new mode ", "new file mode ", "deleted file mode ")
_TEXT = 6000  # characters of a traceback
_HUNK = re.compile(r"@@ -\d+(?:,\d+)? \+(\d+)(?:,\d+)? @@ ?(.*)")


class DiffLine(Value):
    """A line of a diff: kind is "+", "-", " ", "@" or "file"; marks are where its tokens differ, in characters."""

    kind: str
    text: str
    marks: list[tuple[int, int]] = Field(default_factory=list[tuple[int, int]])


class Repeat(Value):
    """A further run of an experiment."""

    number: int
    purpose: str
    value: float | None
    outcome: str


class FigureLine(Value):
    """A figure of a run beside the incumbent's."""

    name: str
    value: float
    change: str  # "+12.3 %"; empty: not compared


class Detail(Value):
    """One experiment in depth."""

    number: int
    commit: str
    parent: str
    description: str
    hypothesis: str
    source: str  # where the idea comes from; empty: not told
    agent: str = ""  # the client that asked for it, by the name in its token; empty: it has none
    category: str
    seed: int
    node: str  # of an engine's, on which it ran; empty: on the server's machine
    started: str
    kind: Kind
    standing: Standing
    verdict: str
    title: str  # the verdict in words
    text: str
    why: str  # as it was judged then
    reason: str  # of the decision
    outcome: str
    outcome_reason: str
    cause: str
    traceback: str
    disturbance: str
    trust: str
    guards: dict[str, str]
    value: float | None
    first: float | None
    change: float | None
    error: float | None
    against: int | None
    repeats: list[Repeat]
    figures: list[FigureLine]
    warnings: list[str]
    curve: list[tuple[float, float]]
    against_curve: list[tuple[float, float]]
    gap: list[tuple[float, float]]  # seconds, loss minus the incumbent's, both smoothed
    features: dict[str, str]
    diff: list[DiffLine]
    diff_cut: int  # lines that were left out
    log: str  # its last 4 KB


@dataclass(frozen=True)
class Evidence:
    """What there is of an experiment outside the ledger."""

    diff: str = ""  # unified, against what it was built on
    log: str = ""
    curve: Sequence[Point] = ()
    against_curve: Sequence[Point] = ()
    features: Mapping[str, str] = field(default_factory=dict[str, str])
    category: str = ""


def detail(folded: Folded, row: Experiment, scale: Scale, evidence: Evidence) -> Detail:
    """The experiment in depth. `row` is no repeated run."""
    line, result, judged = line_of(folded, row, scale), row.result, row.judgement
    reason = result.reason if result else ""
    title, text = verdict_words(line, scale, result.cause if result else "", reason)
    diff, cut = diff_lines(evidence.diff)
    figures, warnings = _figures(folded, row)
    return Detail(
        number=row.number,
        commit=row.commit,
        parent=row.attempt.parent,
        description=row.described,
        hypothesis=row.attempt.hypothesis,
        source=row.attempt.source or "",
        agent=row.attempt.agent or "",
        category=evidence.category,
        seed=row.attempt.seed,
        node=(result.figures.node_name or "") if result else "",
        started=row.attempt.started_at,
        kind=line.kind,
        standing=line.standing,
        verdict=row.label,
        title=title,
        text=text,
        why=judged.why if judged else "",
        reason=row.decision.reason if row.decision else "",
        outcome=result.outcome.value if result else "running",
        outcome_reason=reason,
        cause=result.cause if result else "",
        traceback=result.traceback[-_TEXT:] if result else "",
        disturbance=row.disturbance,
        trust=row.trust,
        guards=result.guards if result else {},
        value=row.value,
        first=row.score.value if row.score else None,
        change=line.change,
        error=line.error,
        against=judged.incumbent if judged else None,
        repeats=[_repeat(run) for run in folded.repeats.get(row.number, [])],
        figures=figures,
        warnings=warnings,
        curve=thinned(evidence.curve),
        against_curve=thinned(evidence.against_curve),
        gap=gap_curve(evidence.curve, evidence.against_curve),
        features=dict(evidence.features),
        diff=diff,
        diff_cut=cut,
        log=evidence.log,
    )


def _repeat(run: Experiment) -> Repeat:
    outcome = run.result.outcome.value if run.result else "running"
    value = run.score.value if run.score else None
    return Repeat(number=run.number, purpose=run.attempt.purpose.value, value=value, outcome=outcome)


def _figures(folded: Folded, row: Experiment) -> tuple[list[FigureLine], list[str]]:
    """Its figures beside those of its incumbent, and what is odd about them."""
    if row.result is None:
        return [], []
    own, against = row.result.figures, row.judgement.incumbent if row.judgement else None
    base = folded.root(against) if against and against != row.number else None
    alike = [run.result.figures for run in folded.repeats.get(row.number, []) if run.result]
    told = compare_figures(own, base.result.figures if base and base.result else None, alike)
    names = [*Figures.model_fields, *(own.model_extra or {})]
    numbers = {name: value for name in names if (value := own.number(name)) is not None}
    details = row.score.details if row.score else {}
    found = [FigureLine(name=name, value=value, change=told.changes.get(name, "")) for name, value in numbers.items()]
    found += [FigureLine(name=name, value=value, change="") for name, value in details.items() if name not in numbers]
    return found, told.warnings


def diff_lines(text: str) -> tuple[list[DiffLine], int]:
    """A unified diff as lines with their changed tokens, and how many lines of it were left out."""
    every = text.split("\n")
    every = every[:-1] if every and not every[-1] else every
    told, before, inside = list[DiffLine](), "", False
    for line in every[:_DIFF_LINES]:
        inside = not line.startswith("diff --git ") and (inside or line.startswith("@@ "))
        if not inside and line.startswith("--- "):  # in a hunk it is a line that was removed
            before = line
        elif (found := _hunk_line(line) if inside else _header_line(line, before)) is not None:
            told.append(found)
    return _marked(told), max(len(every) - _DIFF_LINES, 0)


def _hunk_line(line: str) -> DiffLine | None:
    if hunk := _HUNK.match(line):
        return DiffLine(kind="@", text=f"line {hunk[1]}{f': {hunk[2]}' if hunk[2] else ''}"[:_LINE])
    if line[:1] in ("+", "-", " "):
        return DiffLine(kind=line[0], text=line[1 : _LINE + 1] + (" …" if len(line) > _LINE + 1 else ""))
    return None


def _header_line(line: str, before: str) -> DiffLine | None:
    """A line between hunks; None for one that says nothing to a reader. `before`: the one that names the old file."""
    if line.startswith("+++ "):
        return DiffLine(kind="file", text=_name(line) or f"{_name(before)} (deleted)")
    return DiffLine(kind="file", text=line[:_LINE]) if line and not line.startswith(_SILENT) else None


def _name(line: str) -> str:
    """The file that a header names; git ends one that has a blank in it with a tab. Empty where there is none."""
    name = line[4:].removesuffix("\t")
    return "" if name == "/dev/null" else name[2:_LINE]


def _marked(told: list[DiffLine]) -> list[DiffLine]:
    """The lines, with marks where a removed line and the added one in its place differ."""
    at = 0
    while at < len(told):
        removed = at
        while removed < len(told) and told[removed].kind == "-":
            removed += 1
        added = removed
        while added < len(told) and told[added].kind == "+":
            added += 1
        if removed - at == added - removed > 0:
            for place in range(at, removed):
                other = place + removed - at
                told[place], told[other] = _pair(told[place], told[other])
        at = max(added, at + 1)
    return told


def _pair(before: DiffLine, after: DiffLine) -> tuple[DiffLine, DiffLine]:
    old, new = _TOKENS.findall(before.text), _TOKENS.findall(after.text)
    match = SequenceMatcher(None, old, new, autojunk=False)
    if match.real_quick_ratio() < _ALIKE or match.ratio() < _ALIKE:
        return before, after
    steps = [step for step in match.get_opcodes() if step[0] != "equal"]
    marks = [_place(old, start, end) for _, start, end, _, _ in steps if end > start]
    others = [_place(new, start, end) for _, _, _, start, end in steps if end > start]
    return before.model_copy(update={"marks": marks}), after.model_copy(update={"marks": others})


def _place(tokens: Sequence[str], start: int, end: int) -> tuple[int, int]:
    begin = sum(map(len, tokens[:start]))
    return begin, begin + sum(map(len, tokens[start:end]))
