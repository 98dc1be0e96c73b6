"""Which text a night trains and is scored on: the embedded corpus, or what `autoresearch prepare` made."""

import os
from pathlib import Path

from pydantic import ValidationError

from server.errors import DatasetMissing
from server.records import Value

EMBEDDED = "embedded"
_FORMAT = 1  # trainer/datasets/prepared.py's


class _Card(Value, extra="ignore"):
    """What is read of dataset.json."""

    format: int
    vocab_size: int
    tokens: dict[str, int]


class Dataset(Value):
    """A data set that is there."""

    name: str  # or its folder, where it is not the workspace's
    folder: str = ""  # empty: the embedded corpus
    detail: str = "King James Bible and Shakespeare, 9 MB of text, vocabulary 4096"

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}"


def find(told: str, data: Path) -> Dataset:
    """The data set of this name in the folder `data`, or in this folder.

    Raises:
        DatasetMissing: it was not prepared.
    """
    if told == EMBEDDED:
        return Dataset(name=EMBEDDED)
    own = (data / told).resolve()
    folder = own if (own / "dataset.json").exists() else Path(os.path.expanduser(told)).resolve()
    try:
        card = _Card.model_validate_json((folder / "dataset.json").read_bytes())
    except (OSError, ValidationError) as error:
        raise _missing(told, data) from error
    if card.format != _FORMAT:
        raise _missing(told, data)
    detail = f"{card.tokens.get('train', 0):,} training tokens, vocabulary {card.vocab_size}"
    name = folder.name if folder.parent == data.resolve() else str(folder)
    return Dataset(name=name, folder=str(folder), detail=detail)


def prepared(data: Path) -> list[str]:
    """The names of what is there beside the embedded corpus."""
    return sorted(path.parent.name for path in data.glob("*/dataset.json"))


def _missing(told: str, data: Path) -> DatasetMissing:
    there = ", ".join([EMBEDDED, *prepared(data)])
    return DatasetMissing(
        f"The data set {told!r} was not prepared; there is {there}.",
        f"Run `autoresearch prepare {told}` first, or name another with --data.",
    )
