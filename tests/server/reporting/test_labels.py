"""The names on a report's chart: over no mark, no line and no other name, however dense the study is."""

import random
import re
from itertools import combinations, pairwise

import pytest

from server.metric import Direction, Metric
from server.reporting.morning.chart import Mark, Sheet
from server.reporting.morning.labels import Box, Room
from server.reporting.view_model import Kind, Standing

_NUMBER = r"(-?\d+(?:\.\d+)?)"
_LEAST_LETTER = 6.5  # a name is at least so wide for each of its letters


def dense(seed: int, count: int, direction: Direction) -> Sheet:
    """A study with a mark at every experiment: most are near the best, each sixth is kept, each ninth has failed."""
    rng, metric = random.Random(seed), Metric("a", direction)
    best, every = 2.0, list[Mark]()
    for number in range(1, count + 1):
        said = " ".join(rng.choice(("rate", "of", "the", "head", "twice", "embeddings")) for _ in range(9))
        if number % 9 == 0:
            every.append(Mark(number, Kind.FAILED, Standing.NONE, None, None, None, None, said))
        elif number == 1 or number % 6 == 0:
            gain = -metric.sign * rng.uniform(0.005, 0.15)
            best -= gain
            every.append(Mark(number, Kind.KEPT, Standing.SURE, best, 0.004, -gain, 0.003, said))
        else:
            value = best + rng.gauss(0.0, 0.05)
            every.append(Mark(number, Kind.DISCARDED, Standing.NONE, value, 0.004, None, None, said))
    kept = [mark for mark in every if mark.kind is Kind.KEPT]
    return Sheet(every, kept, metric, 0.004)


def names(sheet: Sheet) -> list[Box]:
    """No larger than what a browser draws."""
    found: list[Box] = []
    for attributes, text in re.findall(r"<text ([^>]*)>(.*?)</text>", sheet.labels().text):
        at = dict(re.findall(r'([\w-]+)="([^"]*)"', attributes))
        x, y, width = float(at["x"]), float(at["y"]), _LEAST_LETTER * len(re.sub(r"<[^>]*>", "", text))
        left = x - width if at.get("text-anchor") == "end" else x
        found.append(Box(left, y - 8, left + width, y + 1))
    return found


def drawn(sheet: Sheet) -> list[Box]:
    """Dots, crosses, kept marks, and the lines between them."""
    dots = re.findall(rf"M{_NUMBER} {_NUMBER}h0", sheet.others().text)
    kept = re.findall(rf'cx="{_NUMBER}" cy="{_NUMBER}"', sheet.kept().text)
    assert dots and kept
    found = [
        Box(float(x) - size, float(y) - size, float(x) + size, float(y) + size)
        for some, size in ((dots, 2.0), (kept, 4.0))
        for x, y in some
    ]
    places = [(float(x), float(y)) for x, y in kept]
    for (x, y), (after, below) in pairwise(places):
        found += [Box(x, y, after, y), Box(after, min(y, below), after, max(y, below))]
    return found


@pytest.mark.parametrize("direction", ["lower", "higher"])
@pytest.mark.parametrize("count", [40, 130, 400])
@pytest.mark.parametrize("seed", range(5))
def test_no_name_covers_anything(seed: int, count: int, direction: Direction) -> None:
    sheet = dense(seed, count, direction)
    found, others = names(sheet), drawn(sheet)
    assert not [(one, other) for one in found for other in others if one.meets(other)]
    assert not [pair for pair in combinations(found, 2) if pair[0].meets(pair[1])]
    assert all(62 < one.left and one.right < 860 - 12 for one in found)


def test_most_gains_are_named_where_there_is_room() -> None:
    assert [len(names(dense(seed, 25, "lower"))) for seed in range(3)] == [pytest.approx(3, abs=1)] * 3  # of four


def test_a_gain_whose_name_has_no_room_stands_as_a_number() -> None:
    """Between the axis, a dot above the line and the line's next step."""
    said, steps = "twice the rate of the head", {1: 3.0, 3: 2.6, 8: 1.5}
    kept = [Mark(n, Kind.KEPT, Standing.SURE, best, 0.004, -0.4, 0.003, said) for n, best in steps.items()]
    others = {4: 2.65, **dict.fromkeys(range(9, 40), 3.0)}
    dots = [Mark(n, Kind.DISCARDED, Standing.NONE, value, 0.004, None, None, said) for n, value in others.items()]
    labels = Sheet([*kept, *dots], kept, Metric("a", "lower"), 0.004).labels().text
    told = re.findall(r"<text [^>]*>(.*?)</text>", labels)
    assert sorted(text.startswith("<tspan") for text in told) == [False, True], told


def test_a_name_goes_below_its_mark_or_before_it_where_that_is_free() -> None:
    sheet = Box(0, 0, 100, 100)
    assert (placed := Room(sheet, [], []).place(20, 50, 40)) and placed.y < 50 < placed.x + 40 and not placed.ends
    low = Room(sheet, [], [Box(0, 40, 100, 41)]).place(20, 50, 40)
    assert low and low.y > 60 and low.x > 20
    left = Room(sheet, [], []).place(90, 50, 40)
    assert left and left.ends and left.x < 90
    assert (
        Room(sheet, [Box(x, y, x + 2, y + 2) for x in range(0, 100, 8) for y in range(0, 100, 8)], []).place(
            *(50, 50, 40)
        )
        is None
    )
