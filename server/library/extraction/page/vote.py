"""Where the text of a page is, on pages whose software is unknown: two libraries are asked, and blocks are weighed."""

import copy
import logging
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import readability  # pyright: ignore[reportMissingTypeStubs]
import trafilatura

from server.library.extraction.html.footnotes import is_note
from server.library.extraction.html.tree import CODE, HEADINGS, MATHS, Element, drop, text_of_html, to_html, words
from server.library.extraction.page.blocks import Block, blocks_of
from server.library.extraction.page.metadata import article_body
from server.library.extraction.page.weighing import OUTSIDE, features, home, likely, second
from server.library.extraction.page.weights import FIRST, SECOND

_RUN = 4  # words
FEW = 10  # words: fewer are no opinion
_LEAST_TOLD = 50  # words
_MOSTLY = 0.7
_NOTE = 2  # elements between a footnote and its paragraphs
_LEAST_SHARE = 0.1  # of the longer opinion's words: less is no text
_ALIKE = 0.7  # share of a heading's words that are words of the title
_MOST_ELEMENTS = 40_000  # of a page that the libraries are asked about: both grow faster than the page


class Opinions(NamedTuple):
    """What the two libraries took for the text, as words."""

    trafilatura: list[str]
    readability: list[str]
    told: list[str] = []  # noqa: RUF012  the text that the page's own metadata give


def ask(root: Element, url: str) -> Opinions:
    """Ask both about the page as it came. A library that fails has no opinion."""
    logging.disable(logging.CRITICAL)  # each complains about many pages
    if sum(1 for _ in root.iter()) > _MOST_ELEMENTS:
        return Opinions([], [])
    return Opinions(words(_trafilatura(root, url)), words(_readability(root, url)), words(article_body(root)))


def _trafilatura(root: Element, url: str) -> str:
    try:
        text = trafilatura.extract(
            copy.deepcopy(root), url=url or None, output_format="txt", include_tables=True, include_comments=False
        )
    except Exception:  # whatever a page makes of it
        return ""
    return text or ""


def _readability(root: Element, url: str) -> str:
    try:
        found: Any = readability.Document(to_html(root), url=url or None)
        return text_of_html(found.summary(html_partial=True))
    except Exception:
        return ""


def grams(found: Sequence[str], length: int) -> set[tuple[str, ...]]:
    return set(zip(*(found[at:] for at in range(length)), strict=False))


def keep_text(root: Element, opinions: Opinions, title: str = "") -> Element:
    """Remove from the cleaned page what is no text of it. Returns its body."""
    body = root.find(".//body")
    body = root if body is None else body
    blocks = blocks_of(body)
    kept = choose(blocks, opinions, title)
    for block, keep in zip(blocks, kept, strict=True):
        if not keep:
            drop(block.element)
    _drop_strangers(body, {block.element for block, keep in zip(blocks, kept, strict=True) if keep})
    return body


def choose(blocks: Sequence[Block], opinions: Opinions, title: str = "") -> list[bool]:
    """For each block whether it is text of the page. Where one library has no opinion, that of the other counts."""
    given = [one for one in opinions[:2] if len(one) >= FEW]
    if not given:
        return [_looks_like_text(block) for block in blocks]
    seen = [coverage(blocks, one) for one in (given[0], given[-1])]
    named = frozenset(words(title))
    first = likely(features(blocks, seen, named, told_of(blocks, opinions.told)), FIRST)
    sure = likely(second(first, blocks, named), SECOND)
    return settle(blocks, [one >= 0.5 for one in sure], seen, named)


def told_of(blocks: Sequence[Block], text: Sequence[str]) -> list[float]:
    """The share of each block's words in the text of the metadata; empty if that is short, or not of this page."""
    if len(text) < _LEAST_TOLD:
        return []
    found = coverage(blocks, text)
    held = sum(len(block.words) for block, share in zip(blocks, found, strict=True) if share > 0.5)
    return found if held > _MOSTLY * len(text) else []


def settle(
    blocks: Sequence[Block], kept: Sequence[bool], seen: Sequence[Sequence[float]], title: frozenset[str]
) -> list[bool]:
    """What no weight may decide: a page has a text, code stands with the text around it, a title is told apart."""
    sizes = [len(block.words) for block in blocks]
    held = [sum(size for size, share in zip(sizes, each, strict=True) if share > 0.5) for each in seen]
    longest = held.index(max(held))
    if sum(size for size, keep in zip(sizes, kept, strict=True) if keep) < _LEAST_SHARE * held[longest]:
        kept = [share > 0.5 for share in seen[longest]]
    noted = _noted(blocks, kept)
    found = [keep or _goes_along(blocks, kept, at) or _is_noted(blocks[at], noted) for at, keep in enumerate(kept)]
    for at, block in enumerate(blocks):
        if found[at] and is_title(block, title):
            found[at] = False
            break
    return found


def is_title(block: Block, title: frozenset[str]) -> bool:
    given = set(block.words)
    return block.place[0] == "h1" and len(given & title) > _ALIKE * len(given)


def _noted(blocks: Sequence[Block], kept: Sequence[bool]) -> set[str]:
    """The ids of the footnotes that kept text refers to."""
    links = (one for block, keep in zip(blocks, kept, strict=True) if keep for one in block.element.iter("a"))
    targets = (link.get("href") or "" for link in links)
    return {target[1:] for target in targets if target.startswith("#") and is_note(target[1:])}


def _is_noted(block: Block, noted: set[str]) -> bool:
    if not noted:
        return False
    above = (block.element, *islice(block.element.iterancestors(), _NOTE))
    return not noted.isdisjoint((*(one.get("id") for one in above), *block.element.xpath(".//@id")))


def _goes_along(blocks: Sequence[Block], kept: Sequence[bool], at: int) -> bool:
    """Whether code or a formula stands beside text that is kept, or a heading right above it."""
    tag = blocks[at].place[0]
    if tag in (CODE, MATHS):
        return any(_beside(blocks, kept, at, step) for step in (-1, 1))
    below = blocks[at + 1].place[0] if at + 1 < len(blocks) else ""
    return tag in HEADINGS - {"h1"} and below not in HEADINGS and _beside(blocks, kept, at, 1)


def _beside(blocks: Sequence[Block], kept: Sequence[bool], at: int, step: int) -> bool:
    """Whether the next block that way is kept text of the same part, and no more like what is around a text."""
    other = at + step
    while 0 <= other < len(blocks) and blocks[other].place[0] in (CODE, MATHS) and not kept[other]:
        other += step
    if not 0 <= other < len(blocks) or not kept[other]:
        return False
    same = home(_alone(blocks[at].element)) is home(blocks[other].element)
    return same and blocks[at].junk <= blocks[other].junk


def _alone(element: Element) -> Element:
    """The outermost element that holds nothing else."""
    while (above := element.getparent()) is not None and len(above) == 1:
        if (above.text or "").strip() or (element.tail or "").strip():
            break
        element = above
    return element


def _looks_like_text(block: Block) -> bool:
    """Without any opinion: what is not around the text by its name or place, and is no list of links."""
    if block.junk or not OUTSIDE.isdisjoint(block.place):
        return False
    return block.links < 0.5 * len(block.words)


def coverage(blocks: Sequence[Block], opinion: Sequence[str]) -> list[float]:
    """The share of each block's words that stand in the opinion, in runs of four."""
    known = {length: grams(opinion, length) for length in range(1, _RUN + 1)}
    return [_covered(block.words, known) for block in blocks]


def _covered(found: Sequence[str], known: dict[int, set[tuple[str, ...]]]) -> float:
    length = min(_RUN, len(found))
    runs = list(zip(*(found[at:] for at in range(length)), strict=False))
    return sum(run in known[length] for run in runs) / len(runs)


def _drop_strangers(body: Element, kept: set[Element]) -> None:
    """Remove images and rules that stand where no text was kept."""
    inside = {above for one in kept for above in (one, *one.iterancestors())}
    for one in list(body.iter("img", "hr", "picture")):
        above = one.getparent()
        if above is not None and above not in inside and not any(up in kept for up in one.iterancestors()):
            drop(one)
