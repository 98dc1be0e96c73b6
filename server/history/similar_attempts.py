"""Earlier attempts that changed the same things: what the agent is told before it tries again."""

import math

from server.history.ledger import Ledger
from server.records import Value
from server.source.language import Change


class Similar(Value):
    """An earlier attempt that changed the same things."""

    experiment: int
    likeness: float  # 1: the very same places and knobs, if with other constants
    description: str
    verdict: str
    delta: float | None
    knobs: dict[str, str]  # "before → after"


_NEAREST = 3
_ALIKE = 0.3  # Jaccard; below it two attempts merely touch the same file


def nearest(ledger: Ledger, made: Change) -> list[Similar]:
    """The earlier attempts that changed the same things, most alike first."""
    least = math.ceil(_ALIKE * len(made.features))  # with fewer in common they cannot be so alike
    found = ledger.sharing(made.features, 5 * _NEAREST, least)
    alike = {number: shared / (len(made.features) + all_ - shared) for number, shared, all_ in found}
    best = sorted(alike, key=lambda number: (-alike[number], -number))[:_NEAREST]
    return [_similar(ledger, number, alike[number]) for number in best if alike[number] >= _ALIKE]


def _similar(ledger: Ledger, number: int, likeness: float) -> Similar:
    found = ledger.get(number)
    assert found is not None
    return Similar(
        experiment=number,
        likeness=round(likeness, 2),
        description=found.attempt.description,
        verdict=found.label,
        delta=found.judgement.delta if found.judgement and not found.revocation else None,
        knobs={name[5:]: value for name, value in ledger.features(number).items() if name.startswith("knob ")},
    )
