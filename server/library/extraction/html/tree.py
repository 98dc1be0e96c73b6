"""The tree of a page: parsed, made shallow enough for every reader of it, and the words for what is done to it.

Elements of our own take the place of what later steps must not look into: `x-code` (text, attribute `lang`) and
`x-math` (TeX, attribute `display`).
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import lxml.etree  # pyright: ignore[reportMissingImports, reportMissingTypeStubs]
import lxml.html  # pyright: ignore[reportMissingTypeStubs]

from server.library.extraction.text.charset import visible
from server.library.extraction.text.reasons import Reason, Unreadable

Element = Any  # lxml.html.HtmlElement, whose types are not published
etree: Any = lxml.etree  # pyright: ignore
lxml_html: Any = lxml.html

CODE = "x-code"
MATHS = "x-math"
RUN = "x-run"
MOST_DEPTH = 200  # elements above each other
MOST_ELEMENTS = 400_000
MOST_TEXT = 6_000_000  # characters
_LONGEST_NAME = 2000  # characters of a class, an id or a style: each is looked at many times
_XML = re.compile(r"^\s*<\?xml[^>]{0,500}\?>")
_WINDOWS = re.compile(r"&#(?:x0*(?P<hex>[89][0-9a-f])|0*(?P<number>1[345]\d|12[89]));?(?![0-9a-f])", re.I)
_TAG = re.compile(r"<(/?)([a-zA-Z][\w:-]*+)[^<>]*+>")
_UNCLOSED = frozenset(
    "p li dt dd tr td th tbody thead tfoot option br hr img input link meta base area col embed source track wbr "
    "h1 h2 h3 h4 h5 h6 html head body pre code script style article main".split()
)
_KEPT_DEPTH = 150
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
HEADINGS = frozenset(_HEADINGS)
INLINE = frozenset(
    (
        "a abbr acronym b bdi bdo big br button cite code data del dfn em font i img input ins kbd label map "
        "mark math-renderer meter nobr o:p output picture progress q rb rp rt rtc ruby s samp small source "
        "span strike strong sub sup time tt u var wbr x-math x-task "
    ).split()
)
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")


def parse(text: str) -> Element:
    """The tree of a page's text, no deeper than MOST_DEPTH.

    Raises:
        Unreadable: there is no element in it, or far too many.
    """
    text = visible(_WINDOWS.sub(_windows, _XML.sub("", text)))
    root, cut = _parsed(text)
    if cut or _too_deep(root):
        root, cut = _parsed(_without_deep_tags(text))
    if cut:
        raise Unreadable(Reason.DEEP)
    if sum(1 for _ in root.iter()) > MOST_ELEMENTS:
        raise Unreadable(Reason.LARGE, f"it has more than {MOST_ELEMENTS:,} elements")
    if _shown(root) > MOST_TEXT:
        raise Unreadable(Reason.LARGE, f"it has more than {MOST_TEXT // 1_000_000} million characters of text")
    _put_streamed(root)
    make_shallow(root)
    _make_visible(root)
    return root


def _parsed(text: str) -> tuple[Element, bool]:
    """The root, and whether the parser has left out what is too deep for it, and all after that."""
    parser = lxml_html.HTMLParser(huge_tree=True, remove_comments=True, remove_pis=True, encoding="utf-8")
    try:
        root = lxml_html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError, ValueError):
        raise Unreadable(Reason.EMPTY) from None
    return root, any(error.message.startswith("Excessive depth") for error in parser.error_log)


def _without_deep_tags(text: str) -> str:
    """The page without tags that are far down; a paragraph begins instead. Those that need no end tag stay."""
    depth, end = 0, 0
    parts: list[str] = []
    for found in _TAG.finditer(text):
        if found[2].lower() in _UNCLOSED:
            continue
        depth += 0 if found[1] else 1
        if depth > _KEPT_DEPTH:
            parts += [text[end : found.start()], " " if found[1] or found[2].lower() in INLINE else "<p>"]
            end = found.end()
        depth = max(0, depth - 1) if found[1] else depth
    return "".join([*parts, text[end:]])


def _put_streamed(root: Element) -> None:
    """React sends parts of a page hidden, after the rest: a script would put each where a template waits for it."""
    parts = {one.get("id")[2:]: one for one in root.xpath('.//*[@hidden and starts-with(@id,"S:")]')}
    for hole in root.xpath('.//template[starts-with(@id,"B:") or starts-with(@id,"P:")]') if parts else ():
        part = parts.pop(hole.get("id")[2:], None)
        if part is None or any(above is part for above in hole.iterancestors()):
            continue
        keep_tail(part, part.tail)
        part.attrib.pop("hidden")
        part.tail = hole.tail
        hole.getparent().replace(hole, part)
        hole.tail = None


def _shown(root: Element) -> int:
    """Characters of text; scripts and styles have none."""
    return sum(len(one.text or "") * (one.tag not in ("script", "style")) + len(one.tail or "") for one in root.iter())


def _windows(found: re.Match[str]) -> str:
    """The character that browsers show for a number which is no character in Unicode, but one in windows-1252."""
    number = int(found["hex"], 16) if found["hex"] else int(found["number"])
    return bytes([number]).decode("cp1252", "replace")


def _make_visible(root: Element) -> None:
    """Invisible characters that are written as entities go as well, and the ends of names that are too long."""
    for one in root.xpath(".//*[string-length(@class) > $most or string-length(@id) > $most]", most=_LONGEST_NAME):
        one.attrib.update({name: one.get(name)[:_LONGEST_NAME] for name in ("class", "id") if one.get(name)})
    for one in root.xpath(".//*[string-length(@style) > $most]", most=2 * _LONGEST_NAME):
        one.set("style", f"{one.get('style')[:_LONGEST_NAME]};{one.get('style')[-_LONGEST_NAME:]}")
    for one in root.iter():
        if one.text and not one.text.isascii():
            one.text = visible(one.text)
        if one.tail and not one.tail.isascii():
            one.tail = visible(one.tail)


def make_shallow(root: Element) -> None:
    """Put what is deeper than MOST_DEPTH at that depth, in its order. Elements that only wrap another one go first."""
    if not _too_deep(root):
        return
    for one in list(root.iter("div", "span", "section", "center", "font", "b", "i", "em", "strong", "blockquote")):
        if len(one) == 1 and not (one.text or "").strip() and not (one[0].tail or "").strip():
            child = one[0]
            child.tail = one.tail
            one.getparent().replace(one, child)
    for element in _too_deep(root):
        _flatten(element)


def _too_deep(root: Element) -> list[Element]:
    """The elements at MOST_DEPTH that have others below."""
    found: list[Element] = []
    depth = 0
    for event, element in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        if event == "start" and depth == MOST_DEPTH and len(element):
            found.append(element)
    return found


def _flatten(element: Element) -> None:
    """Give the element the texts below it in paragraphs, and no other children."""
    texts = [(element.text or "")]
    for event, one in etree.iterwalk(element, events=("start", "end")):
        if one is element:
            continue
        breaks = one.tag not in INLINE
        if event == "start":
            texts += ["\0" * breaks, one.text or ""]
        else:
            texts += ["\0" * breaks, one.tail or ""]
    for child in list(element):
        element.remove(child)
    element.text = None
    for part in "".join(texts).split("\0"):
        if part.strip():
            etree.SubElement(element, "p").text = part


def drop(element: Element) -> None:
    """Remove an element with all in it; the text after it stays."""
    parent = element.getparent()
    if parent is None:
        return
    keep_tail(element, element.tail)
    element.tail = None
    parent.remove(element)


def keep_tail(element: Element, text: str | None) -> None:
    """Put text where the element begins."""
    if text:
        parent, before = element.getparent(), element.getprevious()
        if before is not None:
            before.tail = (before.tail or "") + text
        else:
            parent.text = (parent.text or "") + text


def swap(element: Element, tag: str, text: str, **attributes: str) -> Element:
    """Put a new element in the place of this one."""
    new = element.makeelement(tag, {name: value for name, value in attributes.items() if value})
    new.text, new.tail = text, element.tail
    element.getparent().replace(element, new)
    element.tail = None
    return new


def attached(element: Element, root: Element) -> bool:
    """Whether the element is still in the tree."""
    return element is root or any(one is root for one in element.iterancestors())


def to_html(element: Element) -> str:
    return str(lxml_html.tostring(element, encoding="unicode"))


def text_of_html(html: str) -> str:
    return str(lxml_html.fromstring(html).text_content())


def text_of(element: Element) -> str:
    return "".join(element.itertext())


def words(text: str) -> list[str]:
    """Words in lower case; of Chinese, Japanese and Korean each character."""
    return _WORD.findall(text.casefold())


def names(element: Element) -> str:
    """Class and id, between blanks."""
    return f" {element.get('class') or ''} {element.get('id') or ''} "


def has_class(element: Element, *wanted: str) -> bool:
    given = (element.get("class") or "").split()
    return any(one in given for one in wanted)


def with_class(root: Element, pattern: re.Pattern[str]) -> list[Element]:
    """All elements below the root with a class or id that fits, in the page's order."""
    found = root.xpath(".//*[@class or @id]")
    return [one for one in found if pattern.search(names(one))]


def elements(children: Iterable[Element]) -> Iterator[Element]:
    """Without comments and the like."""
    return (one for one in children if isinstance(one.tag, str))


def has_blocks(root: Element) -> set[Element]:
    """The elements with something below them that cannot stand within a line."""
    found: set[Element] = set()
    for one in root.iter():
        if isinstance(one.tag, str) and (one.tag not in INLINE or (one.tag == MATHS and one.get("display"))):
            for above in one.iterancestors():
                if above in found:
                    break
                found.add(above)
    return found
