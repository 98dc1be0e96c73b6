"""The blocks of a page: the smallest elements that are no part of a line, with their words."""

import re
from dataclasses import dataclass
from itertools import islice

from server.library.extraction.html.tables import is_layout
from server.library.extraction.html.tree import (
    CODE,
    HEADINGS,
    INLINE,
    MATHS,
    RUN,
    Element,
    has_blocks,
    names,
    text_of,
    words,
)

_KIN = 3  # ancestors that tell which blocks are alike
_DIGITS = re.compile(r"\d+")
_WHOLE = (CODE, MATHS, "hr", "img", "figcaption", "caption", *HEADINGS)
JUNK = re.compile(
    r"(?:^|[\s_-])(?:share|sharing|social|related|recommend\w*|newsletter|subscribe|subscription|promo\w*|sponsor\w*|advert\w*|ads?|"
    r"banner|cookies?|consent|breadcrumbs?|pagination|paginav|pager|sidebar|comments?|disqus|toc|table-of-contents|tags?|"
    r"byline|bio|footer|masthead|navbox|nav|navigation|menu|popup|modal|toolbar|jumplinks|outbrain|taboola|skip|most-?read|"
    r"trending|read-?more|more|signup|login|paywall|widget|meta|author|date|time|copyright|credit|replies|respond|header)(?:$|[\s_-])",
    re.I,
)


@dataclass
class Block:
    """One block of a page."""

    element: Element
    words: list[str]
    links: int  # words within links
    text: str
    place: tuple[str, ...]  # tags of the elements around it, the innermost first
    junk: int  # how many elements around it are named like what is not text
    kin: str  # tags and classes of the element and of those around it, without numbers: the same for like blocks


def blocks_of(body: Element) -> list[Block]:
    """All blocks with words, code or mathematics, in the page's order. Text between blocks gets an element (RUN)."""
    blocky = has_blocks(body)
    for one in [one for one in body.iter() if one in blocky and isinstance(one.tag, str) and one.tag != "table"]:
        _wrap_runs(one, blocky)
    found: list[Block] = []
    _collect(body, blocky, (), 0, found)
    return found


def _wrap_runs(element: Element, blocky: set[Element]) -> None:
    """Put text and what stands in a line with it into an element, where it is between blocks."""
    run = None
    if (element.text or "").strip():
        run = element.makeelement(RUN)
        run.text, element.text = element.text, None
        element.insert(0, run)
    for child in list(element):  # siblings are put beside it: to look for its place takes as long as there are others
        if child is run:
            continue
        inline = isinstance(child.tag, str) and child.tag in INLINE and child not in blocky
        inline = inline and not (child.tag == MATHS and child.get("display"))
        if inline:
            if run is None:
                run = element.makeelement(RUN)
                child.addprevious(run)
            run.append(child)  # with the text after it
        else:
            run = None
            if (child.tail or "").strip():
                run = element.makeelement(RUN)
                run.text, child.tail = child.tail, None
                child.addnext(run)


def _collect(element: Element, blocky: set[Element], place: tuple[str, ...], junk: int, found: list[Block]) -> None:
    for child in element:
        if not isinstance(child.tag, str):
            continue
        named = junk + _is_junk(child)
        inner = child in blocky and child.tag not in _WHOLE
        if inner and not (child.tag == "table" and not is_layout(child)):
            _collect(child, blocky, (child.tag, *place), named, found)
            continue
        text = text_of(child)
        if counted := words(text):
            links = sum(len(words(text_of(link))) for link in child.iter("a"))
            found.append(Block(child, counted, links, text, (child.tag, *place), named, _kin(child)))


def _is_junk(element: Element) -> bool:
    """Whether it is named like what is around a text. A restaurant's menu has paragraphs, a page's menu has links."""
    found = JUNK.search(names(element))
    if found is None:
        return False
    return (
        found[0].strip(" _-").lower() != "menu" or len(element.findall(".//p")) < 2 or element.find(".//a") is not None
    )


def _kin(element: Element) -> str:
    chain = (element, *islice(element.iterancestors(), _KIN))
    return " ".join(f"{one.tag}.{_DIGITS.sub('', one.get('class') or '')}" for one in chain)
