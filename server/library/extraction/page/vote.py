"""Where the text of a page is, on pages whose software is unknown: two libraries are asked, and blocks are weighed."""

import copy
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import readability  # pyright: ignore[reportMissingTypeStubs]
import trafilatura

from server.library.extraction.html.tree import Element, drop, text_of_html, to_html, words
from server.library.extraction.page.blocks import Block, blocks_of
from server.library.extraction.page.weighing import OUTSIDE, features, likely, second
from server.library.extraction.page.weights import FIRST, SECOND

_RUN = 4  # words
FEW = 10  # words: fewer are no opinion
_MOST_ELEMENTS = 40_000  # of a page that the libraries are asked about: both grow faster than the page


class Opinions(NamedTuple):
    """What the two libraries took for the text, as words."""

    trafilatura: list[str]
    readability: list[str]


def ask(root: Element, url: str) -> Opinions:
    """Ask both about the page as it came. A library that fails has no opinion."""
    logging.disable(logging.CRITICAL)  # each complains about many pages
    if sum(1 for _ in root.iter()) > _MOST_ELEMENTS:
        return Opinions([], [])
    return Opinions(words(_trafilatura(root, url)), words(_readability(root, url)))


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
    given = [one for one in opinions if len(one) >= FEW]
    if not given:
        return [_looks_like_text(block) for block in blocks]
    seen = [coverage(blocks, one) for one in (given[0], given[-1])]
    named = frozenset(words(title))
    first = likely(features(blocks, seen, named), FIRST)
    sure = likely(second(first, blocks, named), SECOND)
    return [one >= 0.5 for one in sure]


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
