"""`python -P -m trainer.prepare WHAT DATA`: makes a data set to train on. What `autoresearch prepare` becomes.

DATA/downloads/<preset>/   files as they came
DATA/<name>/               the data set (trainer.datasets.prepared)
"""

import argparse
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from trainer.datasets import documents, embedded
from trainer.datasets.artifact_store import sha256
from trainer.datasets.builder import BuildOrder, build
from trainer.datasets.corpus import CorpusDamaged
from trainer.datasets.download import Advance, fetch
from trainer.datasets.errors import DataUnavailable
from trainer.datasets.prepared import Card
from trainer.datasets.presets import PRESETS

EMBEDDED = "embedded"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_TAKEN = {EMBEDDED, "downloads", *PRESETS}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare what the command line names; what goes wrong is one sentence, the next step, and exit code 1."""
    given = _parsed(arguments)
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)
    try:
        console.print(_prepared(given, console))
    except DataUnavailable as error:
        console.print(f"{error.problem}\n{error.next_step}")
        raise SystemExit(1) from None
    except (OSError, CorpusDamaged) as error:
        console.print(f"The data cannot be prepared: {error}")
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        console.print("Interrupted: run the command again, downloads go on where they stopped.")
        raise SystemExit(130) from None


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="autoresearch prepare")
    parser.add_argument("what", help="embedded, a preset, or a folder")
    parser.add_argument("data", type=Path, help="the folder of data")
    parser.add_argument("--name", default="")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--vocab", type=int, default=8192)
    parser.add_argument("--retries", type=int, default=5)
    return parser.parse_args(arguments)


def _prepared(given: argparse.Namespace, console: Console) -> str:
    """Do it, and say what there is now."""
    _hide_from_git(given.data)
    if given.what == EMBEDDED:
        with _Bars(console) as bars:
            bars.wait("tokenising the embedded text")
            found = embedded.load(given.data)
        return f"embedded: {len(found.train):,} training tokens; studies use it by default"
    name = given.name or (given.what if given.what in PRESETS else Path(given.what).resolve().name)
    if not _NAME.fullmatch(name) or (name in _TAKEN and name != given.what):
        raise DataUnavailable(f"{name!r} cannot be the name of a data set.", "Give it another one with --name.")
    with _Bars(console) as bars:
        files, sources = _download(given, bars) if given.what in PRESETS else _read(Path(given.what))
        total = sum(map(documents.size, files))
        order = BuildOrder(
            name=name,
            vocab_size=given.vocab,
            sources=sources,
            texts=lambda: chain.from_iterable(map(documents.documents, files)),
            total=total,
        )
        return _told(build(given.data / name, order, lambda what, texts: bars.watch(what, texts, total)))


def _download(given: argparse.Namespace, bars: "_Bars") -> tuple[list[Path], dict[str, str]]:
    """The preset's files, and the checksum of each by its address."""
    documents.require_reader()
    urls = PRESETS[given.what].urls(given.shards)
    files = [given.data / "downloads" / given.what / url.rpartition("/")[2] for url in urls]
    pairs = zip(urls, files, strict=True)
    return files, {url: fetch(url, file, bars.advance(file.name), given.retries) for url, file in pairs}


def _read(folder: Path) -> tuple[list[Path], dict[str, str]]:
    """The files below a folder, and one checksum of all."""
    if not folder.is_dir():
        known = ", ".join([EMBEDDED, *PRESETS])
        raise DataUnavailable(f"{folder} is neither a data set nor a folder.", f"Name a folder of text, or {known}.")
    files = documents.find(folder)
    sums = "".join(f"{sha256(path)}  {path.relative_to(folder)}\n" for path in files)
    return files, {str(folder.resolve()): hashlib.sha256(sums.encode("utf-8", "surrogateescape")).hexdigest()}


def _told(card: Card) -> str:
    counts = ", ".join(f"{card.tokens[split]:,} {split}" for split in card.tokens)
    dropped = f"; {card.duplicates:,} copies of validation texts were dropped" if card.duplicates else ""
    return f"{card.name}: tokens {counts}{dropped}\nto start a study on it: autoresearch serve --data {card.name}"


def _hide_from_git(data: Path) -> None:
    """A workspace whose server never ran does not know yet what is not to be committed."""
    data.mkdir(parents=True, exist_ok=True)
    (data / ".gitignore").write_text("*\n", encoding="utf-8")


class _Bars:
    """One bar a file, and one a pass over the text."""

    def __init__(self, console: Console) -> None:
        self._terminal = console.is_terminal
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(20),
            DownloadColumn(),
            TransferSpeedColumn(),
        )
        self._progress = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)

    def __enter__(self) -> "_Bars":
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress.live.is_started:  # without a bar it would draw an empty line
            self._progress.stop()

    def wait(self, what: str) -> None:
        """Show that something of unknown length goes on; on a terminal alone."""
        if self._terminal:
            self._bar(what, None)

    def advance(self, what: str) -> Advance:
        """What tells the bar `what` how far it is."""
        bar = self._bar(what, None)
        return lambda done, total: self._progress.update(bar, completed=done, total=total)

    def watch(self, what: str, texts: Iterable[str], total: int) -> Iterator[str]:
        """Pass the texts on."""
        bar = self._bar(what, total)
        for text in texts:
            self._progress.advance(bar, len(text))
            yield text
        self._progress.update(bar, completed=total)

    def _bar(self, what: str, total: int | None) -> TaskID:
        self._progress.start()
        return self._progress.add_task(what, total=total)


if __name__ == "__main__":
    main()
