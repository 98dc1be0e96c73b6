"""The documents of a library on the disk: which there are, and what each says of itself.

Every regular file `library/**/*.md` is one, with a front matter or without. No link is followed, and names that begin
with a dot are skipped.
"""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import yaml

from server.library.reading.passages import outline
from server.library.reading.visible import one_line, seen, visible

MOST_BYTES = 2 << 20  # of one document: the rest of a larger one is not read
_MOST_DOCUMENTS = 10_000
_MOST_FRONT = 16_000  # characters
_FRONT = re.compile(r"\ufeff?-{3}[ \t]*\n(.*?)^(?:-{3}|\.{3})[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_LINE = re.compile(r"^(\w+):[ \t]*(.*)$", re.MULTILINE)


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
            raise OSError(f"{path} is no regular file")
        return opened.read(MOST_BYTES)


def parse(name: str, text: str) -> Text:
    """A document of its text: what its front matter says, and the visible text below it."""
    text = text.replace("\r\n", "\n")
    front = _FRONT.match(text[: _MOST_FRONT + 10])
    fields = _fields(seen(front[1])) if front else {}
    body = visible(text[front.end() :] if front and fields else text.removeprefix("\ufeff")).strip("\n")
    title = fields.get("title") or next((one.title for one in outline(body[:4000]) if one.title), name)
    told = {key: fields.get(key, "") for key in ("source", "kind", "author", "published", "fetched", "licence", "tags")}
    other = fields.get("id", "")
    return Text(
        Entry(
            name,
            one_line(title),
            **told,
            words=len(body.split()),
            lossy=fields.get("lossy", "").lower() == "true",
            known_as=other if other != name else "",
        ),
        body,
    )


def _fields(text: str) -> dict[str, str]:
    """The fields of a front matter, each as one line; none where it is no mapping."""
    try:  # scalars stay texts, and no tag makes anything else
        told: Any = yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        told = {key: value.strip("\"'") for key, value in _LINE.findall(text)}  # people write `title: Adam: a method`
    if not isinstance(told, dict):
        return {}
    return {str(key): one_line(_scalar(value)) for key, value in cast("dict[Any, Any]", told).items()}


def _scalar(value: Any) -> str:
    """A text, or a list of texts; nothing of what is nested, which aliases can make as large as they want."""
    if isinstance(value, list):
        return ", ".join(one for one in cast("list[Any]", value)[:50] if isinstance(one, str))
    return value if isinstance(value, str) else ""


def _documents(library: Path) -> Iterator[tuple[Path, os.stat_result]]:
    return iter(()) if library.is_symlink() else _markdown(library)


def _markdown(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Regular Markdown files at and below a folder, in the order of their names."""
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
                yield from _markdown(folder / one.name)
            elif one.name.endswith(".md") and one.is_file(follow_symlinks=False):
                yield folder / one.name, one.stat(follow_symlinks=False)
        except OSError:  # gone meanwhile
            continue
