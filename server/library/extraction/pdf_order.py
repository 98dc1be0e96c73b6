"""The lines of a PDF in the order in which they are read: by columns, without heads, feet and page numbers."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median

from server.library.extraction.pdf_text import Line, Page

_EDGE = 0.09  # of the height: where heads and feet stand
_NUMBER = re.compile(r"^[\W_]*(?:page\s*)?(?:\d{1,4}|[ivxl]{1,6})(?:\s*(?:of|/)\s*\d{1,4})?[\W_]*$", re.I)
_LEAST = 3  # lines of a column
_LONG = 18  # characters: cells of a table are shorter than lines of a column
_SIDE = 0.12  # of the lines: fewer beside each other are no columns
_GUTTER = 4.0  # points at least between two columns
_DEPTH = 3  # up to eight columns
_ROW = 0.4  # sizes between baselines of one row


def in_order(pages: Sequence[Page]) -> list[list[Line]]:
    """For each page its lines in reading order. Pieces on one row of a column are one line."""
    repeated = _repeated(pages)
    found: list[list[Line]] = []
    for page in pages:
        lines = [line for line in page.lines if not _is_edge(line, page, repeated)]
        found.append(_ordered(lines, _DEPTH))
    return found


def _key(line: Line) -> str:
    return re.sub(r"\d+", "#", line.text.strip())


def _at_edge(line: Line, page: Page) -> bool:
    return line.bottom > page.height * (1 - _EDGE) or line.bottom < page.height * _EDGE


def _repeated(pages: Sequence[Page]) -> set[str]:
    """What stands at the edge of several pages."""
    seen = Counter(key for page in pages for key in {_key(line) for line in page.lines if _at_edge(line, page)})
    least = 2 if len(pages) < 8 else 3
    return {key for key, count in seen.items() if count >= least}


def _is_edge(line: Line, page: Page, repeated: set[str]) -> bool:
    if not _at_edge(line, page):
        return False
    if _NUMBER.match(line.text.strip()):
        return True
    highest, lowest = max(one.bottom for one in page.lines), min(one.bottom for one in page.lines)
    outermost = line.bottom > highest - 2.5 * line.size or line.bottom < lowest + 2.5 * line.size
    return outermost and _key(line) in repeated


def _ordered(lines: list[Line], depth: int) -> list[Line]:
    gutter = _gutter(lines) if depth and len(lines) >= 2 * _LEAST else None
    if gutter is None:
        return _rows(lines)
    found: list[Line] = []
    band: list[Line] = []
    for line in sorted(lines, key=lambda one: -one.bottom):
        if line.left < gutter - 1 and line.right > gutter + 1:
            found += _band(band, gutter, depth)
            band = []
            found.append(line)
        else:
            band.append(line)
    return _rows_of_spanning(found + _band(band, gutter, depth))


def _band(band: list[Line], gutter: float, depth: int) -> list[Line]:
    """What stands between two lines over all columns."""
    left = [line for line in band if line.middle <= gutter]
    right = [line for line in band if line.middle > gutter]
    return _ordered(left, depth - 1) + _ordered(right, depth - 1)


def _gutter(lines: list[Line]) -> float | None:
    """Where a column ends and the next begins: the place that the fewest lines cross, if there are columns at all."""
    best: tuple[float, float] | None = None
    starts = sorted({round(line.left, 1) for line in lines})
    total = sum(len(line.text) for line in lines)
    for start in starts:
        gutter = start - 1.0
        left = [line for line in lines if line.right <= gutter]
        right = [line for line in lines if line.left >= gutter]
        if min(len(left), len(right)) < max(_LEAST, _SIDE * len(lines)):
            continue
        crossing = sum(len(line.text) for line in lines if line.left < gutter < line.right)
        if crossing > 0.5 * total or not _are_columns(left, right):
            continue
        score = crossing - 0.001 * min(len(left), len(right))
        if best is None or score < best[0]:
            edge = max((line.right for line in left if line.right <= gutter), default=gutter)
            best = (score, (edge + start) / 2)
    return best[1] if best else None


def _are_columns(left: list[Line], right: list[Line]) -> bool:
    """Whether both sides are text beside each other, not the cells of a table."""
    for side in (left, right):
        if median(len(line.text) for line in side) < _LONG:
            return False
    gap = _start(right) - _end(left)
    if gap < _GUTTER and gap < 0.4 * median(line.size for line in left):
        return False
    low, high = max(_low(left), _low(right)), min(_high(left), _high(right))
    return high - low > 0.25 * min(_high(left) - _low(left), _high(right) - _low(right)) or len(left) + len(right) > 20


def _start(lines: list[Line]) -> float:
    return sorted(line.left for line in lines)[len(lines) // 10]


def _end(lines: list[Line]) -> float:
    return sorted(line.right for line in lines)[-1 - len(lines) // 10]


def _low(lines: list[Line]) -> float:
    return min(line.bottom for line in lines)


def _high(lines: list[Line]) -> float:
    return max(line.bottom for line in lines)


def _rows(lines: list[Line]) -> list[Line]:
    """From top to bottom; what stands on one row is one line, its pieces apart by two blanks."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda one: -one.bottom):
        if rows and rows[-1][0].bottom - line.bottom < _ROW * max(line.size, rows[-1][0].size):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [_one_line(sorted(row, key=lambda one: one.left)) for row in rows]


def _rows_of_spanning(lines: list[Line]) -> list[Line]:
    """Pieces of one row that follow each other, over all columns, as one line."""
    found: list[Line] = []
    for line in lines:
        last = found[-1] if found else None
        if (
            last
            and last.page == line.page
            and abs(last.bottom - line.bottom) < 1
            and 0 <= line.left - last.right < 3 * line.size
        ):
            found[-1] = _one_line([last, line])
        else:
            found.append(line)
    return found


def _one_line(row: list[Line]) -> Line:
    if len(row) == 1:
        return row[0]
    main = max(row, key=lambda one: len(one.text))
    text = row[0].text.strip()
    for before, line in pairwise(row):
        text += ("  " if line.left - before.right > 1.5 * main.size else " ") + line.text.strip()
    return replace(
        main, text=text, left=row[0].left, right=max(line.right for line in row), mono=all(line.mono for line in row)
    )
