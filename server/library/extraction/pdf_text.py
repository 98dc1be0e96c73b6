"""The lines of a PDF: which characters stand beside each other, where, how large and in which font."""

import ctypes
import re
from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

import pypdfium2  # pyright: ignore[reportMissingTypeStubs]
import pypdfium2.raw  # pyright: ignore[reportMissingTypeStubs]

from server.library.extraction.text.charset import visible
from server.library.extraction.text.reasons import Reason, Unreadable

raw: Any = pypdfium2.raw
MOST_PAGES = 2000
MOST_CHARACTERS = 4_000_000
_MONO = re.compile(r"mono|courier|consol|typewriter|cmtt|menlo|inconsolata|sfmono|lmtt|txtt|nimbusmon|fixed|code", re.I)
_BOLD = re.compile(r"bold|black|cmbx|medi|heavy|semibold|-bd|sfbx", re.I)
_ITALIC = re.compile(r"ital|obli|cmti|cmsl|cmmi", re.I)
_FIXED_PITCH = 1  # a flag of fonts
_HYPHENS = (2, 0xAD, 0xFFFE)
_BLANKS = (0, 10, 13, 32)
HYPHEN = "\u00ad"  # at the end of a line: pdfium marks those that divide a word
_LIGATURES = {
    "\ufb00": "ff",
    "\ufb01": "fi",
    "\ufb02": "fl",
    "\ufb03": "ffi",
    "\ufb04": "ffl",
    "\ufb05": "st",
    "\ufb06": "st",
}
_GAP = 1.6  # sizes of a letter: a wider gap divides two columns
_BLANK = 0.3  # a narrower one is none between words
_WIDE_BLANK = 0.75  # of letters of one width, which stand further apart
_SLOPE = 0.2  # of a line that does not lie flat, such as a number of arXiv along the margin


def _quick(function: Any, answer: Any, numbers: int = 0) -> Any:
    """A function of pdfium, for a text, a place in it and addresses of numbers; a million calls check no types."""
    told = (ctypes.c_void_p, ctypes.c_int, *(ctypes.c_void_p for _ in range(numbers)))
    return ctypes.cast(function, ctypes.PYFUNCTYPE(answer, *told))


_code_of = _quick(raw.FPDFText_GetUnicode, ctypes.c_uint)
_object_of = _quick(raw.FPDFText_GetTextObject, ctypes.c_void_p)
_box_of = _quick(raw.FPDFText_GetCharBox, ctypes.c_int, 4)
_origin_of = _quick(raw.FPDFText_GetCharOrigin, ctypes.c_int, 2)


@dataclass(slots=True)
class Glyph:
    """One character, in points from the page's lower left corner."""

    text: str
    size: float
    left: float
    right: float
    bottom: float
    top: float
    base: float
    mono: bool
    bold: bool


@dataclass(slots=True)
class Line:
    """Characters on one line of one column."""

    text: str
    size: float
    left: float
    right: float
    bottom: float
    top: float
    mono: bool
    bold: bool
    page: int

    @property
    def middle(self) -> float:
        return (self.left + self.right) / 2


@dataclass
class Page:
    """One page: its lines as they were drawn."""

    lines: list[Line]
    width: float
    height: float


def read_pages(data: bytes) -> tuple[list[Page], dict[str, str]]:
    """The pages of a PDF, and what it says of itself.

    Raises:
        Unreadable: it is encrypted, damaged, too long, or has no text.
    """
    try:
        document = pypdfium2.PdfDocument(data)
        count = len(document)
    except pypdfium2.PdfiumError as error:
        encrypted = "password" in str(error).lower() or "security" in str(error).lower()
        raise Unreadable(Reason.ENCRYPTED if encrypted else Reason.DAMAGED, "it is not a complete PDF") from None
    if count > MOST_PAGES:
        raise Unreadable(Reason.LARGE, f"it has more than {MOST_PAGES:,} pages")
    pages: list[Page] = []
    characters = 0
    for number in range(count):
        try:
            page = _page(document[number], number, MOST_CHARACTERS - characters)
        except pypdfium2.PdfiumError:
            continue  # a damaged page among whole ones
        characters += sum(len(line.text) for line in page.lines)
        pages.append(page)
    if not pages:
        raise Unreadable(Reason.DAMAGED, "no page of it can be read")
    if characters < 20 * len(pages) and characters < 400:
        raise Unreadable(Reason.SCANNED if characters < 10 * len(pages) else Reason.EMPTY)
    return pages, {name.lower(): visible(value).strip() for name, value in document.get_metadata_dict().items()}


def _page(page: Any, number: int, most: int) -> Page:
    """One page. Raises Unreadable: it has more than `most` characters, drawn or not."""
    text = page.get_textpage()
    try:
        if text.count_chars() > most:
            raise Unreadable(Reason.LARGE, f"it has more than {MOST_CHARACTERS // 1_000_000} million characters")
        glyphs = _glyphs(text)
    finally:
        text.close()
    width, height = page.get_size()
    page.close()
    return Page(_lines(glyphs, number), width, height)


def _glyphs(text: Any) -> list[Glyph]:
    left, right, bottom, top, _, y = numbers = [ctypes.c_double() for _ in range(6)]
    places = [ctypes.addressof(one) for one in numbers]
    box, origin, page = places[:4], places[4:], ctypes.cast(text.raw, ctypes.c_void_p).value
    fonts = _Fonts(text)
    drawn, known = None, Font(0.0, False, False, False)
    blank = False
    found: list[Glyph] = []
    for at in range(text.count_chars()):
        code = _code_of(page, at)
        if code in _BLANKS:  # those that pdfium has put in as well
            blank = True
            continue
        one = _object_of(page, at)
        if one is None or one != drawn:  # what is drawn at once has one font, size and angle
            drawn, known = one, fonts.of(at)
        if known.slanted:
            continue
        _box_of(page, at, *box)
        _origin_of(page, at, *origin)
        letter = HYPHEN if code in _HYPHENS else chr(code)
        letter = " " * blank + _LIGATURES.get(letter, letter)
        blank = False
        place = (known.size, left.value, right.value, bottom.value, top.value, y.value)
        found.append(Glyph(letter, *place, known.mono, known.bold))
    return found


class Font(NamedTuple):
    """How a character is drawn."""

    size: float
    mono: bool
    bold: bool
    slanted: bool


class _Fonts:
    """Of one page's characters."""

    def __init__(self, text: Any) -> None:
        self._text = text
        self._name, self._flags, self._matrix = ctypes.create_string_buffer(128), ctypes.c_int(), raw.FS_MATRIX()
        self._known: dict[bytes, tuple[bool, bool]] = {}

    def of(self, at: int) -> Font:
        """The font of the character at this place."""
        size = raw.FPDFText_GetFontSize(self._text, at)
        if raw.FPDFText_GetMatrix(self._text, at, self._matrix):
            size *= abs(self._matrix.d) or abs(self._matrix.b) or 1
        raw.FPDFText_GetFontInfo(self._text, at, self._name, 128, self._flags)
        if self._name.value not in self._known:
            shown = self._name.value.decode("latin-1")
            mono = bool(_MONO.search(shown)) or bool(self._flags.value & _FIXED_PITCH)
            self._known[self._name.value] = (mono, bool(_BOLD.search(shown)))
        return Font(size, *self._known[self._name.value], _slanted(raw.FPDFText_GetCharAngle(self._text, at)))


def _slanted(angle: float) -> bool:
    turn = angle % 6.28318
    return _SLOPE < turn < 6.28318 - _SLOPE


def _lines(glyphs: list[Glyph], page: int) -> list[Line]:
    """Glyphs in the order they were drawn, divided where the next one is not beside the last."""
    lines: list[Line] = []
    current: list[Glyph] = []
    for glyph in glyphs:
        if current and not _continues(current, glyph):
            lines += _line(current, page)
            current = []
        current.append(glyph)
    return _joined(lines + _line(current, page))


def _continues(current: list[Glyph], glyph: Glyph) -> bool:
    last = current[-1]
    size = max(last.size, glyph.size, 1.0)
    level = max(abs(one.base - glyph.base) < 0.65 * size for one in current[-3:])
    return level and -0.9 * size < glyph.left - last.right < _GAP * size


def _line(glyphs: list[Glyph], page: int) -> list[Line]:
    inked = [one for one in glyphs if one.text.strip()]
    if not inked:
        return []
    size = Counter(round(one.size * 2) / 2 for one in inked).most_common(1)[0][0]
    text = visible_but_hyphen(_spaced(glyphs))
    mono, bold = (sum(getattr(one, name) for one in inked) > 0.8 * len(inked) for name in ("mono", "bold"))
    left, right = min(one.left for one in inked), max(one.right for one in inked)
    bottom, top = median(one.base for one in inked), max(one.top for one in inked)
    return [Line(text, size, left, right, bottom, top, mono, bold, page)] if text.strip() else []


def visible_but_hyphen(text: str) -> str:
    return "\u00ad".join(visible(part) for part in text.split(HYPHEN))


def _spaced(glyphs: list[Glyph]) -> str:
    """The text, with a blank where a gap is as wide as one and none was written."""
    parts: list[str] = []
    last: Glyph | None = None
    for one in glyphs:
        gap = one.left - last.right if last else 0.0
        if last and gap > (_WIDE_BLANK if one.mono else _BLANK) * max(one.size, 1.0):
            parts.append(" ")
        parts.append(one.text)
        last = one
    return re.sub(r"\s+", " ", "".join(parts))


def _joined(lines: list[Line]) -> list[Line]:
    """Pieces of one line, drawn one after the other, as one: a raised number, or a word in another font."""
    found: list[Line] = []
    for line in lines:
        last = found[-1] if found else None
        size = max(line.size, last.size) if last else 0
        if last and abs(last.bottom - line.bottom) < 0.5 * size and -0.2 * size < line.left - last.right < _GAP * size:
            blank = " " if line.left - last.right > _BLANK * size and not last.text.endswith(HYPHEN) else ""
            larger = last if len(last.text) >= len(line.text) else line
            found[-1] = Line(
                last.text.rstrip() + blank + line.text,
                larger.size,
                last.left,
                line.right,
                larger.bottom,
                max(last.top, line.top),
                last.mono and line.mono,
                last.bold and line.bold,
                line.page,
            )
        else:
            found.append(line)
    return found
