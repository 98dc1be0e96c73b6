"""What the history teaches the next idea: what is like it, what nearly worked, what moved the score."""

import math
from collections import defaultdict
from itertools import combinations

from server import evidence
from server.change import Change
from server.experiment import Verdict
from server.ledger import Ledger
from server.past import Gain, Lessons, NearMiss, Similar, Tried

_NEAREST = 3
_ALIKE = 0.3  # Jaccard; below it two attempts merely touch the same file
_MISSES = 10
_PAIRS = 5
_VALUES = 60


def nearest(ledger: Ledger, made: Change) -> list[Similar]:
    """The earlier attempts that changed the same things, most alike first."""
    found = ledger.sharing(made.features, 5 * _NEAREST)
    alike = {number: shared / (len(made.features) + all_ - shared) for number, shared, all_ in found}
    best = sorted(alike, key=lambda number: (-alike[number], -number))[:_NEAREST]
    return [_similar(ledger, number, alike[number]) for number in best if alike[number] >= _ALIKE]


def lessons(ledger: Ledger) -> Lessons:
    """The night so far, by what it can be used for."""
    counts, last, incumbent = ledger.counts(), ledger.last(), ledger.incumbent()
    tried = ledger.categories()
    attempts = sum(tried.values())
    misses = near_misses(ledger)
    return Lessons(
        attempts=attempts,
        keep_rate=(counts["kept"] - 1) / attempts if attempts and incumbent else None,
        since_last_keep=(last.number - incumbent.number) if last and incumbent else 0,
        gains=_gains(ledger, tried),
        knobs=_tried(ledger),
        near_misses=misses,
        combinations=_untested(ledger, misses),
    )


def _similar(ledger: Ledger, number: int, likeness: float) -> Similar:
    found = ledger.get(number)
    assert found is not None
    return Similar(
        experiment=number,
        likeness=round(likeness, 2),
        description=found.attempt.description,
        verdict=found.verdict,
        delta=found.judgement.delta if found.judgement else None,
        knobs={name[5:]: value for name, value in ledger.features(number).items() if name.startswith("knob ")},
    )


def near_misses(ledger: Ledger, last: int = 200) -> list[NearMiss]:
    """Attempts that were better, though not surely, or hardly worse, among the `last` of each kind: the best first."""
    incumbent = ledger.incumbent()
    if incumbent is None:
        return []
    sigma = evidence.noise(ledger, incumbent).sigma
    rows = [row for verdict in (Verdict.WITHIN_NOISE, Verdict.SIMPLER) for row in ledger.page(last, 0, verdict.value)]
    told = [(row.judgement.delta, row) for row in rows if row.judgement and row.judgement.delta is not None]
    close = sorted((delta, row.number, row) for delta, row in told if delta < sigma / 2 and not row.kept)
    return [
        NearMiss(experiment=number, description=row.attempt.description, delta=delta)
        for delta, number, row in close[:_MISSES]
    ]


def _gains(ledger: Ledger, tried: dict[str, int]) -> list[Gain]:
    gained: dict[str, list[float]] = defaultdict(list)
    for row in ledger.kept():
        if row.judgement and row.judgement.delta is not None:
            gained[ledger.category(row.number)].append(row.judgement.delta)
    return [
        Gain(category=name, tried=count, kept=len(gained[name]), gain=math.fsum(gained[name]))
        for name, count in sorted(tried.items(), key=lambda item: -item[1])
    ]


def _tried(ledger: Ledger) -> list[Tried]:
    found: dict[str, list[str]] = defaultdict(list)
    for number, knob, value in ledger.values(_VALUES):
        row = ledger.get(number)
        delta = row.judgement.delta if row and row.judgement else None
        shown = "" if delta is None else f" {delta:+.6f}"
        found[knob].append(f"{value} (experiment {number}: {row.verdict if row else ''}{shown})")
    return [Tried(knob=knob, values=values) for knob, values in found.items()]


def _untested(ledger: Ledger, misses: list[NearMiss]) -> list[str]:
    """Pairs of near misses that touch different places and were never tried together."""
    features = {miss.experiment: set(ledger.features(miss.experiment)) for miss in misses}
    pairs = sorted(combinations(misses, 2), key=lambda pair: pair[0].delta + pair[1].delta)
    free: list[str] = []
    for one, other in pairs:
        both = features[one.experiment] | features[other.experiment]
        together = any(shared == len(both) == all_ for _, shared, all_ in ledger.sharing(dict.fromkeys(both, ""), 1))
        apart = not features[one.experiment] & features[other.experiment]
        if both and apart and not together and one.delta + other.delta < 0:
            steps = f"apply_patch(experiment={one.experiment}), then apply_patch(experiment={other.experiment})"
            hope = f"{one.delta + other.delta:+.6f} if they add up"
            free.append(f"{one.experiment} + {other.experiment}: {hope}; {steps}")
    return free[:_PAIRS]
