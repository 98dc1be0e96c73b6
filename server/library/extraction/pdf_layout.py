"""A PDF as Markdown: headings by size, paragraphs without hyphens, lists, code by its font. Tables are lost."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import pairwise
from statistics import median
from typing import Any

from server.library.document import Kind
from server.library.extraction.page.metadata import iso_date
from server.library.extraction.pdf_order import in_order
from server.library.extraction.pdf_text import HYPHEN, Line, read_pages
from server.library.extraction.text.reasons import Reason, Unreadable

_LARGER = 1.1  # than the text: a heading
_RARE = 0.15  # of all characters: a larger share is no heading's
_LEVELS = 4
_LONG = 160  # characters: more is no heading
_NUMBERED = re.compile(r"^(?:(\d+(?:\.\d+)*)\.?|[A-Z]\.(?:\d+(?:\.\d+)*)?|[IVX]+\.|Appendix [A-Z])\s+\S")
_NAMED = re.compile(
    r"^(?:abstract|introduction|references|acknowledge?ments?|conclusions?|appendix|related work|"
    r"bibliography)\b.{0,30}$",
    re.I,
)
_BULLET = re.compile(r"^[•◦▪‣●○■–∙]\s*")
_ITEM = re.compile(r"^(?:[•◦▪‣●○■–∙]\s*|\(?\d{1,3}[.)]\s|\[\d{1,3}\]\s|\([a-z]\)\s)")
_END = re.compile(r"[.:!?][\"”’)\]]*$")
_HYPHENS = ("-", HYPHEN, "\u2010")
_NEAR = 8  # pieces before a line's end that may be of its last word
_LONGEST = 200  # characters of them
_WORD = re.compile(r"[^\W\d_]{2,}")
_DATE = re.compile(r"D:(\d{4})(\d{2})(\d{2})")
_NO_TITLE = re.compile(r"^(?:untitled|microsoft word|.*\.(?:dvi|docx?|tex|pdf|indd)$|\W*$)", re.I)


def read_pdf(data: bytes) -> dict[str, Any]:
    """The fields of an Extract.

    Raises:
        Unreadable: it is encrypted, damaged, scanned, or too long.
    """
    pages, told = read_pages(data)
    ordered = in_order(pages)
    markdown = _Layout(ordered).write()
    if not _WORD.search(markdown):
        raise Unreadable(Reason.SCANNED)
    date = _DATE.match(told.get("creationdate", ""))
    title = told.get("title", "")
    return {
        "kind": Kind.PDF,
        "markdown": markdown + "\n",
        "title": " ".join(title.split()) if not _NO_TITLE.match(title) else _largest(ordered),
        "author": " ".join(told.get("author", "").split()),
        "published": iso_date("-".join(date.groups())) if date else "",
        "extractor": f"pypdfium2 {version('pypdfium2')}, own layout",
        "lossy": True,
    }


def _largest(ordered: Sequence[Sequence[Line]]) -> str:
    """What is set in the largest letters on the first page."""
    first = [line for lines in ordered[:1] for line in lines if _WORD.search(line.text)]
    size = max((line.size for line in first), default=0.0)
    return " ".join(line.text.strip() for line in first if line.size == size)[:300]


@dataclass
class _Layout:
    """Lines in reading order, put together to blocks."""

    pages: list[list[Line]]
    _blocks: list[str] = field(default_factory=list[str])
    _lines: list[Line] = field(default_factory=list[Line])  # of the paragraph or block of code under way

    def __post_init__(self) -> None:
        lines = [line for page in self.pages for line in page]
        sizes: Counter[float] = Counter()
        for line in lines:
            sizes[line.size] += len(line.text)
        self._size = sizes.most_common(1)[0][0] if sizes else 10.0
        total = sum(sizes.values())
        larger = [size for size, count in sizes.items() if size >= _LARGER * self._size and count < _RARE * total]
        self._larger = sorted(larger, reverse=True)
        self._words = Counter(word.lower() for line in lines for word in _WORD.findall(line.text))
        gaps = [a.bottom - b.bottom for page in self.pages for a, b in pairwise(page)]
        usual = [gap / self._size for gap in gaps if 0.8 * self._size < gap < 3 * self._size]
        self._leading = median(usual) if usual else 1.2
        self._right = self._right_edges()

    def _right_edges(self) -> dict[int, float]:
        """For each left edge (in tens of points) how far lines reach that begin there."""
        edges: dict[int, float] = {}
        for line in (line for page in self.pages for line in page):
            edges[int(line.left // 10)] = max(edges.get(int(line.left // 10), 0.0), line.right)
        return edges

    def write(self) -> str:
        for line in (line for page in self.pages for line in page):
            self._take(line)
        self._end()
        return "\n\n".join(self._blocks)

    def _take(self, line: Line) -> None:
        level = self._level(line)
        last = self._lines[-1] if self._lines else None
        if level:
            if (
                last
                and self._level(last) == level
                and abs(last.size - line.size) < 0.3
                and self._is_next(last, line, 1.9)
            ):
                self._lines.append(line)
                return
            self._end()
        elif last and (self._level(last) or last.mono != line.mono or (not line.mono and self._begins(last, line))):
            self._end()
        self._lines.append(line)

    def _is_next(self, last: Line, line: Line, sizes: float) -> bool:
        return last.page == line.page and 0 < last.bottom - line.bottom < sizes * max(line.size, last.size)

    def _level(self, line: Line) -> int:
        """Of a heading; 0 for other lines."""
        text = line.text.strip()
        if line.mono or len(text) > _LONG or not _WORD.search(text):
            return 0
        numbered = _NUMBERED.match(text)
        if line.size in self._larger and (len(text) > 2 or numbered):
            return min(self._larger.index(line.size) + 1, _LEVELS)
        if line.bold and line.size >= 0.97 * self._size and len(text) < _LONG // 2 and (numbered or _NAMED.match(text)):
            depth = numbered[1].count(".") + 1 if numbered and numbered[1] else 1
            return min(min(len(self._larger), 2) + depth, 6)
        return 0

    def _begins(self, last: Line, line: Line) -> bool:
        """Whether a paragraph begins with this line."""
        text, before = line.text.strip(), last.text.strip()
        if _ITEM.match(text) and not re.match(r"^\d{1,3}\)", text):
            return True
        if abs(last.size - line.size) > 1.2 or (last.bold and not line.bold and len(before) < 60):
            return True
        gap = last.bottom - line.bottom
        if last.page != line.page or gap < 0:  # of the next page or column
            return bool(_END.search(before)) and not text[:1].islower()
        if gap > (self._leading + 0.45) * self._size:
            return True
        indented = 0.6 * self._size < line.left - last.left < 5 * self._size
        short = last.right < self._right.get(int(last.left // 10), last.right) - 4 * self._size
        return bool(_END.search(before)) and not text[:1].islower() and (indented or short)

    def _end(self) -> None:
        lines, self._lines = self._lines, []
        if not lines:
            return
        if lines[0].mono and not self._level(lines[0]):
            self._blocks.append(_code(lines))
            return
        text = self._joined(lines)
        if level := self._level(lines[0]):
            text = f"{'#' * level} {text}"
        elif _BULLET.match(text):
            text = "- " + _BULLET.sub("", text)
        elif re.match(r"^(?:#|>|[-+*] )", text):
            text = "\\" + text
        if text.strip():
            self._blocks.append(text)

    def _joined(self, lines: Sequence[Line]) -> str:
        parts: list[str] = []
        for line in lines:
            piece = line.text.strip()
            if parts and parts[-1].endswith(_HYPHENS) and piece[:1].islower():
                end = "".join(parts[-_NEAR:])[-_LONGEST:]
                parts[-1] = parts[-1][:-1] + "-" * self._keeps_hyphen(end, piece)
                parts.append(piece)
            else:
                parts += [" " * bool(parts), piece]
        text = re.sub(rf"(\w){HYPHEN}\s*(\w)", r"\1\2", "".join(parts))
        return re.sub(r"\s+", " ", text.replace(HYPHEN, "-")).strip()

    def _keeps_hyphen(self, end: str, piece: str) -> bool:
        """Whether the word that a line ends on, and that goes on in the next piece, is written with a hyphen."""
        before, after = re.search(r"([^\W\d_]+).$", end), re.match(r"[^\W\d_]+", piece)
        if before is None or after is None:
            return False
        one, two = before[1].lower(), after[0].lower()
        compound = re.search(r"-[^\W\d_]+.$", end) is not None
        return compound or (not self._words[one + two] and self._words[one] > 1 and self._words[two] > 1)


def _code(lines: Sequence[Line]) -> str:
    """Lines in a font of equal widths, with the indentation that their places show."""
    left = min(line.left for line in lines)
    widths = [(line.right - line.left) / len(line.text.strip()) for line in lines if len(line.text.strip()) > 4]
    width = median(widths) if widths else max(1.0, 0.6 * lines[0].size)
    texts: list[str] = []
    for before, line in zip([None, *lines], lines, strict=False):
        if before and before.page == line.page and before.bottom - line.bottom > 2.2 * line.size:
            texts.append("")
        texts.append(" " * round((line.left - left) / width) + line.text.strip().replace(HYPHEN, "-"))
    return "```\n" + "\n".join(texts) + "\n```"
