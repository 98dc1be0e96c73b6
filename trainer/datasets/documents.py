"""Documents out of files: .txt, and .parquet with a column `text`, read piece by piece.

A .txt file is split where it says so (`<|endoftext|>` or NUL). In one that is longer than 64 kB, what is longer than
16 kB is cut at blank lines: a split needs documents to draw from.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.datasets.errors import DataUnavailable
from trainer.sandbox.allowlist import exposed

parquet: Any
try:
    from pyarrow import parquet  # pyright: ignore[reportMissingImports]
except ModuleNotFoundError:
    parquet = None  # the extra `data`; text files do without

_SEPARATOR = re.compile(r"<\|endoftext\|>|\0")
# characters
_WHOLE = 1 << 16
_PIECE = 1 << 13
_BLOCK = 1 << 18
_ROWS = 1024


def find(folder: Path) -> list[Path]:
    """The files to read below `folder`, in an order that depends on their names alone.

    Raises:
        DataUnavailable: there are none, or train.py could read them.
    """
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place) / name for name in names if name.endswith((".txt", ".parquet")) and name[0] != "."]
    if not found:
        raise DataUnavailable(f"There is no .txt or .parquet file below {folder}.", "Name a folder that has some.")
    if (open_to_all := exposed(sorted(found))) is not None:
        raise DataUnavailable(
            f"{open_to_all} is where train.py may read: it would see the validation text.",
            "Move the text to another folder, such as one in your home, and name that.",
        )
    return sorted(found)


def require_reader() -> None:
    """Raises DataUnavailable: what reads Parquet files is not installed."""
    if parquet is None:
        raise DataUnavailable(
            "Parquet files need pyarrow, which is not installed.", "Run `pip install 'autoresearch-mcp[data]'`."
        )


def size(path: Path) -> int:
    """About how many bytes of text a file holds. Raises DataUnavailable."""
    if path.suffix == ".txt":
        return path.stat().st_size
    file = _opened(path)
    groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
    columns = [group.column(index) for group in groups for index in range(group.num_columns)]
    return sum(column.total_uncompressed_size for column in columns if column.path_in_schema == "text")


def documents(path: Path) -> Iterator[str]:
    """The documents of a file, none of them empty. Bytes that are no UTF-8 become U+FFFD. Raises DataUnavailable."""
    pieces = _text(path) if path.suffix == ".txt" else _parquet(path)
    return (document for document in pieces if document.strip())


def _text(path: Path) -> Iterator[str]:
    limit = _PIECE if path.stat().st_size > _WHOLE else _WHOLE
    left = ""
    with path.open(encoding="utf-8", errors="replace") as file:
        while block := file.read(_BLOCK):
            *whole, left = _SEPARATOR.split(left + block)
            for document in whole:
                yield from _cut(document, limit)
            *pieces, left = _cut(left, limit)
            yield from pieces
    yield left.strip("\n")


def _cut(text: str, limit: int) -> list[str]:
    """`text` in pieces of a little more than `limit`, cut at blank lines or, where there are none, at ends of lines."""
    pieces: list[str] = []
    start = 0
    while len(text) - start > 2 * limit:
        ends = (text.find(mark, start + limit, start + 2 * limit) for mark in ("\n\n", "\n", " "))
        end = next((found + 1 for found in ends if found >= 0), start + limit)
        pieces.append(text[start:end].strip("\n"))
        start = end
    return [*pieces, text[start:]]  # not stripped: more of it may follow


def _parquet(path: Path) -> Iterator[str]:
    try:
        for batch in _opened(path).iter_batches(batch_size=_ROWS, columns=["text"]):
            yield from (text for text in batch.column(0).to_pylist() if text)
    except (OSError, ValueError) as error:
        raise DataUnavailable(f"{path} cannot be read: {error}.", "Replace it, or remove it.") from error


def _opened(path: Path) -> Any:
    require_reader()
    try:
        file = parquet.ParquetFile(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are among these
        raise DataUnavailable(f"{path} is not a Parquet file: {error}.", "Replace it, or remove it.") from error
    if "text" not in file.schema_arrow.names:
        names = ", ".join(file.schema_arrow.names)
        raise DataUnavailable(f"{path} has no column `text`, but {names}.", "Rename the column that holds the text.")
    return file
