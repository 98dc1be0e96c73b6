"""Where the text of a page is, on pages whose software is unknown: two libraries are asked, and blocks are weighed."""

import copy
import logging
import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import readability  # pyright: ignore[reportMissingTypeStubs]
import trafilatura

from server.library.extraction.html.dialects import CALL_OUT
from server.library.extraction.html.footnotes import is_note
from server.library.extraction.html.tree import (
    CODE,
    HEADINGS,
    MATHS,
    RUN,
    Element,
    drop,
    names,
    text_of,
    text_of_html,
    to_html,
    words,
)
from server.library.extraction.page.blocks import Block, blocks_of
from server.library.extraction.page.endings import without_endings
from server.library.extraction.page.metadata import article_body
from server.library.extraction.page.weighing import OUTSIDE, features, home, likely, second
from server.library.extraction.page.weights import FIRST, SECOND

_RUN = 4  # words
FEW = 10  # words: fewer are no opinion
_LEAST_TOLD = 50  # words
_MOSTLY = 0.7
_LIKELY = 0.5
_LIKELY_PROSE = 0.42  # as many words are right with it, and more of the text is there
_PROSE = 15  # words
_NOTE = 2  # elements between a footnote and its paragraphs
_LEAST_NAMED = 40  # words
_TEXT_NAME = re.compile(r"[\s_-](?:article|entry|post|story)[-_]?(?:content|body|text)\s", re.I)
_LABEL = 3  # words
_LEAST_SHARE = 0.1  # of the longer opinion's words: less is no text
_ALIKE = 0.7  # share of a heading's words that are words of the title
_MOST_ELEMENTS = 40_000  # of a page that the libraries are asked about: both grow faster than the page
_MOST_ASKED = 2_000_000  # characters of its text


class Opinions(NamedTuple):
    """What the two libraries took for the text, as words."""

    trafilatura: list[str]
    readability: list[str]
    told: list[str] = []  # noqa: RUF012  the text that the page's own metadata give


def ask(root: Element, url: str) -> Opinions:
    """Ask both about the page as it came. A library that fails has no opinion."""
    logging.disable(logging.CRITICAL)  # each complains about many pages
    if sum(1 for _ in root.iter()) > _MOST_ELEMENTS or sum(map(len, root.itertext())) > _MOST_ASKED:
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
    return settle(blocks, are_likely(blocks, seen, sure), seen, named)


def are_likely(blocks: Sequence[Block], seen: Sequence[Sequence[float]], sure: Sequence[float]) -> list[bool]:
    """For each block whether its probability is enough: prose that only trafilatura holds needs less than others."""
    found: list[bool] = []
    for block, first, last, one in zip(blocks, *seen, sure, strict=True):
        prose = len(block.words) >= _PROSE and block.links <= 0.1 * len(block.words) and not block.junk
        alone = first > 0.9 and last < 0.5 and block.place[0] in ("p", RUN)
        found.append(one >= (_LIKELY_PROSE if prose and alone else _LIKELY))
    return found


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
    kept = _in_named(blocks, kept) or kept
    if not any(kept):
        kept = [_looks_like_text(block) for block in blocks]
    noted, around = _noted(blocks, kept), _around(blocks, kept)
    found = [
        keep or _goes_along(blocks, kept, at, around) or _is_noted(blocks[at], noted) for at, keep in enumerate(kept)
    ]
    found = without_endings(blocks, found)
    for at, block in enumerate(blocks):
        if found[at] and is_title(block, title):
            found[at] = False
            break
    return found


def _in_named(blocks: Sequence[Block], kept: Sequence[bool]) -> list[bool]:
    """The blocks of the one element that is named as the text, where nearly nothing of it was kept; else nothing."""
    places = [_named_text(block.element) for block in blocks]
    sizes: Counter[Element] = Counter()
    for place, block in zip(places, blocks, strict=True):
        if place is not None:
            sizes[place] += len(block.words)
    if len(sizes) != 1:
        return []
    held = sum(
        len(block.words) for place, block, keep in zip(places, blocks, kept, strict=True) if keep and place is not None
    )
    ((_, size),) = sizes.items()
    return [place is not None for place in places] if size >= _LEAST_NAMED and held < _LEAST_SHARE * size else []


def _named_text(element: Element) -> Element | None:
    """The outermost element around it that is named as the text of an article; a body's name is that of the page."""
    above = [one for one in (element, *element.iterancestors()) if one.tag not in ("body", "html")]
    return next((one for one in reversed(above) if _TEXT_NAME.search(names(one))), None)


def is_title(block: Block, title: frozenset[str]) -> bool:
    given = set(block.words)
    return block.place[0] == "h1" and len(given & title) > _ALIKE * len(given)


def _noted(blocks: Sequence[Block], kept: Sequence[bool]) -> set[str]:
    """The ids of the footnotes that kept text refers to."""
    links = (one for block, keep in zip(blocks, kept, strict=True) if keep for one in block.element.iter("a"))
    targets = (link.get("href") or "" for link in links)
    return {target[1:] for target in targets if target.startswith("#") and is_note(target[1:])}


def _is_noted(block: Block, noted: set[str]) -> bool:
    """Whether a block is a footnote: by its class, or because kept text refers to it."""
    above = (block.element, *islice(block.element.iterancestors(), _NOTE))
    if any("footnote" in (one.get("class") or "").lower() for one in above):
        return True
    return not noted.isdisjoint((*(one.get("id") for one in above), *block.element.xpath(".//@id")))


def _goes_along(blocks: Sequence[Block], kept: Sequence[bool], at: int, around: "_Around") -> bool:
    """Whether code or a formula stands beside or between text that is kept, or a heading right above it."""
    tag = blocks[at].place[0]
    if around.apart[at]:
        near = (around.before[at], around.after[at])
        between = all(one is not None and kept[one] for one in near)
        return between or any(one is not None and kept[one] and _same_part(blocks[at], blocks[one]) for one in near)
    below = at + 1
    if blocks[at].element.get("class") == CALL_OUT:
        return below < len(blocks) and kept[below]
    if tag not in HEADINGS - {"h1"} or below == len(blocks) or blocks[below].place[0] in HEADINGS:
        return False
    return kept[below] and _same_part(blocks[at], blocks[below])


def _is_set_apart(block: Block) -> bool:
    """Whether a block is nothing but code or a formula."""
    if block.place[0] in (CODE, MATHS):
        return True
    return any(len(words(text_of(one))) == len(block.words) for one in block.element.iter(CODE, MATHS))


class _Around(NamedTuple):
    """For each block whether it is set apart, and the next text on either side."""

    apart: list[bool]
    before: list[int | None]
    after: list[int | None]


def _around(blocks: Sequence[Block], kept: Sequence[bool]) -> _Around:
    """A text is what is neither code nor the label of a button beside it."""
    apart = [_is_set_apart(block) for block in blocks]
    labels = [not keep and len(block.words) <= _LABEL for keep, block in zip(kept, blocks, strict=True)]
    texts = [not (one or label) for one, label in zip(apart, labels, strict=True)]
    after = [None if one is None else len(texts) - 1 - one for one in _last_before(texts[::-1])]
    return _Around(apart, _last_before(texts), after[::-1])


def _last_before(texts: Sequence[bool]) -> list[int | None]:
    last: int | None = None
    found: list[int | None] = []
    for at, is_text in enumerate(texts):
        found.append(last)
        last = at if is_text else last
    return found


def _same_part(block: Block, other: Block) -> bool:
    """Whether both belong to one part of the page, and the one is no more like what is around a text."""
    same = home(_alone(block.element)) is home(other.element)
    return same and block.junk <= other.junk


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
