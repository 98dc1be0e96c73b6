"""A prepared data set: a folder with everything a night needs, checked on every load, memory-mapped.

HOME/train.bin, val.bin, holdout.bin   little-endian uint16, each document starting with BOS
HOME/tokenizer.json
HOME/dataset.json    what it is; the server reads it, too
HOME/manifest.json   checksums of all of them
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.datasets import artifact_store
from trainer.datasets.corpus import Split
from trainer.datasets.embedded import Shards
from trainer.datasets.errors import DataUnavailable
from trainer.datasets.tokenizer import Tokenizer

FORMAT = 1
TOKENIZER = "tokenizer.json"
CARD = "dataset.json"
ARRAYS = {split: f"{split}.bin" for split in Split}
FILES = (*ARRAYS.values(), TOKENIZER, CARD)


@dataclass(frozen=True)
class Card:
    """What a prepared data set is."""

    name: str
    recipe: str  # checksum of what it was made of, and how
    fingerprint: str  # of its tokens and its vocabulary: scores with another do not compare
    vocab_size: int
    documents: dict[str, int]  # of each split
    tokens: dict[str, int]
    text_bytes: dict[str, int]
    duplicates: int  # documents dropped, because their text scores
    sources: dict[str, str]  # address or folder: sha256
    format: int = FORMAT


def load(home: Path) -> Shards:
    """The training and validation tokens. Raises DataUnavailable: they are missing or damaged."""
    if (found := card(home)) is None or not artifact_store.intact(home, FILES):
        raise DataUnavailable(
            f"The data set in {home} is missing or damaged.", "The operator must make it again: `autoresearch prepare`."
        )
    tokenizer = Tokenizer.load(home / TOKENIZER)
    train, val = (_tokens(home, split) for split in (Split.TRAIN, Split.VAL))
    path = home / ARRAYS[Split.TRAIN]
    return Shards(train, val, path, tokenizer.vocab_size, tokenizer.token_bytes, tokenizer.bos, found.fingerprint)


def holdout(home: Path) -> NDArray[np.uint16]:
    """Tokens uint16 [N] of the documents that score nothing at night."""
    return _tokens(home, Split.HOLDOUT)


def card(home: Path) -> Card | None:
    """What is in `home`; None where no data set of this format is."""
    try:
        found = Card(**json.loads((home / CARD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return found if found.format == FORMAT else None


def _tokens(home: Path, split: Split) -> NDArray[np.uint16]:
    return np.memmap(home / ARRAYS[split], dtype="<u2", mode="r")
