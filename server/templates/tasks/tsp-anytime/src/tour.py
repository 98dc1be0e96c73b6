"""A short round trip through all towns, in a given CPU time."""

import math
import random
import time


def tour(towns, cpu_seconds):
    """The order in which to visit `towns`, a list of [x, y]; every index of it once."""
    end = time.process_time() + 0.9 * cpu_seconds
    order = nearest_neighbours(towns)
    draw = random.Random(len(towns))
    while time.process_time() < end:
        improve(towns, order, draw)
    return order


def nearest_neighbours(towns):
    """From each town to the nearest one that was not visited yet."""
    order, left = [0], set(range(1, len(towns)))
    while left:
        here = towns[order[-1]]
        order.append(min(left, key=lambda town: math.dist(here, towns[town])))
        left.remove(order[-1])
    return order


def improve(towns, order, draw):
    """Exchange two towns where that makes the tour shorter."""
    a, b = draw.sample(range(len(order)), 2)
    before = length(towns, order)
    order[a], order[b] = order[b], order[a]
    if length(towns, order) >= before:
        order[a], order[b] = order[b], order[a]


def length(towns, order):
    places = [towns[town] for town in order]
    return sum(map(math.dist, places, places[1:] + places[:1]))
