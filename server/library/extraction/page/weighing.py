"""How likely each block of a page is text of it: by what two libraries say of it, its surroundings, its looks.

The weights come from a logistic regression over pages whose text is known (benchmarks/library_weights.py).
A second regression sees what the first says of the blocks around.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from server.library.extraction.html.tree import Element
from server.library.extraction.page.blocks import Block

_AROUND = 40  # words on each side of a block
OUTSIDE = {"nav", "aside", "footer", "header", "form", "menu"}
_ITEMS = {"li", "dd", "dt"}
_END = re.compile(r"[.!?…:;。！？][\"”’»)\]]*\s*$")
_COMMA = re.compile(r"[,、，]")
_BOUND = 35.0
_SMALL = 300  # words: on a smaller page most is text


class _Share(NamedTuple):
    """Of a block, or around it: what both opinions hold, and what only the one or the other holds."""

    both: float
    first: float
    second: float


def features(
    blocks: Sequence[Block], seen: Sequence[Sequence[float]], title: frozenset[str], told: Sequence[float] = ()
) -> list[list[float]]:
    """For each block what is known of it.

    Args:
        seen: for each of the two opinions, the share of each block's words in it. title: words of the page's title.
        told: the same share in the text that the page's metadata give; empty where they give none.
    """
    sizes = [len(block.words) for block in blocks]
    page = _page(seen, sizes)
    around = [_around(each, sizes) for each in seen]
    beside = [_beside(blocks, each, sizes) for each in seen]
    reach = [_reach(each, sizes) for each in seen]
    kin = [_means(values, sizes, [block.kin for block in blocks]) for values in seen]
    found: list[list[float]] = []
    for at, block in enumerate(blocks):
        one, two = seen[0][at], seen[1][at]
        share = _Share(min(one, two), max(0.0, one - two), max(0.0, two - one))
        inside = [float(first <= at <= last) for first, last in reach]
        near = [*around[0][at], *around[1][at], beside[0][at], beside[1][at]]
        looks = _looks(block, title)
        opinions = [share.both * value for value in (1.0, page[1], page[2], page[3])]
        opinions += [part * value for part in (share.first, share.second) for value in page]
        known = [1.0, *looks, *inside, inside[0] * inside[1], *opinions, *page[1:4]]
        known += [*_near(near, page), *_together(share, near, looks, page)]
        found.append([*known, *_alike(share, kin[0][at], kin[1][at]), *_told(share, told[at] if told else None)])
    return found


def _alike(share: _Share, kin: float, kin_two: float) -> list[float]:
    """What the opinions hold of the blocks with the same tags and classes around them."""
    both = min(kin, kin_two)
    parts = [part * value for part, value in zip(share[1:], (kin, kin_two), strict=True)]
    return [kin, kin_two, both, *parts, *(part * both for part in share), kin_two * (1 - share.both)]


def _told(share: _Share, told: float | None) -> list[float]:
    """What the page's own metadata say: nothing, or whether the block is in the text that they give."""
    if told is None:
        return [0.0] * 6
    return [1.0, told, *(part * told for part in share), share.both * (1 - told)]


def _page(seen: Sequence[Sequence[float]], sizes: Sequence[int]) -> list[float]:
    """Of the whole page: 1, whether it is small, how far either opinion is in the other, their shares and sizes."""
    total = max(1, sum(sizes))
    one, two = (sum(share * size for share, size in zip(each, sizes, strict=True)) for each in seen)
    both = sum(min(a, b) * size for a, b, size in zip(*seen, sizes, strict=True))
    ratio = max(-2.0, min(2.0, math.log((one + 20) / (two + 20))))
    small = math.exp(-total / _SMALL)
    inner = (both / one if one else 0.0, both / two if two else 0.0)
    return [1.0, small, *inner, one / total, two / total, ratio, abs(ratio)]


def _near(near: Sequence[float], page: Sequence[float]) -> list[float]:
    """What the opinions hold of the blocks before and after, and of those in the same part."""
    before, after, before_two, after_two, beside, beside_two = near
    small, inner, inner_two = page[1:4]
    least, most = (min(before, before_two), min(after, after_two)), (max(before, before_two), max(after, after_two))
    same = [beside, beside_two, min(beside, beside_two)]
    same += [beside * small, beside_two * small, beside * inner, beside_two * inner_two]
    return [*same, *least, *most, least[0] * least[1], most[0] * most[1], least[0] * small, least[1] * small]


def _together(share: _Share, near: Sequence[float], looks: Sequence[float], page: Sequence[float]) -> list[float]:
    """Products of what is known: a heading goes with the text after it, a disputed block with what is around it."""
    before, after, before_two, after_two, beside, beside_two = near
    small, same = page[1], min(beside, beside_two)
    length, density, heading, item = looks[0], looks[1], looks[3] + looks[4], looks[5]
    junk, outside, short = looks[9], looks[11], looks[18]
    least, most = (min(before, before_two), min(after, after_two)), (max(before, before_two), max(after, after_two))
    found = [heading * least[1], heading * most[1], heading * least[0]]
    found += [short * value for value in (*least, *most)]
    found += [part * value for value in (length, density, junk, outside) for part in share[1:]]
    found += [share.first * beside, share.second * beside_two]
    found += [part * value for part in share[1:] for value in (same, *least)]
    return [*found, item * same, *(value * small for value in (length, density, junk, heading))]


def _looks(block: Block, title: frozenset[str]) -> list[float]:
    tag, size = block.place[0], len(block.words)
    density = block.links / size
    in_title = len(title.intersection(block.words)) / len(set(block.words)) if title else 0.0
    return [
        math.log1p(size) / 5,
        density,
        density * float(size < 30),
        float(tag in ("h2", "h3", "h4", "h5", "h6")),
        float(tag == "h1"),
        float(tag in _ITEMS or "li" in block.place[:3]),
        float(tag == "p"),
        float(tag == "table" or "td" in block.place[:3]),
        float(tag.startswith("x-") and tag != "x-run"),
        float(block.junk > 0),
        float(block.junk > 1),
        float(not OUTSIDE.isdisjoint(block.place)),
        float("article" in block.place or "main" in block.place),
        float(bool(_END.search(block.text))),
        min(3.0, len(_COMMA.findall(block.text))) / 3,
        float(tag in ("figcaption", "figure") or "figure" in block.place[:3]),
        float("blockquote" in block.place[:4]),
        float(in_title > 0.7) * float(size < 30),
        float(size < 4),
    ]


def second(first: Sequence[float], blocks: Sequence[Block], title: frozenset[str]) -> list[list[float]]:
    """The features of the second regression: what the first says of each block and around it."""
    sizes = [len(block.words) for block in blocks]
    around, beside = _around(first, sizes), _beside(blocks, first, sizes)
    share = sum(p * size for p, size in zip(first, sizes, strict=True)) / max(1, sum(sizes))
    found: list[list[float]] = []
    for block, p, (before, after), same in zip(blocks, first, around, beside, strict=True):
        looks = _looks(block, title)
        heading, junk, short = looks[3] + looks[4], looks[9], looks[18]
        told = [
            1.0,
            p,
            math.log((p + 0.01) / (1.01 - p)),
            before,
            after,
            before * after,
            same,
            p * same,
            share,
            p * share,
        ]
        told += [value * kind for kind in (heading, short) for value in (1.0, before, after)]
        found.append([*told, junk, junk * p, p * before, p * after])
    return found


def likely(told: Sequence[Sequence[float]], weights: Sequence[float]) -> list[float]:
    """The probability of each block."""
    sums = (sum(x * w for x, w in zip(one, weights, strict=True)) for one in told)
    return [1 / (1 + math.exp(-max(-_BOUND, min(_BOUND, one)))) for one in sums]


def _around(values: Sequence[float], sizes: Sequence[int]) -> list[tuple[float, float]]:
    """The mean over some words before each block, and after it."""
    before, after = _running(values, sizes), _running(values[::-1], sizes[::-1])[::-1]
    return list(zip(before, after, strict=True))


def _running(values: Sequence[float], sizes: Sequence[int]) -> list[float]:
    mean = 0.0
    found: list[float] = []
    for value, size in zip(values, sizes, strict=True):
        found.append(mean)
        mean += (value - mean) * (1 - math.exp(-size / _AROUND))
    return found


def _beside(blocks: Sequence[Block], values: Sequence[float], sizes: Sequence[int]) -> list[float]:
    """The mean over the blocks of the same parent, or the same list or table."""
    return _means(values, sizes, [home(block.element) for block in blocks])


def _means(values: Sequence[float], sizes: Sequence[int], groups: Sequence[object]) -> list[float]:
    """For each block the mean of its group."""
    sums: dict[object, tuple[float, int]] = {}
    for group, value, size in zip(groups, values, sizes, strict=True):
        whole, count = sums.get(group, (0.0, 0))
        sums[group] = (whole + value * size, count + size)
    return [sums[group][0] / sums[group][1] for group in groups]


def home(element: Element) -> object:
    """What an element is a part of: lists, tables and quotations do not count."""
    above = element.getparent()
    while above is not None and above.tag in ("li", "ul", "ol", "tr", "td", "tbody", "dl", "blockquote", "figure"):
        above = above.getparent()
    return above


def _reach(values: Sequence[float], sizes: Sequence[int]) -> tuple[int, int]:
    """The first and last block that certainly belong to an opinion."""
    sure = [at for at, (value, size) in enumerate(zip(values, sizes, strict=True)) if value > 0.8 and size > 10]
    return (sure[0], sure[-1]) if sure else (len(sizes), -1)
