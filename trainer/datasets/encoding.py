"""Documents into token arrays on disk, on as many cores as there are, in bounded memory."""

import os
import signal
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from trainer.datasets.corpus import Split
from trainer.datasets.tokenizer import Tokenizer

_BATCH = 1 << 20  # characters that one process encodes at a time
_SMALL = 1 << 23  # bytes of text for which other processes are not worth their start
_MOST_WORKERS = 32
_ORDER = 1337  # seed of the order of the documents
Texts = list[tuple[Split, str]]
Tokens = list[tuple[Split, bytes]]  # little-endian uint16
_loaded: list[Tokenizer] = []  # in a worker process


def encode(documents: Iterable[tuple[Split, str]], tokenizer: Path, folder: Path, total: int) -> dict[Split, int]:
    """Write FOLDER/<split>.bin of every split, documents shuffled, each starting with BOS; count the tokens of each.

    Args:
        tokenizer: its file. total: bytes of the text, about.
    """
    workers = 1 if total < _SMALL else min(os.cpu_count() or 1, _MOST_WORKERS)
    lengths = {split: array("L") for split in Split}  # bytes
    with ExitStack() as stack:
        files = {split: stack.enter_context((folder / f"{split}.bin").open("wb")) for split in Split}
        for split, tokens in _encoded(_batches(documents), tokenizer, workers):
            files[split].write(tokens)
            lengths[split].append(len(tokens))
    for split in Split:
        _shuffle(folder / f"{split}.bin", lengths[split])
    return {split: sum(sizes) // 2 for split, sizes in lengths.items()}


def _batches(documents: Iterable[tuple[Split, str]]) -> Iterator[Texts]:
    batch, size = Texts(), 0
    for split, text in documents:
        batch.append((split, text))
        size += len(text)
        if size >= _BATCH:
            yield batch
            batch, size = Texts(), 0
    yield batch


def _encoded(batches: Iterator[Texts], tokenizer: Path, workers: int) -> Iterator[tuple[Split, bytes]]:
    """In the order of the batches; no more of them are under way than keep the workers busy."""
    if workers == 1:
        _load(tokenizer)
        for batch in batches:
            yield from _encode(batch)
        return
    waiting = deque[Future[Tokens]]()
    context = get_context("spawn")  # a fork would copy the thread that draws the progress bar
    with ProcessPoolExecutor(workers, context, _start, (tokenizer,)) as pool:
        for batch in batches:
            waiting.append(pool.submit(_encode, batch))
            if len(waiting) > 2 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _start(tokenizer: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that can tell what it means
    _load(tokenizer)


def _load(tokenizer: Path) -> None:
    _loaded[:] = [Tokenizer.load(tokenizer)]


def _encode(batch: Texts) -> Tokens:
    tokenizer = _loaded[0]
    return [(split, np.array([tokenizer.bos, *tokenizer.encode(text)], dtype="<u2").tobytes()) for split, text in batch]


def _shuffle(path: Path, lengths: "array[int]") -> None:
    """Write the documents in another order: text is often sorted, and some profiles score the first rows alone."""
    ends = np.cumsum(lengths, dtype=np.int64)
    ordered = path.with_suffix(".new")
    tokens = np.memmap(path, dtype=np.uint8, mode="r") if len(ends) else np.empty(0, dtype=np.uint8)
    with ordered.open("wb") as file:
        for index in np.random.default_rng(_ORDER).permutation(len(ends)):
            file.write(tokens[ends[index] - lengths[index] : ends[index]].tobytes())
    ordered.replace(path)
