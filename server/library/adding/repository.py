"""A repository's files as documents: what it says of itself, what was asked for, and an index of both."""

import hashlib
import re
from collections.abc import Iterable, Sequence, Set
from functools import partial
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import urlsplit

from server.errors import SourceUnreachable
from server.library.adding.source_text import as_markdown, first_heading, first_sentence, language
from server.library.document import Document, Kind
from server.library.extraction.text.plain import read_plain
from server.library.extraction.text.reasons import Unreadable
from server.library.fetching.git_objects import Blob, Repository
from server.library.front_matter import one_line, text_sha256
from server.library.names import folded, numbered, safe_path
from server.library.store import INDEX
from trainer.text import glob_matches

# What a repository says of itself.
_CHOSEN = re.compile(
    r"readme[^/]*|(changelog|changes|history|news|citation)(\.[^/]*)?|(licen[cs]e|copying)[^/]*|records/(.*/)?readme[^/]*"
    r"|docs?/.*\.(md|markdown|mdx|rst|txt|adoc|org)",
    re.IGNORECASE,
)
_LICENCE = re.compile(r"(licen[cs]e|copying)[^/]*", re.IGNORECASE)
_MARKDOWN = (".md", ".markdown", ".mdx")
_MOST_FILES = 2_000
_MOST_BYTES = 50_000_000
_CALLED = (  # by their own words, the more special first
    ("MIT", r"permission is hereby granted, free of charge"),
    ("Apache-2.0", r"apache license,?\s+version 2\.0"),
    ("AGPL-3.0", r"gnu affero general public license\s+version 3"),
    ("LGPL", r"gnu lesser general public license"),
    ("GPL-3.0", r"gnu general public license\s+version 3"),
    ("GPL-2.0", r"gnu general public license\s+version 2"),
    ("MPL-2.0", r"mozilla public license,?\s+(version|v\.) 2\.0"),
    ("BSD-3-Clause", r"redistribution and use in source and binary forms.*neither the name"),
    ("BSD-2-Clause", r"redistribution and use in source and binary forms"),
    ("CC-BY-SA-4.0", r"attribution-sharealike 4\.0"),
    ("CC-BY-4.0", r"attribution 4\.0 international"),
    ("CC0-1.0", r"cc0 1\.0"),
    ("Unlicense", r"this is free and unencumbered software"),
    ("ISC", r"permission to use, copy, modify, and(/or)? distribute this software"),
)


class Terms(NamedTuple):
    """What the documents of a repository have in common."""

    source: str  # without secrets
    commit: str
    fetched: str
    title: str = ""
    licence: str = ""
    tags: tuple[str, ...] = ()
    include: tuple[str, ...] = ()  # globs of further files


def repository_name(source: str) -> str:
    """What a repository is called, as the start of its folder's name."""
    path = urlsplit(source).path if "://" in source else source
    last = PurePosixPath(path.partition("@")[0] if "://" in source else path).name
    made = safe_path(last.removesuffix(".git") or "repository")
    return re.sub(r"[@\s]", "-", made).strip("-.") or "repository"


def folder_name(source: str, commit: str) -> str:
    """The folder of a repository at a commit."""
    return f"{repository_name(source)}@{commit[:7]}"


def documents(opened: Repository, terms: Terms) -> dict[str, tuple[Document, str]]:
    """What is written of a repository, by the path below its folder: chosen files, and the index.

    Raises:
        SourceUnreachable: it has no file that is chosen, or more than are taken.
    """
    chosen = _chosen(opened.files(), terms.include, terms.source)
    contents = opened.contents([blob.oid for blob, _ in chosen])
    licence = terms.licence or _licence(contents[blob.oid] for blob, _ in chosen if _LICENCE.fullmatch(blob.path))
    terms = terms._replace(licence=licence)
    made: dict[str, tuple[Document, str]] = {}
    for blob, place in chosen:
        if found := _document(blob, place, contents[blob.oid], terms):
            made[place] = found
    if not made:
        raise _nothing(terms.source, terms.include)
    return {f"{INDEX}.md": _index(made, terms), **made}


def _nothing(source: str, include: Sequence[str]) -> SourceUnreachable:
    globs = f" and nothing that matches {', '.join(include)}" if include else ""
    return SourceUnreachable(
        f"{source} has no README, no docs{globs}.", "Name files with --include, such as --include 'src/**/*.py'."
    )


def _chosen(blobs: Iterable[Blob], include: Sequence[str], source: str) -> list[tuple[Blob, str]]:
    """The files, and where each is written. Names that no file system may have, or has already, are made other ones."""
    chosen = [
        (blob, place if place.lower().endswith(".md") else f"{place}.md")
        for blob in blobs
        if (_CHOSEN.fullmatch(blob.path) or glob_matches(include, blob.path)) and (place := safe_path(blob.path))
    ]
    size = sum(blob.size for blob, _ in chosen)
    if len(chosen) > _MOST_FILES or size > _MOST_BYTES:
        told = f"{source} has {len(chosen):,} files of that kind, of {size / 1e6:.1f} MB."
        raise SourceUnreachable(told, f"Name fewer: {_MOST_FILES:,} files of {_MOST_BYTES / 1e6:.0f} MB are taken.")
    files, folders, found = {folded(f"{INDEX}.md")}, set[str](), list[tuple[Blob, str]]()
    for blob, path in chosen:
        place = numbered(f"{path[:-3]}.md", partial(_is_taken, files=files, folders=folders))
        files.add(folded(place))
        folders.update(_above(folded(place)))
        found.append((blob, place))
    return found


def _is_taken(place: str, files: Set[str], folders: Set[str]) -> bool:
    """Whether a file is there, or a folder of its name, or a file in place of a folder above it."""
    own = folded(place)
    return own in files or own in folders or not files.isdisjoint(_above(own))


def _above(place: str) -> list[str]:
    """The folders that a file is in."""
    return [place.rsplit("/", depth)[0] for depth in range(1, place.count("/") + 1)]


def _document(blob: Blob, place: str, data: bytes, terms: Terms) -> tuple[Document, str] | None:
    """One file; None if it is no text."""
    if b"\0" in data or not data.strip():
        return None
    is_markdown = blob.path.lower().endswith(_MARKDOWN)
    if language(blob.path):
        markdown, extractor = as_markdown(blob.path, data.decode("utf-8", "replace")), "source"
    else:
        try:
            told = read_plain(data, "", Kind.MARKDOWN if is_markdown else Kind.TEXT, blob.path)
        except Unreadable:
            return None
        markdown, extractor = str(told["markdown"]), str(told["extractor"])
    shown = one_line(blob.path.encode("utf-8", "replace").decode("utf-8"))
    title = f"{repository_name(terms.source)}: {first_heading(markdown) or shown}"
    made = _made(place, markdown, terms._replace(title=title))
    about = {"sha256": hashlib.sha256(data).hexdigest(), "path": shown, "extractor": extractor}
    return made.model_copy(update=about), markdown


def _made(place: str, markdown: str, terms: Terms) -> Document:
    """A document of the text at a place in the folder."""
    return Document(
        id=f"{folder_name(terms.source, terms.commit)}/{place.removesuffix('.md')}",
        kind=Kind.REPOSITORY,
        source=terms.source,
        title=one_line(terms.title),
        fetched=terms.fetched,
        sha256=hashlib.sha256(terms.commit.encode()).hexdigest(),
        text_sha256=text_sha256(markdown),
        licence=terms.licence,
        words=len(markdown.split()),
        extractor="index",
        tags=terms.tags,
        commit=terms.commit,
    )


def _index(made: dict[str, tuple[Document, str]], terms: Terms) -> tuple[Document, str]:
    """The table of a repository's documents."""
    name = repository_name(terms.source)
    rows = "".join(
        f"| [{_cell(document.path)}](<{place}>) | {_cell(first_heading(text))} | {_cell(first_sentence(text))} |\n"
        for place, (document, text) in made.items()
    )
    licence = f", licence {terms.licence}" if terms.licence else ""
    markdown = (
        f"# {terms.title or name}\n\n{terms.source} at commit {terms.commit}{licence}.\n\n"
        f"| file | heading | begins with |\n|---|---|---|\n{rows}"
    )
    index = _made(f"{INDEX}.md", markdown, terms._replace(title=terms.title or name))
    return index.model_copy(update={"include": terms.include}), markdown


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", one_line(text)).replace("[", "(").replace("]", ")") if text else ""


def _licence(texts: Iterable[bytes]) -> str:
    """What a licence is called, by its own words; empty if it is none of a known tool."""
    for data in texts:
        text = " ".join(data[:40_000].decode("utf-8", "replace").lower().split())
        if name := next((name for name, words in _CALLED if re.search(words, text)), ""):
            return name
    return ""
