"""Draws maps, and measures the tours that are answered."""

import math
import random
from collections.abc import Iterator

from trainer.judging import WrongAnswer

CASES = 8  # maps in one pass
CPU_SECONDS = 0.2  # for one map, as the question tells it
CASE_CPU_SECONDS = 0.25  # more than this, of all its processes together, ends the run
CASE_SECONDS = 5  # on the wall clock


def cases(seed: int) -> Iterator[tuple[dict, list]]:
    """Maps of 60 to 200 towns in the unit square: spread evenly, in clusters, on a grid or along lines."""
    draw = random.Random(seed)
    shapes = [_even, _clusters, _grid, _lines] * (CASES // 4)
    for shape in draw.sample(shapes, CASES):
        towns = [[round(x, 4), round(y, 4)] for x, y in shape(draw, draw.randint(60, 200))]
        draw.shuffle(towns)
        yield {"towns": towns, "cpu_seconds": CPU_SECONDS}, towns


def score(answer: object, truth: list) -> float:
    """The length of the closed tour by the square root of the number of towns, so that all maps count alike."""
    if not isinstance(answer, list) or any(type(town) is not int for town in answer):
        raise WrongAnswer("the answer is no list of whole numbers")
    if len(answer) != len(truth) or set(answer) != set(range(len(truth))):
        missing = len(set(range(len(truth))) - set(answer))
        raise WrongAnswer(f"the tour of {len(truth)} towns has {len(answer)} stops and leaves out {missing} towns")
    places = [truth[town] for town in answer]
    return sum(map(math.dist, places, places[1:] + places[:1])) / math.sqrt(len(truth))


def _even(draw: random.Random, count: int) -> list:
    return [(draw.random(), draw.random()) for _ in range(count)]


def _clusters(draw: random.Random, count: int) -> list:
    centres, width = _even(draw, draw.randint(3, 9)), draw.uniform(0.02, 0.1)
    return [tuple(draw.gauss(part, width) for part in draw.choice(centres)) for _ in range(count)]


def _grid(draw: random.Random, count: int) -> list:
    side, shake = math.isqrt(count), draw.uniform(0.0, 0.4)
    return [
        tuple((part + draw.uniform(-shake, shake)) / side for part in divmod(one, side)) for one in range(side * side)
    ]


def _lines(draw: random.Random, count: int) -> list:
    ends = [(*_even(draw, 2),) for _ in range(draw.randint(3, 8))]
    picked = ((draw.choice(ends), draw.random()) for _ in range(count))
    return [
        tuple(a + part * (b - a) + draw.gauss(0, 0.01) for a, b in zip(*line, strict=True)) for line, part in picked
    ]
