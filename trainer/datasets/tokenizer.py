"""Byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909; over bytes as in GPT-2): any text in, the same text out.

A vocabulary is 256 bytes, then merges in the order they were learnt, then one special token that starts a document
and that no text can produce.
"""

import hashlib
import heapq
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

Pair = tuple[int, int]

_MAX_WORD = 128  # bytes; longer ones are encoded in parts, because a word takes time by the square of its length
_MAX_KNOWN = 500_000  # words remembered: some 100 MB, however much text there is
# Words, as GPT-4's pre-split has them, in what the standard library's re can say. No merge crosses a word.
PATTERN = r" ?[^\W\d_]+|'[^\W\d_]{1,2}\b|\d{1,2}| ?[^\w\s]+[\r\n]*|_+|\s*[\r\n]|\s+(?!\S)|\s+"


class Tokenizer:
    """Turns text into tokens and back.

    `token_bytes`, int32 [vocab_size], has the length of each token in raw bytes, 0 for the special token: the
    denominator of bits per byte. Raw bytes, because a token that is part of a character does not decode: upstream's
    prepare.py measures such a token as U+FFFD, three bytes, and reads low (fixed in nanochat 2ce972a).
    """

    def __init__(self, merges: Sequence[Pair], pattern: str = PATTERN) -> None:
        self._pattern = re.compile(pattern)
        self._merges = {pair: 256 + rank for rank, pair in enumerate(merges)}
        self._bytes = [bytes([byte]) for byte in range(256)]
        for left, right in merges:
            self._bytes.append(self._bytes[left] + self._bytes[right])
        self._bytes.append(b"")
        self.vocab_size = len(self._bytes)
        self.bos = self.vocab_size - 1
        self.token_bytes = np.array([len(raw) for raw in self._bytes], dtype=np.int32)
        self._known: dict[str, list[int]] = {}  # words repeat: remembering them makes encoding ten times as fast

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> "Tokenizer":
        """Learn `vocab_size - 257` merges: the same from the same texts, and a prefix of what a larger one learns.

        Raises:
            ValueError: the texts have too few pairs for that many merges.
        """
        learner = _Learner(texts)
        return cls([learner.merge_commonest(token) for token in range(256, vocab_size - 1)])

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """Read what `save` wrote."""
        saved = json.loads(path.read_text(encoding="utf-8"))
        return cls([(left, right) for left, right in saved["merges"]], saved["pattern"])

    def save(self, path: Path) -> None:
        """Write JSON with one merge a line, so that a diff of it can be read."""
        path.write_text(self._json, encoding="utf-8", newline="\n")

    @cached_property
    def sha256(self) -> str:
        """Checksum of the file that `save` writes."""
        return hashlib.sha256(self._json.encode("utf-8")).hexdigest()

    @property
    def _json(self) -> str:
        merges = ",\n".join(f"[{left}, {right}]" for left, right in self._merges)
        return f'{{"pattern": {json.dumps(self._pattern.pattern)},\n"merges": [\n{merges}\n]}}\n'

    def encode(self, text: str) -> list[int]:
        """The tokens of `text`, without the special token. Raises UnicodeEncodeError on a lone surrogate."""
        tokens: list[int] = []
        for word in self._pattern.findall(text):
            if word not in self._known:
                if len(self._known) >= _MAX_KNOWN:
                    self._known.clear()
                self._known[word] = [token for part in _parts(word) for token in self._encode_part(part)]
            tokens += self._known[word]
        return tokens

    def _encode_part(self, part: bytes) -> list[int]:
        tokens = list(part)
        while len(tokens) > 1:
            first = min(pairwise(tokens), key=lambda pair: self._merges.get(pair, self.vocab_size))
            if first not in self._merges:
                break
            tokens = _merged(tokens, first, self._merges[first])
        return tokens

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of `tokens`; the special token has none, and bytes that are no UTF-8 become U+FFFD."""
        return b"".join(self._bytes[token] for token in tokens).decode("utf-8", errors="replace")


class _Learner:
    """The distinct words of a text, and how often and where each pair of neighbours stands in them.

    Each changed count is pushed on the heap, so the entries that differ from the count are stale and are skipped.
    Equal counts fall to the smaller pair, which makes learning deterministic.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        words = Counter(word for text in texts for word in re.findall(PATTERN, text))
        parts = [(part, weight) for word, weight in words.items() for part in _parts(word)]
        self._words = [list(part) for part, _ in parts]
        self._weights = [weight for _, weight in parts]
        self._counts: Counter[Pair] = Counter()
        self._where: defaultdict[Pair, set[int]] = defaultdict(set)
        for index in range(len(self._words)):
            self._count(index, +1)
        self._heap = [(-count, pair) for pair, count in self._counts.items()]
        heapq.heapify(self._heap)

    def merge_commonest(self, token: int) -> Pair:
        """Replace the commonest pair by `token` everywhere, and return it."""
        pair = self._commonest()
        changed: set[Pair] = set()
        for index in self._where.pop(pair):
            changed |= self._count(index, -1)
            self._words[index] = _merged(self._words[index], pair, token)
            changed |= self._count(index, +1)
        for other in changed:
            if self._counts[other]:
                heapq.heappush(self._heap, (-self._counts[other], other))
        return pair

    def _commonest(self) -> Pair:
        while self._heap:
            count, pair = heapq.heappop(self._heap)
            if self._counts[pair] == -count:
                return pair
        raise ValueError("The texts are too short for a vocabulary of this size: every word is one token already.")

    def _count(self, index: int, sign: int) -> set[Pair]:
        """Count the pairs of one word in, or out; returns them."""
        pairs = list(pairwise(self._words[index]))
        for pair in pairs:
            self._counts[pair] += sign * self._weights[index]
            self._where[pair].add(index)
        return set(pairs)


def _parts(word: str) -> list[bytes]:
    raw = word.encode("utf-8")
    return [raw[start : start + _MAX_WORD] for start in range(0, len(raw), _MAX_WORD)]


def _merged(tokens: list[int], pair: Pair, token: int) -> list[int]:
    """`tokens` with each `pair`, from the left, replaced by `token`."""
    merged: list[int] = []
    position = 0
    while position < len(tokens):
        found = (*tokens[position : position + 2],) == pair
        merged.append(token if found else tokens[position])
        position += 2 if found else 1
    return merged
