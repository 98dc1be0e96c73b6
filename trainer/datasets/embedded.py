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
TOKENIZER_SHA256 = "13d8b8cdd6f0c21bba450c8a3451c4b1116b400f415e086723f81fe6aa8cca03"
_FORMAT = "1"
_ORDER = 1337  # seed of the order of the training documents
_ARRAYS = {  # the sha256 of each: a manifest beside them could be written anew
    "train.bin": "c551d52424bcd4585de23fa73a96fbb2f289fb3b0a41e43f99351662384bfd19",
    "val.bin": "f75489103d007a8be1e739d29c690142b3d7ca6a95795cabcae101dbaf802592",
}


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
        CorpusDamaged: the archive, the tokenizer or what was made of them is not the pinned one.
        OSError: the folder cannot be written or read.
    """
    tokenizer = _tokenizer()
    key = hashlib.sha256(f"{corpus.SHA256} {tokenizer.sha256} {_FORMAT}".encode()).hexdigest()[:16]
    home = folder / key
    if not _pinned(home):
        with artifact_store.alone(folder / "lock"):
            if not _pinned(home):  # nobody built it while we waited
                _build(home, tokenizer)
        if not _pinned(home):
            raise corpus.CorpusDamaged(f"The tokens in {home} differ from the pinned tokens: trainer/ was changed.")
    train, told = np.memmap(home / "train.bin", dtype="<u2", mode="r"), (home / "val.bin").read_bytes()
    if hashlib.sha256(told).hexdigest() != _ARRAYS["val.bin"]:  # of what scores are measured on, not of the file
        raise corpus.CorpusDamaged(f"Somebody changed {home / 'val.bin'} while it was read.")
    val = np.frombuffer(told, dtype="<u2")
    return Shards(train, val, home / "train.bin", tokenizer.vocab_size, tokenizer.token_bytes, tokenizer.bos, key)


def holdout() -> NDArray[np.uint16]:
    """Tokens uint16 [N] of the documents that score nothing at night, read from the archive each time.

    Raises:
        CorpusDamaged: the archive is not the pinned one.
    """
    chosen = [document for document in corpus.documents() if document.split is Split.HOLDOUT]
    return _tokens(chosen, _tokenizer())


def rows(val: NDArray[np.uint16], length: int, bos: int) -> NDArray[np.uint16]:
    """Evaluation rows uint16 [R, length + 1]: every token of `val` but the first is the target of exactly one position.

    Inputs are row[:-1], targets row[1:]; consecutive rows overlap by one token. The last row is filled up with BOS,
    which has no bytes and is not scored.
    """
    count = -(-(len(val) - 1) // length)
    padded = np.full(count * length + 1, bos, dtype=np.uint16)
    padded[: len(val)] = val
    return padded[np.arange(count)[:, None] * length + np.arange(length + 1)]


def _tokenizer() -> Tokenizer:
    found = Tokenizer.load(TOKENIZER)
    if found.sha256 != TOKENIZER_SHA256:
        raise corpus.CorpusDamaged(f"{TOKENIZER} differs from the pinned tokenizer. Restore it from git, or reinstall.")
    return found


def _pinned(home: Path) -> bool:
    """Whether the arrays are the pinned ones, and whole."""
    try:
        return all(artifact_store.sha256(home / name) == pin for name, pin in _ARRAYS.items())
    except OSError:
        return False


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
