"""Tables of a page as pipe tables; tables that only lay out a page are recognised."""

import re
from collections.abc import Callable

from server.library.extraction.html.tree import Element, has_class, text_of, words

_WIDE = 200  # columns
_SPAN = 500  # rows that one cell may reach down
_MOST_CELLS = 60_000
_LONG = 150  # words of a cell; a longer one is text that a table lays out
_NUMBER = re.compile(r"^[\s$€£¥+−–-]*\d[\d.,:/\s%±×x()eE+-]*\w{0,3}$")


def rows_of(table: Element) -> list[Element]:
    """Its own rows, those of the head first; not those of tables in it."""
    found = [row for row in table.iter("tr") if next(row.iterancestors("table"), None) is table]
    head = [row for row in found if row.getparent().tag == "thead"]
    return [*head, *(row for row in found if row.getparent().tag not in ("thead", "tfoot"))] + [
        row for row in found if row.getparent().tag == "tfoot"
    ]


def cells_of(row: Element) -> list[Element]:
    return [cell for cell in row if cell.tag in ("td", "th")]


def is_layout(table: Element) -> bool:
    """Whether the table only puts parts of a page beside each other."""
    if (table.get("role") or "").lower() in ("presentation", "none") or table.find(".//table") is not None:
        return True
    rows = [cells for row in rows_of(table) if (cells := cells_of(row))]
    if max(map(len, rows), default=0) < 2:
        return True
    long = any(len(words(text_of(cell))) > _LONG for cells in rows for cell in cells)
    headed = table.find(".//th") is not None and len(rows) > 2
    return (long and not headed) or has_class(table, "layout")


def write_table(table: Element, text_of_cell: Callable[[Element], str]) -> str:
    """The table with a head, its cells on one line each. A cell over several rows is written in each of them.

    Args:
        text_of_cell: Markdown of a cell, lines divided by `<br>`.
    """
    rows = [(row, cells) for row in rows_of(table) if (cells := cells_of(row))]
    grid = _grid([cells for _, cells in rows], text_of_cell)
    width = max(map(len, grid))
    used = [at for at in range(width) if any(at < len(line) and line[at] for line in grid)]
    grid = [[line[at] if at < len(line) else "" for at in used] for line in grid]
    if not grid or not used:
        return ""
    if not _has_head(*rows[0], grid):
        grid.insert(0, [""] * len(used))
    lines = [f"| {' | '.join(line)} |" for line in grid]
    lines.insert(1, "|" + " --- |" * len(used))
    return "\n".join(lines)


def _grid(rows: list[list[Element]], text_of_cell: Callable[[Element], str]) -> list[list[str]]:
    grid: list[list[str]] = []
    below: dict[tuple[int, int], str] = {}
    count = 0
    for y, cells in enumerate(rows):
        line: list[str] = []
        for cell in cells:
            while (y, len(line)) in below:
                line.append(below.pop((y, len(line))))
            text = re.sub(r"(?<!\\)\|", r"\\|", text_of_cell(cell))
            wide, high = _span(cell, "colspan", _WIDE), _span(cell, "rowspan", min(_SPAN, len(rows) - y))
            start = len(line)
            for x in range(start, min(start + wide, _WIDE)):
                first = text if x == start else ""
                line.append(first)
                if count < _MOST_CELLS:
                    below.update({(y + down, x): first for down in range(1, high)})
                    count += high
            if len(line) >= _WIDE:
                break
        while (y, len(line)) in below and len(line) < _WIDE:
            line.append(below.pop((y, len(line))))
        grid.append(line)
    return grid


def _span(cell: Element, name: str, most: int) -> int:
    told = (cell.get(name) or "1").strip()
    if told == "0" and name == "rowspan":
        return most
    return max(1, min(int(told), most)) if told.isascii() and told.isdigit() and len(told) < 9 else 1


def _has_head(row: Element, cells: list[Element], grid: list[list[str]]) -> bool:
    """Whether the first row names the columns: it says so, or it has words where the rows below have numbers."""
    if row.getparent().tag == "thead" or all(cell.tag == "th" for cell in cells):
        return True
    if sum(cell.tag == "th" for cell in cells) > 1:
        return True
    if any(cell.tag == "th" for cell in cells):
        return not grid[0][0] or any(not _NUMBER.match(text) for text in grid[0][1:])
    return len(grid) > 1 and not any(_NUMBER.match(text) for text in grid[0])
