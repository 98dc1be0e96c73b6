"""The documents of a library on the disk: which there are, and what each says of itself.

Every regular file `library/**/*.md` is one, with a front matter or without. No link is followed, and names that begin
with a dot are skipped.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from server.library.reading import front_matter
from server.library.reading.passages import outline
from server.library.reading.visible import one_line, visible

MOST_BYTES = 2 << 20  # of one document: the rest of a larger one is not read
_MOST_DOCUMENTS = 10_000


class File(NamedTuple):
    """Where a document is, and whether it has changed."""

    id: str  # path below the library, without .md
    path: Path
    changed_ns: int
    size: int


class Entry(NamedTuple):
    """What a document says of itself; empty where it says nothing."""

    id: str
    title: str
    source: str = ""
    kind: str = ""
    author: str = ""
    published: str = ""
    fetched: str = ""
    licence: str = ""
    tags: str = ""
    words: int = 0
    lossy: bool = False
    known_as: str = ""  # the id in its front matter, where that is another one


class Text(NamedTuple):
    """A document as it is read."""

    entry: Entry
    body: str  # its visible text


def files(library: Path) -> list[File]:
    """The documents, by id. None where there is no library."""
    found: dict[str, File] = {}
    for path, known in _documents(library):
        name = one_line(path.relative_to(library).as_posix().removesuffix(".md"), 300)
        found.setdefault(name, File(name, path, known.st_mtime_ns, known.st_size))
        if len(found) == _MOST_DOCUMENTS:
            break
    return sorted(found.values())


def count(library: Path) -> int:
    """How many documents there are."""
    return sum(1 for _, _ in zip(_documents(library), range(_MOST_DOCUMENTS), strict=False))


def has_documents(library: Path) -> bool:
    """Whether there is one."""
    return any(True for _ in _documents(library))


def read(file: File) -> Text:
    """A document. Raises OSError: it cannot be read, or is no regular file any more."""
    return parse(file.id, data(file.path).decode("utf-8", "replace"))


def data(path: Path) -> bytes:
    """The first MOST_BYTES of a regular file. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a regular file")
        return opened.read(MOST_BYTES)


def parse(name: str, text: str) -> Text:
    """A document of its text: what its front matter says, and the visible text below it."""
    text = text.replace("\r\n", "\n")
    fields, rest = front_matter.split(text)
    body = visible(rest).strip("\n")
    title = fields.get("title") or next((one.title for one in outline(body[:4000]) if one.title), name)
    about = {
        key: fields.get(key, "") for key in ("source", "kind", "author", "published", "fetched", "licence", "tags")
    }
    other = fields.get("id", "")
    return Text(
        Entry(
            name,
            one_line(title),
            **about,
            words=len(body.split()),
            lossy=fields.get("lossy", "").lower() == "true",
            known_as=other if other != name else "",
        ),
        body,
    )


def _documents(library: Path) -> Iterator[tuple[Path, os.stat_result]]:
    return iter(()) if library.is_symlink() else markdown_files(library)


def markdown_files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Regular Markdown files at and below a folder, by name; none that begins with a dot, and nothing behind a link."""
    try:
        with os.scandir(folder) as found:
            inside = sorted(found, key=lambda one: one.name)
    except OSError:
        return
    for one in inside:
        try:
            if one.name.startswith("."):
                continue
            if one.is_dir(follow_symlinks=False):
                yield from markdown_files(folder / one.name)
            elif one.name.endswith(".md") and one.is_file(follow_symlinks=False):
                yield folder / one.name, one.stat(follow_symlinks=False)
        except OSError:  # gone meanwhile
            continue
