"""The embedded corpus: the King James Bible and Shakespeare, pinned by checksum and split for ever.

A document is a chapter or a scene. Which split it belongs to depends on its name alone, so no other document, and
no order of documents, can move it. Where the texts come from is told in trainer/data/README.md.
"""

import hashlib
import lzma
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ARCHIVE = Path(__file__).parents[1] / "data" / "classics.txt.xz"
SHA256 = "0300e752d65265992a12a00c61ea903562efbb99a3c2148e944e42c475b48878"  # of the archive, still compressed
_SEPARATOR = "\n\n\0"
_CHAPTERS = 1189  # documents of the Bible; the rest is Shakespeare


class CorpusDamaged(Exception):
    """The archive is not the text that scores are measured on."""


class Split(StrEnum):
    """What a document is for."""

    TRAIN = "train"
    VAL = "val"  # scores every run
    HOLDOUT = "holdout"  # sealed: in no training data, no tokenizer and no score an agent sees


@dataclass(frozen=True)
class Document:
    """One chapter or scene, its title in its first line."""

    source: str  # "bible" or "shakespeare"
    number: int  # within its source, from 0
    text: str

    @property
    def split(self) -> Split:
        draw = int(hashlib.sha256(f"{self.source}{self.number}".encode()).hexdigest(), 16) % 20
        return {0: Split.VAL, 1: Split.HOLDOUT}.get(draw, Split.TRAIN)


def documents(archive: Path = ARCHIVE) -> list[Document]:
    """All 1960 documents in the order of the archive.

    Raises:
        CorpusDamaged: the archive is not the pinned one.
    """
    packed = archive.read_bytes()
    if (found := hashlib.sha256(packed).hexdigest()) != SHA256:
        raise CorpusDamaged(
            f"{archive} is damaged: its sha256 is {found}, not {SHA256}. Restore it from git, or reinstall."
        )
    texts = lzma.decompress(packed).decode("utf-8").split(_SEPARATOR)
    bible = [Document("bible", number, text) for number, text in enumerate(texts[:_CHAPTERS])]
    return bible + [Document("shakespeare", number, text) for number, text in enumerate(texts[_CHAPTERS:])]
