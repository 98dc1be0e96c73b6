"""Formulas as MathJax has drawn them, in boxes or as a picture: a saved page may have nothing else of them."""

import unicodedata
from collections.abc import Iterable

from server.library.extraction.html.tree import Element, text_of

_OPEN = {"mjx-num": 0, "mjx-den": 1, "mjx-base": 0, "mjx-under": 1, "mjx-over": 2}  # parts of a shape, by their place
_NOTHING = ("mjx-surd", "mjx-nstrut", "mjx-dstrut", "mjx-line", "mjx-spacer", "mjx-assistive-mml", "mjx-mstrut", "defs")
_TOKENS = ("mi", "mn", "mo", "mtext", "ms")
_SHAPES = ("mfrac", "msub", "msup", "msubsup", "munder", "mover", "munderover", "mroot")
_ROWS = ("msqrt", "mtable", "mtr", "mtd", "mrow")


def drawn(container: Element) -> Element:
    """The MathML of what stands in an `mjx-container`; an empty row where nothing is drawn."""
    return _row(container, "mrow", container)


def _row(maker: Element, name: str, inside: Iterable[Element]) -> Element:
    made = maker.makeelement(name)
    for one in inside:
        if isinstance(one.tag, str) and one.tag not in _NOTHING:
            made.append(_made(one))
    return made


def _made(one: Element) -> Element:
    name = one.get("data-mml-node") or one.tag.removeprefix("mjx-")
    if name in _TOKENS:
        made = one.makeelement(name)
        made.text = unicodedata.normalize("NFKC", _letters(one))
        return made
    if name in _SHAPES:
        return _shape(one, name)
    return _row(one, name if name in _ROWS else "mrow", one)


def _letters(token: Element) -> str:
    """The characters of a token: its text, or the numbers of the letters that a picture is put together from."""
    if text := text_of(token).strip():
        return text
    codes = [each.get("data-c") or _code(each) for each in token.iter()]
    return "".join(chr(int(code, 16)) for code in codes if code and len(code) < 6)


def _code(letter: Element) -> str:
    name = (letter.get("class") or "").partition(" ")[0].removeprefix("mjx-c")
    return name if letter.tag == "mjx-c" and name and all(one in "0123456789ABCDEF" for one in name) else ""


def _shape(one: Element, name: str) -> Element:
    """A fraction, or something with indices: its parts in the order of MathML, however the boxes are nested."""
    parts: dict[int, Element] = {}
    for place, part in _parts(one, name):
        parts.setdefault(place, part)
    made = one.makeelement(name)
    for place in sorted(parts):
        made.append(parts[place])
    return made


def _parts(one: Element, name: str) -> Iterable[tuple[int, Element]]:
    children = [each for each in one if isinstance(each.tag, str) and each.tag not in (*_NOTHING, "rect")]
    marked = [each for each in one.iter(*_OPEN) if _owner(each) is one]
    if marked:
        high = 1 if name == "mover" else 2
        return [(min(_OPEN[each.tag], high), _row(one, "mrow", each)) for each in marked]
    if children and children[-1].tag == "mjx-script":  # of two indices the upper one comes first
        script = [each for each in children[-1] if isinstance(each.tag, str) and each.tag not in _NOTHING]
        indices = script[::-1] if len(script) == 2 else script
        return enumerate([_row(one, "mrow", children[:-1]), *map(_made, indices)])
    made = [_made(each) for each in children]
    swapped = name in ("msubsup", "munderover") and len(made) == 3 and one.get("data-mml-node")
    return enumerate([made[0], made[2], made[1]] if swapped else made)


def _owner(part: Element) -> Element | None:
    """The shape that a part belongs to: boxes of MathJax stand between, among them an inner `mjx-munder`."""
    above = part.getparent()
    while above is not None and above.tag.removeprefix("mjx-") not in _SHAPES:
        above = above.getparent()
    if above is not None and above.tag == "mjx-munder" and (outer := _over(above)) is not None:
        return outer
    return above


def _over(inner: Element) -> Element | None:
    box = inner.getparent()
    outer = box.getparent() if box is not None and box.tag == "mjx-box" else None
    return outer if outer is not None and outer.tag == "mjx-munderover" else None
