"""The library's folder: documents found, written whole, and removed. Links are not followed."""

import fcntl
import os
import shutil
import stat
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from server.errors import UnknownDocument, WorkspaceUnusable
from server.files import write_whole
from server.library.document import Document, Kind
from server.library.front_matter import parse, render
from server.library.names import folded, numbered, slug
from server.library.reading.document_files import markdown_files

INDEX = "INDEX"  # the document of a repository that lists its others
_IGNORED = ".gitignore"
_MARK = "# The reference library of autoresearch. Its index and its lock are made again at will.\n"
_LOCK = ".lock"
_MOST_BYTES = 64 << 20
_STEP = "`autoresearch library list` lists them."


class Library:
    """The documents of one workspace."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: which need not be there.

        Raises:
            WorkspaceUnusable: there is something else in its place.
        """
        self.folder = folder
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise WorkspaceUnusable(
                f"{folder} is not a folder: links are not followed.", "Move it away, then call again."
            )

    def documents(self) -> list[Document]:
        """All that `add` has written, by id. What a person has put beside them is left out."""
        found = (found[0] for path, _ in markdown_files(self.folder) if (found := self._read(path)))
        return sorted(found, key=lambda one: one.id)

    def inside(self, folder: str) -> dict[str, tuple[Document, str]]:
        """The documents of a repository and their Markdown, by id; none where it is not here."""
        found = (found for path, _ in markdown_files(self.folder / folder) if (found := self._read(path)))
        return {document.id: (document, markdown) for document, markdown in found}

    def _read(self, path: Path) -> tuple[Document, str] | None:
        found = parse(text) if (text := _text(path)) is not None else None
        name = path.relative_to(self.folder).as_posix().removesuffix(".md")
        return (found[0].model_copy(update={"id": name}), found[1]) if found else None

    def get(self, name: str) -> tuple[Document, str]:
        """A document by its id, and its Markdown. Raises UnknownDocument."""
        for path, _ in markdown_files(self.folder):
            if path.relative_to(self.folder).as_posix() == f"{name}.md" and (found := self._read(path)):
                return found
        raise self._unknown(name)

    def _unknown(self, name: str) -> UnknownDocument:
        known = [document.id for document in self.documents()]
        known += sorted({one.partition("/")[0] for one in known if "/" in one})
        near = get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        return UnknownDocument(f"The library has no document {name[:200]!r}.", f"{hint}{_STEP}")

    @contextmanager
    def changing(self) -> Generator[None]:
        """While documents are written or removed: nobody else does. The folder is made where there is none.

        Raises:
            WorkspaceUnusable: the folder is the project's, and would be withheld from the candidate.
        """
        if not is_library(self.folder) and (other := _other_file(self.folder)):
            step = "Name another workspace with --workspace, or move the project's folder away."
            raise WorkspaceUnusable(f"{self.folder} is a folder of the project: it has {other}.", step)
        self.folder.mkdir(exist_ok=True)
        ignored = self.folder / _IGNORED
        if not os.path.lexists(ignored):
            write_whole(ignored, f"{_MARK}.*\n!{_IGNORED}\n")
        descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._clear_up()
            yield

    def _clear_up(self) -> None:
        """Remove what a killed writer has left."""
        for path in self.folder.glob(".*.new"):
            _remove(path)
        for path in self.folder.glob(".*.old"):
            whole = self.folder / path.name[1 : -len(".old")]
            if whole.exists():
                _remove(path)
            else:
                path.rename(whole)

    def write(self, document: Document, markdown: str) -> Document:
        """Write one document, under its id or, where it has none, under one made from its title. Raises OSError."""
        if not document.id:
            document = document.model_copy(update={"id": self._free(slug(document.title))})
        write_whole(self.folder / f"{document.id}.md", render(document, markdown))
        return document

    def _free(self, name: str) -> str:
        taken = {folded(one.name) for one in os.scandir(self.folder)}
        return numbered(name, lambda one: folded(f"{one}.md") in taken)

    def write_folder(self, name: str, documents: Mapping[str, tuple[Document, str]], instead_of: str = "") -> None:
        """Write the documents of a repository, all of them or none. Raises OSError.

        Args:
            name: of its folder. documents: by their path in it. instead_of: the folder of another commit, that goes.
        """
        fresh, old, place = self.folder / f".{name}.new", self.folder / f".{name}.old", self.folder / name
        try:
            for path, (document, markdown) in documents.items():
                (fresh / path).parent.mkdir(parents=True, exist_ok=True)
                with (fresh / path).open("x", encoding="utf-8", newline="") as file:
                    file.write(render(document, markdown))
                    file.flush()
                    os.fsync(file.fileno())
            if os.path.lexists(place):
                place.rename(old)
            fresh.rename(place)
        except BaseException:
            _remove(fresh)
            if os.path.lexists(old) and not os.path.lexists(place):
                old.rename(place)
            raise
        _remove(old)
        if instead_of and instead_of != name:
            _remove(self.folder / instead_of)

    def remove(self, name: str) -> list[str]:
        """Remove a document, or a repository with all of its documents. Returns their ids.

        Raises:
            UnknownDocument: there is none.
        """
        inside = [one.id for one in self.documents() if one.id == name or one.id.startswith(f"{name}/")]
        if not inside:
            raise self._unknown(name)
        top, _, rest = name.partition("/")
        if rest == INDEX:
            inside, name = [one.id for one in self.documents() if one.id.startswith(f"{top}/")], top
        if name in inside:
            (self.folder / f"{name}.md").unlink()
        else:
            _remove(self.folder / name)
        return inside

    def repositories(self) -> list[Document]:
        """The index of each repository that is here."""
        return [one for one in self.documents() if one.kind is Kind.REPOSITORY and one.id.endswith(f"/{INDEX}")]


def is_library(folder: Path) -> bool:
    """Whether `add` has made this folder: a project may have one of the same name."""
    text = _text(folder / _IGNORED)
    return text is not None and text.startswith(_MARK)


def _other_file(folder: Path) -> str:
    """A file that no library has; empty if there is none. Documents may be there first, and what begins with a dot."""
    for root, inside, names in os.walk(folder):
        inside[:] = sorted(one for one in inside if not one.startswith("."))
        if other := next((one for one in sorted(names) if not one.startswith(".") and not one.endswith(".md")), ""):
            return (Path(root) / other).relative_to(folder).as_posix()
    return ""


def _text(path: Path) -> str | None:
    """The text of a regular file; None if it is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            known = os.fstat(descriptor)
            if not stat.S_ISREG(known.st_mode) or known.st_size > _MOST_BYTES:
                return None
            return file.read().decode("utf-8", "replace")
    except OSError:
        return None


def _remove(path: Path) -> None:
    """A file, a link or a folder; nothing where there is nothing. Raises OSError."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    elif path.exists():
        shutil.rmtree(path)
