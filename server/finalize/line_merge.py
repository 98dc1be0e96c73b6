"""Which kept changes lie on one line, and a merge that lets changes of neighbouring lines stand side by side. Pure.

Git calls changes of adjacent lines a conflict. Constants of a train.py stand line by line, so here two changes conflict
where they replace the same line, or insert at the same place.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import product
from typing import NamedTuple

Change = Mapping[str, tuple[str | None, str | None]]  # text before and after, by path; None: there is no such file


class Hunk(NamedTuple):
    """Lines `start` to `end` of a text, from 0, replaced by `lines`."""

    start: int
    end: int
    lines: tuple[str, ...]


def split(text: str) -> list[str]:
    """Its lines with their ends; only a line feed ends one."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def hunks(before: Sequence[str], after: Sequence[str]) -> list[Hunk]:
    """What makes `after` of `before`."""
    same = 0
    while same < min(len(before), len(after)) and before[same] == after[same]:
        same += 1
    end = 0
    while end < min(len(before), len(after)) - same and before[-1 - end] == after[-1 - end]:
        end += 1
    old, new = before[same : len(before) - end], after[same : len(after) - end]
    found = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    made: list[Hunk] = []
    for what, a, b, c, d in found:
        if what != "equal":
            pairs = ((a + at, a + at + 1, c + at, c + at + 1) for at in range(b - a))
            each = pairs if b - a == d - c else [(a, b, c, d)]  # as many lines for as many: line for line
            made += [Hunk(same + start, same + stop, tuple(new[first:last])) for start, stop, first, last in each]
    return made


def merge(base: str, ours: str, theirs: str) -> str | None:
    """`ours` with what `theirs` changed since `base`.

    None where both changed the same line, inserted in one place, or the last line has no end and another one follows.
    """
    lines = split(base)
    mine, yours = hunks(lines, split(ours)), hunks(lines, split(theirs))
    if any(_collide(one, other) for one, other in product(mine, yours) if one != other):
        return None
    merged: list[str] = []
    at = 0
    for start, end, new in sorted({*mine, *yours}):
        merged += [*lines[at:start], *new]
        at = end
    merged += lines[at:]
    return None if any(not line.endswith("\n") for line in merged[:-1]) else "".join(merged)


def _collide(one: Hunk, other: Hunk) -> bool:
    if one.start == one.end and other.start == other.end:
        return one.start == other.start
    return one.start < other.end and other.start < one.end


def chains(changes: Iterable[tuple[int, Change]]) -> list[list[int]]:
    """The numbers of changes made one after another, those that lie on one line together; by their last one.

    Two are in one chain where the later one replaces or removes a line of the earlier one's, inserts where that has
    removed something, or changes a file that it made.
    """
    parents: dict[int, int] = {}
    files: dict[str, _Owners] = {}

    def top(number: int) -> int:
        while parents[number] != number:
            number = parents[number]
        return number

    for number, change in changes:
        parents[number] = number
        for path, (before, after) in change.items():
            owners = files.setdefault(path, _Owners())
            for other in owners.touched(number, before, after):
                parents[top(other)] = top(number)
    groups: dict[int, list[int]] = {}
    for number in parents:
        groups.setdefault(top(number), []).append(number)
    return sorted(groups.values(), key=lambda group: group[-1])


class _Owners:
    """Who wrote each line of a file, and who removed something in each gap between them."""

    def __init__(self) -> None:
        self._maker: set[int] = set()
        self._lines: list[set[int]] = []
        self._gaps: list[set[int]] = [set()]

    def touched(self, number: int, before: str | None, after: str | None) -> set[int]:
        """Take a change in, and tell whose lines it touches."""
        old, new = split(before or ""), split(after or "")
        if len(self._lines) != len(old):  # the first change of this file
            self._lines, self._gaps = [set() for _ in old], [set() for _ in range(len(old) + 1)]
        found = set(self._maker)
        if before is None or after is None:
            found = found.union(*self._lines, *self._gaps)
            self._maker = {*self._maker, number}
        for hunk in reversed(hunks(old, new)):
            found |= self._replace(hunk, number)
        return found

    def _replace(self, hunk: Hunk, number: int) -> set[int]:
        start, end, new = hunk
        inner = self._gaps[start + 1 : end] if end > start else [self._gaps[start]]
        found = set[int]().union(*self._lines[start:end], *inner)
        self._lines[start:end] = [{number} for _ in new]
        edges = self._gaps[start], self._gaps[end]
        if new:
            self._gaps[start : end + 1] = [edges[0], *(set[int]() for _ in new[1:]), edges[1]]
        else:
            self._gaps[start : end + 1] = [set().union(*edges, found, {number})]
        return found
