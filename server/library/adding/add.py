"""The way of a source into the library: fetched, read, and written whole, or refused with one sentence."""

import hashlib
import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from server.library.adding.repository import Terms, documents, folder_name
from server.library.adding.source_text import first_heading
from server.library.document import Document, Extract, Fetched
from server.library.extraction.extract import extract, require_extra
from server.library.fetching import arxiv, git_objects
from server.library.fetching.git_objects import GitLimits
from server.library.fetching.local_files import read_file, read_stdin
from server.library.fetching.reach import Reach
from server.library.fetching.sources import Source, SourceKind, read_source
from server.library.fetching.web import Web
from server.library.front_matter import one_line, render, text_sha256
from server.library.names import slug
from server.library.store import INDEX, Library
from server.records import Value
from trainer.contract import utc_now


class State(StrEnum):
    """What became of a source."""

    ADDED = "added"
    REPLACED = "replaced"  # other bytes than before, or other words of the operator
    UNCHANGED = "unchanged"  # read again, and the same
    KNOWN = "known"  # in the library already, and not fetched again


class Added(Value):
    """What `add` says of a source."""

    source: str
    state: State
    id: str
    title: str
    documents: int = 1  # how many files it is now
    words: int


class Wishes(NamedTuple):
    """What the operator says of the sources."""

    title: str = ""
    licence: str = ""
    tags: tuple[str, ...] = ()
    include: tuple[str, ...] = ()  # globs of a repository's files
    refresh: bool = False

    @property
    def say_something(self) -> bool:
        return bool(self.title or self.licence or self.tags or self.include or self.refresh)


class Adding:
    """Adds sources to one library."""

    def __init__(
        self,
        library: Library,
        reach: Reach,
        web: Web | None = None,
        papers: tuple[str, ...] = arxiv.PLACES,
        limits: GitLimits | None = None,
    ) -> None:
        """
        Args:
            web: fetches pages. papers: where arXiv's are. limits: of repositories.
        """
        self._library, self._reach, self._web = library, reach, web or Web(reach)
        self._papers, self._limits = papers, limits

    def add(self, told: str, wishes: Wishes) -> Added:
        """Add a source as it is named on a command line.

        Raises:
            SourceUnreachable, SourceUnreadable: why it cannot be; the library is as it was.
            OSError: it cannot be written.
        """
        source = read_source(told)
        if source.kind in (SourceKind.GIT, SourceKind.FOLDER):
            return self._add_repository(source, wishes)
        return self._add_document(source, wishes)

    def _add_document(self, source: Source, wishes: Wishes) -> Added:
        known = self._known(lambda one: one.source == source.name and not one.commit)
        if known and source.is_remote and not wishes.say_something:
            return _added(State.KNOWN, known)
        if source.is_remote:
            require_extra(source.name)
        fetched = self._fetch(source)
        found = extract(fetched)
        with self._library.changing():
            if source.kind is SourceKind.STDIN:
                known = self._known(lambda one: _is_same_pipe(one, fetched, wishes))
            elif known:
                known = self._known(lambda one: one.source == source.name and not one.commit)
            document, markdown = _document(fetched, found, wishes, known)
            if known and self._is_as_before(known.id, document, markdown):
                return _added(State.UNCHANGED, known)
            document = self._library.write(document, markdown)
        return _added(State.REPLACED if known else State.ADDED, document)

    def _known(self, is_it: Callable[[Document], bool]) -> Document | None:
        return next((one for one in self._library.documents() if is_it(one)), None)

    def _is_as_before(self, name: str, document: Document, markdown: str) -> bool:
        before = self._library.get(name)
        return render(*before) == render(document, markdown)

    def _fetch(self, source: Source) -> Fetched:
        match source.kind:
            case SourceKind.STDIN:
                return read_stdin(source.name)
            case SourceKind.FILE:
                return read_file(Path(source.target), source.name)
            case SourceKind.ARXIV:
                return arxiv.fetch_paper(source.target, self._web, self._papers)
            case _:
                return self._web.fetch(source.target, source.name)

    def _add_repository(self, source: Source, wishes: Wishes) -> Added:
        known = next((one for one in self._library.repositories() if one.source == source.name), None)
        if known and source.is_remote and not wishes.say_something:
            return self._counted(State.KNOWN, known)
        with git_objects.opened(source, self._reach, self._limits) as opened:
            name = folder_name(source.name, opened.commit)
            before = self._library.inside(name)
            same = before[f"{name}/{INDEX}"][0] if f"{name}/{INDEX}" in before else None
            about = same or known
            terms = Terms(
                source=source.name,
                commit=opened.commit,
                fetched=same.fetched if same else utc_now(),
                title=wishes.title or (about.title if about else ""),
                licence=wishes.licence or (same.licence if same else ""),
                tags=wishes.tags or (about.tags if about else ()),
                include=tuple(dict.fromkeys((*(about.include if about else ()), *map(one_line, wishes.include)))),
            )
            made = documents(opened, terms)
        with self._library.changing():
            index = made[f"{INDEX}.md"][0]
            before = self._library.inside(name)
            if {one.id: render(one, text) for one, text in made.values()} == {
                place: render(*there) for place, there in before.items()
            }:
                return self._counted(State.UNCHANGED, index)
            self._library.write_folder(name, made, known.id.partition("/")[0] if known else "")
        return self._counted(State.REPLACED if known or before else State.ADDED, index)

    def _counted(self, state: State, index: Document) -> Added:
        folder = index.id.partition("/")[0]
        inside = [one for one in self._library.documents() if one.id.startswith(f"{folder}/")]
        words = sum(one.words for one in inside)
        return _added(state, index).model_copy(update={"id": folder, "documents": len(inside), "words": words})


def _added(state: State, document: Document) -> Added:
    return Added(source=document.source, state=state, id=document.id, title=document.title, words=document.words)


def _is_same_pipe(one: Document, fetched: Fetched, wishes: Wishes) -> bool:
    """Whether a document was piped in before as this one is: the same bytes, address or title."""
    if one.source != fetched.source or one.commit:
        return False
    if fetched.final_url:
        return one.final_url == fetched.final_url
    return one.sha256 == _sha256(fetched) or bool(wishes.title and one_line(wishes.title) == one.title)


def _sha256(fetched: Fetched) -> str:
    return hashlib.sha256(fetched.data).hexdigest()


def _document(fetched: Fetched, found: Extract, wishes: Wishes, known: Document | None) -> tuple[Document, str]:
    """A document of what was read. What the operator has said of it before still holds."""
    markdown = found.markdown.encode("utf-8", "replace").decode("utf-8").rstrip() + "\n"
    sha256 = _sha256(fetched)
    said = {one for one in ("title", "licence") if getattr(wishes, one) or (known and one in known.said)}
    title = wishes.title or (known.title if known and "title" in said else "")
    licence = wishes.licence or (known.licence if known and "licence" in said else "")
    document = Document(
        id=known.id if known else "",
        kind=found.kind,
        source=one_line(fetched.source),
        final_url=one_line(fetched.final_url),
        title=one_line(title or found.title or _title(fetched, markdown)),
        author=one_line(found.author),
        published=one_line(found.published),
        fetched=known.fetched if known and known.sha256 == sha256 else fetched.fetched,
        sha256=sha256,
        text_sha256=text_sha256(markdown),
        licence=one_line(licence or found.licence),
        words=len(markdown.split()),
        extractor=found.extractor,
        lossy=found.lossy,
        tags=tuple(map(one_line, wishes.tags)) or (known.tags if known else ()),
        said=tuple(sorted(said)),
    )
    return document, markdown


def _title(fetched: Fetched, markdown: str) -> str:
    """A title for what has none: its first heading, or the end of its address."""
    if heading := first_heading(markdown):
        return heading
    place = fetched.final_url or fetched.source
    path = unquote(urlsplit(place).path) if re.match(r"https?://", place) else place
    return PurePosixPath(path).stem or urlsplit(place).hostname or slug(place)
