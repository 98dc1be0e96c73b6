"""Which split a document belongs to, by the hash of its text: equal texts cannot fall apart.

One document in twenty is drawn for validation and one for the sealed holdout, until each has MOST bytes; what is drawn
later trains. A document that is already in one of the two is dropped wherever it comes again.
"""

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from zlib import crc32

from trainer.datasets.corpus import Split
from trainer.datasets.errors import DataUnavailable

MOST = 4_000_000  # bytes of a split that scores: with a million tokens, the text is no longer what makes scores scatter
SAMPLE = 16_000_000  # bytes that the tokenizer learns from
_SPLITS = tuple(Split)
_DROPPED = len(_SPLITS)
_SHARES = {0: Split.VAL, 1: Split.HOLDOUT}


@dataclass
class Splits:
    """The draw for a stream of documents, which is then read a second time."""

    total: int  # bytes of the whole stream, about
    most: int = MOST  # bytes of a split that scores
    sample: list[str] = field(default_factory=list[str])  # of the training documents, for the tokenizer
    sizes: dict[Split, int] = field(default_factory=lambda: dict.fromkeys(Split, 0))  # bytes
    counts: dict[Split, int] = field(default_factory=lambda: dict.fromkeys(Split, 0))  # documents
    duplicates: int = 0  # documents dropped
    _sampled: int = 0  # bytes
    _checksum: int = 0  # of all text
    _held: set[bytes] = field(default_factory=set[bytes])  # texts that score
    _draws: "array[int]" = field(default_factory=lambda: array("B"))

    def draw(self, text: str) -> None:
        """Decide about the next document."""
        raw = text.encode("utf-8")
        self._checksum = crc32(raw, self._checksum)
        digest = hashlib.sha256(" ".join(text.split()).encode("utf-8")).digest()  # spaces make no other text
        if digest in self._held:
            self.duplicates += 1
            self._draws.append(_DROPPED)
            return
        number, size = int.from_bytes(digest[:8]), len(raw)
        split = _SHARES.get(number % 20, Split.TRAIN)
        if split is not Split.TRAIN and self.sizes[split] >= self.most:  # full for good: no equal text can get in later
            split = Split.TRAIN
        if split is not Split.TRAIN:
            self._held.add(digest)
        elif number // 20 % 1_000_000 < 1_000_000 * SAMPLE / max(self.total, 1):  # drawn from all of the stream
            self._learn(text, size)
        self.sizes[split] += size
        self.counts[split] += 1
        self._draws.append(_SPLITS.index(split))

    def _learn(self, text: str, size: int) -> None:
        if self._sampled + size <= SAMPLE:
            self._sampled += size
            self.sample.append(text)

    def assigned(self, texts: Iterable[str]) -> Iterator[tuple[Split, str]]:
        """The same documents again, each with its split, without those that were dropped.

        Raises:
            DataUnavailable: they are not the same, and splits may overlap.
        """
        checksum = 0
        for draw, text in zip(self._draws, texts, strict=False):
            checksum = crc32(text.encode("utf-8"), checksum)
            if draw != _DROPPED:
                yield _SPLITS[draw], text
        if checksum != self._checksum:
            raise DataUnavailable("The text was changed while it was read.", "Run the command again.")
