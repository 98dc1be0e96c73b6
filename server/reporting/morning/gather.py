"""What a report tells, taken from the study as it lies on disk."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing

from server import __version__
from server.errors import LedgerUnavailable
from server.library.reading.answers import ReferenceLibrary
from server.metric import Metric
from server.paths import StudyPaths
from server.records import Experiment
from server.reporting.bill import Bill, make_bill, read_agent_bill, time_in_words, tokens_in_words
from server.reporting.morning.contents import Failure, KeptChange, Next, Number, OtherChange, Report
from server.reporting.morning.measured import with_error
from server.reporting.morning.summary_paragraph import minus, numbers, summary_paragraph, title
from server.reporting.study_view import StudyView
from server.reporting.view_detail import Detail, DiffLine
from server.reporting.view_model import Kind, Standing, Summary
from server.text import shorten
from trainer.contract import utc_now

_KEPT = 60  # changes that are told in depth: the last ones
_LISTED_KEPT = 200
_OTHERS = 120
_DIFF = 60  # lines of one diff
_EXAMPLES = 3
_WORDS = 160  # bytes of a sentence of a run's
_LISTED = 12
_NOTABLE = 2.0  # per cent by which another figure differs
_FIGURES = {
    "peak_memory_mb": "peak memory",
    "tokens_per_second": "tokens/s",
    "steps": "steps",
    "parameters": "parameters",
    "setup_seconds": "set-up",
    "weights_mb": "weights",
}
_CHANGE = re.compile(r"([+-]?[0-9.]+) %")


def gather(paths: StudyPaths) -> Report:
    """The report of a study, also of one that goes on. Raises LedgerUnavailable: there is none, or it is damaged."""
    with closing(StudyView(paths)) as view:
        summary = view.summary()
        rows, metric = view.material()
        numbered = {number: at for at, number in enumerate(summary.rows.number)}
        kept = [row for row in rows if row.kept and not row.attempt.baseline and row.number in numbered]
        details = {row.number: view.detail(row.number) for row in kept[-_KEPT:]}
    if not rows:
        raise LedgerUnavailable(f"Nothing has run in {paths.tag} yet.", "Start a study, then call again.")
    library = ReferenceLibrary(paths.home.library)
    bill = make_bill(rows, summary.counts.sure, read_agent_bill(paths))
    return Report(
        title=title(summary),
        about=_about(summary, bill, of_models=rows[-1].attempt.task is None),
        alarms=summary.health.problems,
        lead=summary_paragraph(summary, metric),
        numbers=[*numbers(summary, metric), *_costs(summary, bill)],
        kept=[_kept(row, details.get(row.number), summary, metric, library) for row in kept[-_LISTED_KEPT:]],
        kept_left=max(len(kept) - _LISTED_KEPT, 0),
        categories=_categories(summary, metric),
        agents=_agents(summary, metric),
        others=_others(summary, metric)[:_OTHERS],
        others_left=max(len(_others(summary, metric)) - _OTHERS, 0),
        failures=_failures(rows),
        next=_next(summary, metric),
        trust=[(fact.good, fact.text, _more(fact.more, fact.numbers)) for fact in summary.health.facts],
        bill=bill,
        made=utc_now(),
        version=__version__,
        summary=summary,
    )


def _about(summary: Summary, bill: Bill, of_models: bool) -> list[str]:
    study = summary.study
    budget = f"{study.budget:g} s {'of training ' * of_models}a run" if study.budget else ""
    task = study.dataset if of_models else study.task
    return list(filter(None, (study.branch, task, budget, bill.device)))


def _costs(summary: Summary, bill: Bill) -> list[Number]:
    """The device's time, and what the agent has cost; without a client that tells it, how long the study took."""
    each = bill.seconds_a_gain
    found = [
        Number(
            name=bill.time_of,
            value=_hours(bill.seconds),
            more=f"{_hours(each)} a sure gain" if each else "no sure gain",
        )
    ]
    agent = bill.agent
    if agent is None or not agent.tokens:
        return [*found, Number(name="took", value=_hours(summary.study.elapsed), more="first run to last")]
    used = f"{tokens_in_words(agent.tokens_in)} tokens in"
    if agent.usd is None:
        return [*found, Number(name="agent", value=tokens_in_words(agent.tokens), more="tokens, no price reported")]
    return [*found, Number(name="agent", value=f"${agent.usd:.2f}", more=used)]


def _hours(seconds: float) -> str:
    return time_in_words(seconds) if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _kept(
    row: Experiment, told: Detail | None, summary: Summary, metric: Metric, library: ReferenceLibrary
) -> KeptChange:
    at = summary.rows.number.index(row.number)
    rows = summary.rows
    change, error = rows.change[at], rows.error[at]
    diff = _whole(told.diff) if told else list[DiffLine]()
    return KeptChange(
        number=row.number,
        commit=row.commit,
        description=row.attempt.description,
        hypothesis=row.attempt.hypothesis,
        source=library.told(row.attempt.source or ""),
        told=_size(change, error, metric) if rows.comparable[at] else "by another definition of the task",
        change=change if rows.comparable[at] else None,
        error=error,
        standing=Standing(summary.standings[rows.standing[at]]),
        confirmations=rows.confirmations[at],
        title=told.title if told else "",
        text=told.text if told else "",
        trust=row.trust,
        effects=_side_effects(told, metric) if told else [],
        diff=diff[:_DIFF],
        cut=max(len(diff) - _DIFF, 0) + (told.diff_cut if told else 0),
    )


def _whole(diff: list[DiffLine]) -> list[DiffLine]:
    """Without blank lines where a stretch of it begins or ends."""

    def blank(at: int) -> bool:
        return diff[at].kind == " " and not diff[at].text.strip()

    def edge(at: int) -> bool:
        return not 0 <= at < len(diff) or diff[at].kind in ("@", "file")

    return [
        line
        for at, line in enumerate(diff)
        if not blank(at) or not (edge(at - 1) or edge(at + 1) or (blank(at - 1) and edge(at - 2)))
    ]


def _size(change: float | None, error: float | None, metric: Metric) -> str:
    return "" if change is None else minus(with_error(metric, metric.sign * change, error))


def _side_effects(told: Detail, metric: Metric) -> list[str]:
    """Other figures that a change has moved."""
    found: list[str] = []
    for line in told.figures:
        share = _CHANGE.fullmatch(line.change)
        known = line.name in _FIGURES or not told.trust == "sealed"
        if share and known and line.name != metric.name and abs(float(share[1])) >= _NOTABLE:
            found.append(f"{_FIGURES.get(line.name, line.name)} {minus(line.change)}")
    return found[:4]


def _categories(summary: Summary, metric: Metric) -> list[list[str]]:
    return [
        [gain.category, str(gain.tried), str(gain.kept), _size(gain.change, gain.error, metric) if gain.kept else ""]
        for gain in summary.lessons.gains
    ]


def _agents(summary: Summary, metric: Metric) -> list[list[str]]:
    """Who has found what; nothing where one agent alone has worked."""
    return [
        [
            one.name or "without a name",
            str(one.experiments),
            str(one.kept),
            str(one.sure),
            f"{_size(one.change, one.error, metric)} (#{one.best})" if one.best else "",
            _hours(one.seconds),
        ]
        for one in summary.agents
    ]


def _others(summary: Summary, metric: Metric) -> list[OtherChange]:
    """What was measured and not kept, the nearest to a gain first."""
    rows, found = summary.rows, list[tuple[float, OtherChange]]()
    for at, number in enumerate(rows.number):
        if Kind(summary.kinds[rows.kind[at]]) is not Kind.DISCARDED:
            continue
        change = rows.change[at] if rows.comparable[at] else None
        other = OtherChange(
            number=number,
            description=rows.description[at],
            told=_size(change, rows.error[at], metric),
            verdict=summary.verdicts[rows.verdict[at]].replace("_", " "),
        )
        found.append((float("-inf") if change is None else metric.sign * change, other))
    return [other for _, other in sorted(found, key=lambda one: (-one[0], one[1].number))]


def _failures(rows: Sequence[Experiment]) -> list[Failure]:
    """Runs without a score by their cause, the most frequent first."""
    groups: dict[str, list[Experiment]] = defaultdict(list)
    for row in rows:
        if row.result and row.value is None and not row.revocation:
            groups[(row.result.cause or row.verdict).replace("_", " ")].append(row)
    counted = Counter({cause: len(group) for cause, group in groups.items()})
    found: list[Failure] = []
    for cause, _ in counted.most_common():
        group = groups[cause]
        examples = [f"{row.number}: {shorten(row.attempt.description, _WORDS)}: {_said(row)}" for row in group]
        found.append(Failure(cause=cause, numbers=[row.number for row in group], examples=examples[:_EXAMPLES]))
    return found


def _said(row: Experiment) -> str:
    """The run's own word on its end."""
    assert row.result
    last = row.result.traceback.strip().splitlines()[-1:]
    said = row.result.reason if not last or last[0] in row.result.reason else f"{row.result.reason} {last[0]}"
    return shorten(said, _WORDS)


def _next(summary: Summary, metric: Metric) -> Next:
    near: list[str] = []
    for miss in summary.lessons.near:
        away = "" if miss.sigmas is None else f", {miss.sigmas:.1f} σ"
        size = "" if miss.change is None else f" ({_size(miss.change, None, metric)}{away})"
        near.append(f"{miss.number}: {shorten(miss.description, _WORDS)}{size}")
    notes = [note for note in summary.notes if not note.idea]
    return Next(
        near=near[:_LISTED],
        pairs=summary.lessons.pairs,
        ideas=[note.text for note in summary.notes if note.open][-_LISTED:],
        notes=[note.text for note in notes][-_LISTED:],
    )


def _more(more: str, numbers: Sequence[int]) -> str:
    listed = f"experiments {', '.join(map(str, numbers))}" if numbers else ""
    return " ".join(filter(None, (listed, more)))
