"""How a prepared data set is made: split, learn a vocabulary, encode. The text is read twice and never held."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from trainer.datasets import artifact_store
from trainer.datasets.corpus import Split
from trainer.datasets.encoding import encode
from trainer.datasets.errors import DataUnavailable
from trainer.datasets.prepared import ARRAYS, CARD, FILES, FORMAT, TOKENIZER, Card, card
from trainer.datasets.splits import Splits
from trainer.datasets.tokenizer import Tokenizer

Watch = Callable[[str, Iterable[str]], Iterator[str]]  # passes texts on, and shows under a heading how far they are


@dataclass(frozen=True)
class BuildOrder:
    """What to build, of which text."""

    name: str
    vocab_size: int
    sources: dict[str, str]  # address or folder: sha256
    texts: Callable[[], Iterable[str]]  # all documents, the same each time
    total: int  # bytes of them, about

    @property
    def recipe(self) -> str:
        made_of = json.dumps([FORMAT, self.vocab_size, list(self.sources.values())])
        return hashlib.sha256(made_of.encode()).hexdigest()[:16]


def build(home: Path, order: BuildOrder, watch: Watch) -> Card:
    """Build the data set, unless it is there and made of the same.

    Raises:
        DataUnavailable: the text does not suffice.
    """
    with artifact_store.alone(home.with_name(f".{home.name}.lock")):
        if (found := card(home)) and found.recipe == order.recipe and artifact_store.intact(home, FILES):
            return found
        splits = _split(watch("splitting", order.texts()), order.total)
        with artifact_store.building(home) as fresh:
            _learn(splits.sample, order.vocab_size).save(fresh / TOKENIZER)
            texts = splits.assigned(watch("encoding", order.texts()))
            tokens = encode(texts, fresh / TOKENIZER, fresh, order.total)
            made = _card(order, splits, tokens, _fingerprint(fresh))
            (fresh / CARD).write_text(json.dumps(asdict(made), indent=1), encoding="utf-8")
    return made


def _split(texts: Iterable[str], total: int) -> Splits:
    splits = Splits(total)
    for text in texts:
        splits.draw(text)
    if not all(splits.counts.values()):
        raise DataUnavailable(
            f"{sum(splits.counts.values())} documents are too few to train on some and score others.",
            "Add text, a hundred documents at least.",
        )
    return splits


def _learn(sample: list[str], vocab_size: int) -> Tokenizer:
    try:
        return Tokenizer.train(sample, vocab_size)
    except ValueError as error:
        raise DataUnavailable(
            f"The text is too short for a vocabulary of {vocab_size}.", "Add text, or ask for less with --vocab."
        ) from error


def _fingerprint(home: Path) -> str:
    parts = [artifact_store.sha256(home / name) for name in (*ARRAYS.values(), TOKENIZER)]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


def _card(order: BuildOrder, splits: Splits, tokens: dict[Split, int], fingerprint: str) -> Card:
    return Card(
        name=order.name,
        recipe=order.recipe,
        fingerprint=fingerprint,
        vocab_size=order.vocab_size,
        documents={split.value: count for split, count in splits.counts.items()},
        tokens={split.value: count for split, count in tokens.items()},
        text_bytes={split.value: size for split, size in splits.sizes.items()},
        duplicates=splits.duplicates,
        sources=order.sources,
    )
