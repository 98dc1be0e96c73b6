"""Where a label stands on a chart: beside its mark, over no mark, line or other label. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

_ABOVE = 10.0  # units from the baseline of a label to the top of its letters
_BELOW = 3.5  # and to the bottom
_AIR = 1.5  # at least between letters and anything else
_ASIDE = 9.0  # from the middle of a mark to its label
_HEIGHTS = (-8.0, 17.0, 4.0)  # of the baseline, from the mark's middle, the best first


class Box(NamedTuple):
    """A rectangle, `top` above `bottom`, in the picture's units; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Box") -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


class Placed(NamedTuple):
    """A label's place: where its text begins, or where it ends if it stands left of its mark, and its baseline."""

    x: float
    y: float
    ends: bool


class Room:
    """What a chart has left for labels."""

    def __init__(self, sheet: Box, marks: Sequence[Box], lines: Sequence[Box]) -> None:
        """`sheet`: labels stay in it, and cover no mark and no line."""
        self._sheet = sheet
        self._marks = sorted(marks)
        self._lefts = [box.left for box in self._marks]
        self._widest = max((box.right - box.left for box in self._marks), default=0.0)
        self._taken = list(lines)

    def place(self, x: float, y: float, width: float) -> Placed | None:
        """Take the best free place for a label of a mark in (x, y); None where every one is taken."""
        for rise, ends in product(_HEIGHTS, (False, True)):
            left = x - _ASIDE - width if ends else x + _ASIDE
            box = Box(left, y + rise - _ABOVE, left + width, y + rise + _BELOW)
            if self._is_free(box):
                self._taken.append(box)
                return Placed(left + width if ends else left, y + rise, ends)
        return None

    def _is_free(self, box: Box) -> bool:
        sheet = self._sheet
        if box.left < sheet.left or box.right > sheet.right or box.top < sheet.top or box.bottom > sheet.bottom:
            return False
        wide = Box(box.left - _AIR, box.top - _AIR, box.right + _AIR, box.bottom + _AIR)
        first = bisect_left(self._lefts, wide.left - self._widest)
        near = self._marks[first : bisect_right(self._lefts, wide.right)]
        return not any(map(wide.meets, (*near, *self._taken)))
