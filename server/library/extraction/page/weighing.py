"""How likely each block of a page is text of it: by what two libraries say of it, its surroundings, its looks. Pure.

The weights come from a logistic regression over pages whose text is known (benchmarks/library_weights.py).
A second regression sees what the first says of the blocks around.
"""

import math
import re
from collections.abc import Sequence

from server.library.extraction.page.blocks import Block

_AROUND = 40  # words on each side of a block
OUTSIDE = {"nav", "aside", "footer", "header", "form", "menu"}
_ITEMS = {"li", "dd", "dt"}
_END = re.compile(r"[.!?…:;。！？][\"”’»)\]]*\s*$")
_COMMA = re.compile(r"[,、，]")
_BOUND = 35.0


def features(blocks: Sequence[Block], seen: Sequence[Sequence[float]], title: frozenset[str]) -> list[list[float]]:
    """For each block what is known of it.

    Args:
        seen: for each of the two opinions, the share of each block's words in it. title: words of the page's title.
    """
    sizes = [len(block.words) for block in blocks]
    one, two = seen
    total = max(1, sum(sizes))
    shares = [sum(share * size for share, size in zip(each, sizes, strict=True)) / total for each in seen]
    both = sum(min(a, b) * size for a, b, size in zip(one, two, sizes, strict=True))
    either = sum(max(a, b) * size for a, b, size in zip(one, two, sizes, strict=True))
    agreement = both / either if either else 0.0
    around = [_around(each, sizes) for each in seen]
    beside = [_beside(blocks, each, sizes) for each in seen]
    reach = [_reach(each, sizes) for each in seen]
    found: list[list[float]] = []
    for at, block in enumerate(blocks):
        a, b = one[at], two[at]
        ahead = [float(first <= at <= last) for first, last in reach]
        found.append(
            [
                1.0,
                *(a, b, a * b, max(a, b)),
                *(a * agreement, b * agreement, a * shares[0], b * shares[1], agreement, *shares),
                *(a * shares[1], b * shares[0]),
                *(side for each in around for side in each[at]),
                *(around[0][at][0] * around[0][at][1], around[1][at][0] * around[1][at][1]),
                *(beside[0][at], beside[1][at]),
                *ahead,
                ahead[0] * ahead[1],
                *_looks(block, title),
                a * min(1.0, len(block.words) / 20),
                b * min(1.0, len(block.words) / 20),
            ]
        )
    return found


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


def second(first: Sequence[float], blocks: Sequence[Block], told: Sequence[Sequence[float]]) -> list[list[float]]:
    """The features of the second regression: those of the first, and what it says of each block and around it."""
    sizes = [len(block.words) for block in blocks]
    around, beside = _around(first, sizes), _beside(blocks, first, sizes)
    share = sum(p * size for p, size in zip(first, sizes, strict=True)) / max(1, sum(sizes))
    return [
        [*told[at], p, *around[at], around[at][0] * around[at][1], beside[at], p * beside[at], share, p * share]
        for at, p in enumerate(first)
    ]


def likely(told: Sequence[Sequence[float]], weights: Sequence[float]) -> list[float]:
    """The probability of each block."""
    sums = (sum(x * w for x, w in zip(one, weights, strict=True)) for one in told)
    return [1 / (1 + math.exp(-max(-_BOUND, min(_BOUND, one)))) for one in sums]


def _around(values: Sequence[float], sizes: Sequence[int]) -> list[tuple[float, float]]:
    """The mean over some words before each block, and after it."""
    before, after = _running(values, sizes), _running(values[::-1], sizes[::-1])[::-1]
    return list(zip(before, after, strict=True))


def _running(values: Sequence[float], sizes: Sequence[int]) -> list[float]:
    mean, found = 0.0, []
    for value, size in zip(values, sizes, strict=True):
        found.append(mean)
        mean += (value - mean) * (1 - math.exp(-size / _AROUND))
    return found


def _beside(blocks: Sequence[Block], values: Sequence[float], sizes: Sequence[int]) -> list[float]:
    """The mean over the blocks of the same parent, or the same list or table."""
    sums: dict[object, tuple[float, int]] = {}
    parents = [_home(block) for block in blocks]
    for parent, value, size in zip(parents, values, sizes, strict=True):
        whole, count = sums.get(parent, (0.0, 0))
        sums[parent] = (whole + value * size, count + size)
    return [sums[parent][0] / sums[parent][1] for parent in parents]


def _home(block: Block) -> object:
    above = block.element.getparent()
    while above is not None and above.tag in ("li", "ul", "ol", "tr", "td", "tbody", "dl", "blockquote", "figure"):
        above = above.getparent()
    return above


def _reach(values: Sequence[float], sizes: Sequence[int]) -> tuple[int, int]:
    """The first and last block that certainly belong to an opinion."""
    sure = [at for at, (value, size) in enumerate(zip(values, sizes, strict=True)) if value > 0.8 and size > 10]
    return (sure[0], sure[-1]) if sure else (len(sizes), -1)
