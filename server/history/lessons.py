"""What the history teaches the next idea: near misses, gains by kind of idea, values tried, and a short memory.

The memory is for an agent that has just arrived, or has lost its own.
"""

import math
from collections import Counter, defaultdict
from itertools import combinations

from server.history import comparisons, segments
from server.history.ledger import Ledger
from server.history.notes import Note, Notebook
from server.metric import Metric
from server.records import Experiment, Value, Verdict
from server.text import shorten


class Gain(Value):
    """What one kind of idea has brought."""

    category: str
    tried: int
    kept: int
    gain: float  # sum of the deltas of those kept: above 0, the score has risen


class Tried(Value):
    """The values that a knob was given."""

    knob: str
    values: list[str]


class NearMiss(Value):
    """An attempt that may have been better: too little to tell."""

    experiment: int
    description: str
    delta: float  # of the score, whichever way is better


class Memory(Value):
    """The night in short lines, newest first."""

    path: list[str]  # what was kept: how the incumbent came about
    recent: list[str]  # the last attempts
    near_misses: list[str]
    ideas: list[str]  # open ones, by number
    notes: list[str]

    def cut(self, most: int) -> "Memory":
        """The same in lines of at most so many bytes."""
        return Memory.model_validate({name: [shorten(line, most) for line in lines] for name, lines in self})


class Lessons(Value):
    """What the night so far can teach."""

    attempts: int
    keep_rate: float | None
    since_last_keep: int  # runs
    audit_failures: int  # runs that ended invalid, whatever they were for
    gains: list[Gain]
    knobs: list[Tried]
    near_misses: list[NearMiss]
    combinations: list[str]  # untested pairs of near misses


_MISSES = 10
_NEAR = (Verdict.WITHIN_NOISE, Verdict.SIMPLER, Verdict.PROMISING)  # promising: given up before it was confirmed
_PAIRS = 5
_VALUES = 60


def lessons(ledger: Ledger, metric: Metric) -> Lessons:
    """The night so far, by what it can be used for."""
    counts, last, incumbent = ledger.counts(), ledger.last(), ledger.incumbent()
    tried = Counter(sorted(ledger.category_of().values()))
    attempts = sum(tried.values())
    misses = near_misses(ledger, metric)
    return Lessons(
        attempts=attempts,
        keep_rate=(counts["kept"] - 1) / attempts if attempts and incumbent else None,
        since_last_keep=(last.number - incumbent.number) if last and incumbent else 0,
        audit_failures=len(ledger.failed()),
        gains=_gains(ledger, tried),
        knobs=_tried(ledger, metric),
        near_misses=misses,
        combinations=_untested(ledger, metric, misses),
    )


def near_misses(ledger: Ledger, metric: Metric, last: int = 200) -> list[NearMiss]:
    """Attempts that were better, though not surely, or hardly worse, among the `last` of each kind: the best first."""
    incumbent = ledger.incumbent()
    if incumbent is None:
        return []
    task = segments.current_task(ledger)  # gains of another one are of another kind
    like = segments.latest(ledger, incumbent, task)
    if like is None:
        return []
    sigma = comparisons.measured_noise(ledger, like, metric).sigma
    rows = [row for verdict in _NEAR for row in ledger.page(last, 0, verdict.value)]
    given_up = [row for row in rows if not row.kept and (row.decision or row.verdict != Verdict.PROMISING)]
    told = [(_gain(row, metric), row) for row in given_up if row.attempt.task == task]
    close = sorted((-gain, row.number, row) for gain, row in told if gain is not None and gain > -sigma / 2)
    return [
        NearMiss(experiment=number, description=row.attempt.description, delta=_delta(row) or 0.0)
        for _, number, row in close[:_MISSES]
    ]


def _delta(row: Experiment) -> float | None:
    """A row's value minus its incumbent's; None if it was not compared, or does not count any more."""
    return row.judgement.delta if row.judgement and not row.revocation else None


def _gain(row: Experiment, metric: Metric) -> float | None:
    """How much better a row was than its incumbent; None if it was not compared, or not by this metric."""
    delta, value = _delta(row), row.value
    if delta is None or value is None or metric.problem(value) or metric.problem(value - delta):
        return None
    return metric.gain(value, value - delta)


def _gains(ledger: Ledger, tried: dict[str, int]) -> list[Gain]:
    gained: dict[str, list[float]] = defaultdict(list)
    for category, delta in ledger.gains(segments.current_task(ledger)):
        gained[category].append(delta)
    return [
        Gain(category=name, tried=count, kept=len(gained[name]), gain=math.fsum(gained[name]))
        for name, count in sorted(tried.items(), key=lambda item: -item[1])
    ]


def _tried(ledger: Ledger, metric: Metric) -> list[Tried]:
    found: dict[str, list[str]] = defaultdict(list)
    for number, knob, value in ledger.values(_VALUES):
        row = ledger.get(number)
        delta = _delta(row) if row else None
        shown = "" if delta is None else f" {metric.number(delta, 6, '+')}"
        found[knob].append(f"{value} (experiment {number}: {row.label if row else ''}{shown})")
    return [Tried(knob=knob, values=values) for knob, values in found.items()]


def _untested(ledger: Ledger, metric: Metric, misses: list[NearMiss]) -> list[str]:
    """Pairs of near misses that touch different places and were never tried together."""
    features = {miss.experiment: set(ledger.features(miss.experiment)) for miss in misses}
    pairs = sorted(combinations(misses, 2), key=lambda pair: -metric.sign * (pair[0].delta + pair[1].delta))
    free: list[str] = []
    for one, other in pairs:
        both = features[one.experiment] | features[other.experiment]
        together = any(len(both) == all_ for _, _, all_ in ledger.sharing(both, 1, least=len(both)))
        apart = not features[one.experiment] & features[other.experiment]
        if both and apart and not together and metric.sign * (one.delta + other.delta) > 0:
            steps = f"apply_patch(experiment={one.experiment}), then apply_patch(experiment={other.experiment})"
            hope = f"{metric.number(one.delta + other.delta, 6, '+')} if they add up"
            free.append(f"{one.experiment} + {other.experiment}: {hope}; {steps}")
    return free[:_PAIRS]


_KEPT_SHOWN = 4
_RECENT_SHOWN = 10
_MISSES_SHOWN = 3
_NOTES_SHOWN = 3
_MISSES_AMONG = 40  # attempts among which near misses are looked for: status must be quick


def study_memory(ledger: Ledger, notebook: Notebook, metric: Metric) -> Memory:
    """How the incumbent came about, the last attempts, near misses, open ideas and notes: newest first, < 3 KB."""
    misses, written = near_misses(ledger, metric, _MISSES_AMONG)[:_MISSES_SHOWN], notebook.notes[::-1]
    return Memory(
        path=[_memory_line(row, metric) for row in reversed(ledger.kept(_KEPT_SHOWN))],
        recent=[_memory_line(row, metric) for row in _recent(ledger)],
        near_misses=[
            shorten(f"{miss.experiment}: {metric.number(miss.delta, 4, '+')}, {miss.description}") for miss in misses
        ],
        ideas=[_note_line(note) for note in written if note.open][:_NOTES_SHOWN],
        notes=[_note_line(note) for note in written if not note.idea][:_NOTES_SHOWN],
    )


def _recent(ledger: Ledger) -> list[Experiment]:
    """The last attempts, without the runs that judge another."""
    found: list[Experiment] = []
    offset = 0
    while len(found) < _RECENT_SHOWN and (page := ledger.page(_RECENT_SHOWN, offset)):
        found += [row for row in page if row.attempt.of is None]
        offset += len(page)
    return found[:_RECENT_SHOWN]


def _memory_line(row: Experiment, metric: Metric) -> str:
    value = "" if row.value is None else f" {metric.number(row.value, 4)}"
    kept = ", kept" if row.kept else ""
    return shorten(f"{row.number}: {row.label}{kept}{value}, {row.attempt.description}")


def _note_line(note: Note) -> str:
    return shorten(f"{note.number}: {note.text}")
