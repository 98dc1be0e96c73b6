"""Fits the weights of server/library/extraction/page/weights.py to pages whose text is known, and measures them.

`python benchmarks/library_weights.py SETS --only NAMES [--write]` reads the sets that benchmarks/library_extraction.py
names. Figures come from five folds, each measured with weights from the other four: F1 of words of trafilatura,
readability-lxml, the first regression, the second, what is made of it, and of blocks chosen by the truth.
"""

import argparse
import random
import statistics
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.library_extraction import Page, pages_of
from server.library.extraction.html.prepared import prepare
from server.library.extraction.html.tree import parse, words
from server.library.extraction.page.blocks import Block, blocks_of
from server.library.extraction.page.metadata import read_metadata
from server.library.extraction.page.vote import FEW, are_likely, ask, coverage, settle, told_of
from server.library.extraction.page.weighing import features, second
from server.library.extraction.text.charset import decode

_FOLDS = 5
_RIDGES = (12.0, 12.0)  # of the first and the second regression
_PLACE = Path(__file__).parents[1] / "server" / "library" / "extraction" / "page" / "weights.py"
_HEAD = '"""The weights of page/weighing.py: from benchmarks/library_weights.py. Pure."""\n'
_MOST_WEIGHT = 2.0


class Sample:
    """One page: its blocks with what is known of them, and which are text."""

    def __init__(self, page: Page) -> None:
        self.kind, self.truth = page.kind, words(page.text)
        root = parse(decode(page.data))
        title, self.opinions = read_metadata(root).title, ask(root, page.url)
        prepare(root)
        body = root.find(".//body")
        self.blocks: list[Block] = blocks_of(root if body is None else body)
        given = [one for one in self.opinions[:2] if len(one) >= FEW]
        self.usable = bool(given and self.blocks and len(self.truth) > 4)
        if not self.usable:
            return
        self.seen = [coverage(self.blocks, one) for one in (given[0], given[-1])]
        self.title = frozenset(words(title))
        self.known = np.array(features(self.blocks, self.seen, self.title, told_of(self.blocks, self.opinions.told)))
        self.labels = np.array(coverage(self.blocks, self.truth))
        sizes = np.array([len(block.words) for block in self.blocks], float)
        self.weights = np.minimum(sizes / max(50, len(self.truth)), _MOST_WEIGHT)
        self.usable = bool(self.labels.max() > 0.3)

    def after(self, first: Any) -> Any:
        return np.array(second(list(first), self.blocks, self.title))

    def f1(self, kept: Any) -> float:
        found: Counter[str] = Counter()
        for block, keep in zip(self.blocks, kept, strict=True):
            if keep:
                found.update(block.words)
        return _f1(found, Counter(self.truth))


def _f1(found: Counter[str], true: Counter[str]) -> float:
    return 2 * (found & true).total() / max(1, found.total() + true.total())


def _sigmoid(values: Any) -> Any:
    return 1 / (1 + np.exp(-np.clip(values, -35, 35)))


def fit(ridge: float, known: Any, labels: Any, weights: Any) -> Any:
    """Logistic regression by Newton's method."""
    found = np.zeros(known.shape[1])
    for _ in range(60):
        p = _sigmoid(known @ found)
        slope = known.T @ (weights * (p - labels)) + ridge * found
        curve = (known * (weights * p * (1 - p))[:, None]).T @ known + ridge * np.eye(len(found))
        step = np.linalg.solve(curve, slope)
        found -= step
        if np.abs(step).max() < 1e-6:
            break
    return found


def _fit_first(samples: list[Sample]) -> Any:
    parts = [(one.known, one.labels, one.weights) for one in samples]
    return fit(
        _RIDGES[0], *(stack([part[at] for part in parts]) for at, stack in enumerate((np.vstack, np.hstack, np.hstack)))
    )


def train(samples: list[Sample]) -> tuple[Any, Any]:
    """Both regressions. The second sees of each page what the first says that did not see it."""
    rows: list[Any] = []
    order: list[Sample] = []
    for fold in range(_FOLDS):
        first = _fit_first([one for at, one in enumerate(samples) if at % _FOLDS != fold])
        for one in samples[fold::_FOLDS]:
            rows.append(one.after(_sigmoid(one.known @ first)))
            order.append(one)
    labels, weights = np.hstack([one.labels for one in order]), np.hstack([one.weights for one in order])
    return _fit_first(samples), fit(_RIDGES[1], np.vstack(rows), labels, weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sets", type=Path)
    parser.add_argument("--only", type=Path)
    parser.add_argument("--write", action="store_true")
    told = parser.parse_args()
    told.docs = None
    samples = [one for page in pages_of(told) if page.text and (one := Sample(page)).usable]
    random.Random(0).shuffle(samples)
    figures: dict[str, list[tuple[float, ...]]] = {}
    for fold in range(_FOLDS):
        first, last = train([one for at, one in enumerate(samples) if at % _FOLDS != fold])
        for one in samples[fold::_FOLDS]:
            p = _sigmoid(one.known @ first)
            sure = _sigmoid(one.after(p) @ last)
            likely = are_likely(one.blocks, one.seen, list(sure))
            kept = (p > 0.5, sure > 0.5, settle(one.blocks, likely, one.seen, one.title), one.labels > 0.5)
            alone = (_f1(Counter(each), Counter(one.truth)) for each in one.opinions[:2])
            figures.setdefault(one.kind, []).append((*alone, *map(one.f1, kept)))
    for kind, rows in figures.items():
        means = (f"{statistics.mean(column):.4f}" for column in zip(*rows, strict=True))
        print(kind, len(rows), "pages: trafilatura, readability, first, second, settled, best blocks", *means)
    if told.write:
        first, last = train(samples)
        lines = [
            f"{name} = (\n    " + ",\n    ".join(f"{w:.3f}" for w in each) + ",\n)\n"
            for name, each in (("FIRST", first), ("SECOND", last))
        ]
        _PLACE.write_text("\n".join([_HEAD, *lines]), "utf-8")


if __name__ == "__main__":
    main()
