"""The embedded corpus as token arrays on disk: built once, checked on every load, memory-mapped.

    FOLDER/<key>/train.bin   little-endian uint16, documents in a shuffled order, each starting with BOS
    FOLDER/<key>/val.bin     the same for the validation documents, in the archive's order
    FOLDER/<key>/manifest.json
    FOLDER/lock              held while one builds

The key pins corpus, tokenizer and format: other inputs are another folder. The holdout split is never written.
"""

import hashlib
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.datasets import artifact_store, corpus
from trainer.datasets.corpus import Document, Split
from trainer.datasets.tokenizer import Tokenizer

TOKENIZER = Path(__file__).parents[1] / "data" / "tokenizer.json"
_FORMAT = "1"
_ORDER = 1337  # seed of the order of the training documents
_ARRAYS = ("train.bin", "val.bin")


@dataclass(frozen=True)
class Shards:
    """Tokens of the training and validation documents.

    `train` uint16 [N] and `val` uint16 [M] are read-only; `token_bytes` int32 [vocab_size] is the length of each
    token's raw bytes, 0 for BOS; `fingerprint` pins data and tokenizer.
    """

    train: NDArray[np.uint16]
    val: NDArray[np.uint16]
    train_path: Path
    vocab_size: int
    token_bytes: NDArray[np.int32]
    bos: int
    fingerprint: str


def load(folder: Path) -> Shards:
    """The token arrays in `folder`, built first where they are missing or damaged.

    Raises:
        CorpusDamaged: the archive is not the pinned one.
        OSError: the folder cannot be written or read.
    """
    tokenizer = Tokenizer.load(TOKENIZER)
    key = hashlib.sha256(f"{corpus.SHA256} {tokenizer.sha256} {_FORMAT}".encode()).hexdigest()[:16]
    home = folder / key
    if not artifact_store.intact(home, _ARRAYS):
        with artifact_store.alone(folder / "lock"):
            if not artifact_store.intact(home, _ARRAYS):  # nobody built it while we waited
                _build(home, tokenizer)
    train, val = (np.memmap(home / name, dtype="<u2", mode="r") for name in _ARRAYS)
    return Shards(train, val, home / "train.bin", tokenizer.vocab_size, tokenizer.token_bytes, tokenizer.bos, key)


def holdout() -> NDArray[np.uint16]:
    """Tokens uint16 [N] of the documents that score nothing at night, read from the archive each time.

    Raises:
        CorpusDamaged: the archive is not the pinned one.
    """
    chosen = [document for document in corpus.documents() if document.split is Split.HOLDOUT]
    return _tokens(chosen, Tokenizer.load(TOKENIZER))


def rows(val: NDArray[np.uint16], length: int, bos: int) -> NDArray[np.uint16]:
    """Evaluation rows uint16 [R, length + 1]: every token of `val` but the first is the target of exactly one position.

    Inputs are row[:-1], targets row[1:]; consecutive rows overlap by one token. The last row is filled up with BOS,
    which has no bytes and is not scored.
    """
    count = -(-(len(val) - 1) // length)
    padded = np.full(count * length + 1, bos, dtype=np.uint16)
    padded[: len(val)] = val
    return padded[np.arange(count)[:, None] * length + np.arange(length + 1)]


def _build(home: Path, tokenizer: Tokenizer) -> None:
    documents = corpus.documents()
    train = [document for document in documents if document.split is Split.TRAIN]
    random.Random(_ORDER).shuffle(train)
    val = [document for document in documents if document.split is Split.VAL]
    with artifact_store.building(home) as fresh:
        for name, chosen in zip(_ARRAYS, (train, val), strict=True):
            (fresh / name).write_bytes(_tokens(chosen, tokenizer).tobytes())


def _tokens(documents: Iterable[Document], tokenizer: Tokenizer) -> NDArray[np.uint16]:
    tokens: list[int] = []
    for document in documents:
        tokens += [tokenizer.bos, *tokenizer.encode(document.text)]
    return np.array(tokens, dtype="<u2")
