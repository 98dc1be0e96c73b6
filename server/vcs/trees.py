"""The files of a commit: listed, read many at a time, and laid out in a folder."""

import os
import shutil
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

from git import Repo

from server.errors import WorkspaceUnusable
from server.source.editable import Editable, listed
from server.vcs.git_environment import translating_git_errors

PLAIN_MODES = ("100644", "100755")  # no link, no submodule
_LINK = "120000"
_SUBMODULE = "160000"
_NO_NAMES = {"", ".", "..", ".git"}  # git makes no tree with these, somebody else might
_MAX_MODULE = 1 << 20  # bytes
_REMEMBERED = 4  # commits whose lists are at hand: the branch's, the candidate's and what they were built on
_CHUNK = 1 << 20
_POINTER = b"version https://git-lfs.github.com/spec/v1\n"
_POINTER_BYTES = range(100, 1024)


class Entry(NamedTuple):
    """A file of a commit."""

    mode: str
    name: str  # of its blob
    size: int  # bytes; 0 of a submodule

    @property
    def plain(self) -> bool:
        return self.mode in PLAIN_MODES

    @property
    def submodule(self) -> bool:
        return self.mode == _SUBMODULE


_Blob = tuple[str, int, IO[bytes]]  # its name, its size, and a stream to be read for as long


class Trees:
    """Those of one repository."""

    def __init__(self, repo: Repo) -> None:
        self._repo = repo
        self._listed: dict[str, dict[str, Entry]] = {}  # by commit: what a name stands for never changes

    def entries(self, commit: str) -> dict[str, Entry]:
        """Everything at `commit`, by path; submodules and links as well. Raises WorkspaceUnusable."""
        if commit not in self._listed:
            with translating_git_errors(f"Listing the files at {commit[:12]}"):
                told = str(self._repo.git.ls_tree("-r", "-l", "-z", "--full-tree", commit)).split("\0")
            if len(self._listed) >= _REMEMBERED:
                del self._listed[next(iter(self._listed))]
            self._listed[commit] = dict(map(_entry, filter(None, told)))
        return self._listed[commit]

    def texts(self, entries: dict[str, Entry]) -> dict[str, bytes]:
        """The contents of some entries, by the name of the blob. Raises WorkspaceUnusable: one is lost."""
        read: dict[str, bytes] = {}
        with self._blobs({entry.name for entry in entries.values()}) as blobs:
            for name, size, stream in blobs:
                read[name] = _exactly(stream, size)
        return read

    def require_usable(self, commit: str, editable: Editable, begun: bool = False) -> None:
        """Refuse a commit of which no candidate can be made by these globs. Raises WorkspaceUnusable.

        Args:
            begun: it is a study's own: a folder that program.md names may have lost its last file to a candidate.
        """
        entries = self.entries(commit)
        ours = {path: one for path, one in entries.items() if not one.submodule and editable.allows(path)}
        where = f"in the commit {commit[:12]}"
        if not begun and (gone := editable.unmatched(entries)):
            raise WorkspaceUnusable(f"There is no {listed(gone)} {where}.", f"Commit {listed(gone)}.")
        if not ours:
            kept = [f"{path} ({why})" for path, why in editable.withheld(entries).items()]
            told = f": what `editable` matches is withheld: {listed(kept)}" if kept else ""
            raise WorkspaceUnusable(
                f"No file {where} is editable by {editable}{told}.",
                "Correct `editable` in program.md, or commit the files.",
            )
        if bad := {**self._unfit(ours, editable), **self._untextual(ours, editable)}:
            named = listed([f"{path} ({why})" for path, why in bad.items()])
            raise WorkspaceUnusable(
                f"Not every editable file is a plain text file: {named}.",
                "Name them in `off_limits` in program.md, or commit text in their place.",
            )
        if (size := sum(entry.size for entry in ours.values())) > editable.limits.all_bytes:
            raise WorkspaceUnusable(
                f"The {len(ours)} editable files have {size} bytes; {editable.limits.all_bytes} are allowed.",
                "Narrow `editable` in program.md, or name some in `off_limits`.",
            )

    def doubts(self, commit: str) -> list[str]:
        """What a run will not have as its author may think: a sentence each. Raises WorkspaceUnusable."""
        entries = self.entries(commit)
        told: list[str] = []
        if modules := [path for path, entry in entries.items() if entry.submodule]:
            told.append(f"Submodules are left out of a run: {listed(modules)}.")
        if pointers := self._pointers({path: entry for path, entry in entries.items() if entry.plain}):
            told.append(f"A run has Git LFS pointers instead of the files: {listed(pointers)}.")
        return told

    def lay_out(self, commit: str, folder: Path) -> list[str]:
        """Write all files of `commit` into `folder`, which is made: byte for byte, executable where git says so.

        Returns:
            What is left out: submodules, and links that lead out of the tree.

        Raises:
            WorkspaceUnusable: a file is lost, a name is none here, or the disk is full; then no folder is left.
        """
        entries = self.entries(commit)
        if odd := [path for path in entries if {part.lower() for part in path.split("/")} & _NO_NAMES]:
            raise WorkspaceUnusable(f"The commit {commit[:12]} has invalid file names: {listed(odd)}.", "Rename them.")
        with translating_git_errors(f"Laying out the files of {commit[:12]}"):
            folder.mkdir()
            try:
                return self._laid_out(entries, folder)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise

    def _laid_out(self, entries: dict[str, Entry], folder: Path) -> list[str]:
        """Files first and links last: nothing is written through a link."""
        for parent in sorted({os.path.dirname(path) for path in entries}):
            with _one_name(folder / parent):
                (folder / parent).mkdir(parents=True, exist_ok=True)
        places: dict[str, list[str]] = {}
        for path, entry in entries.items():
            if not entry.submodule:
                places.setdefault(entry.name, []).append(path)
        links: dict[str, bytes] = {}
        with self._blobs(places, "Writing files") as blobs:
            for name, size, stream in blobs:
                files = [path for path in places[name] if entries[path].mode != _LINK]
                pointing = [path for path in places[name] if entries[path].mode == _LINK]
                if pointing or len(files) > 1:
                    content = _exactly(stream, size)
                    links |= dict.fromkeys(pointing, content)
                    for path in files:
                        _write(folder / path, entries[path].mode, [content])
                else:
                    _write(folder / files[0], entries[files[0]].mode, _chunks(stream, size))
        left = [path for path, entry in entries.items() if entry.submodule]
        return sorted([*left, *_link(folder, links)])

    def _unfit(self, ours: dict[str, Entry], editable: Editable) -> dict[str, str]:
        """Links, and what is too large, each with the reason."""
        found = {path: "a link" for path, entry in ours.items() if entry.mode == _LINK}
        most = editable.limits.file_bytes
        return found | {p: f"{e.size} bytes, {most} are allowed" for p, e in ours.items() if e.plain and e.size > most}

    def _untextual(self, ours: dict[str, Entry], editable: Editable) -> dict[str, str]:
        most = editable.limits.file_bytes
        plain = {path: entry for path, entry in ours.items() if entry.plain and entry.size <= most}
        texts = self.texts(plain)
        found: dict[str, str] = {}
        for path, entry in plain.items():
            content = texts[entry.name]
            if content.startswith(_POINTER):
                found[path] = "a pointer of Git LFS"
            elif not is_text(content):
                found[path] = "binary"
        return found

    def _pointers(self, plain: dict[str, Entry]) -> list[str]:
        small = {path: entry for path, entry in plain.items() if entry.size in _POINTER_BYTES}
        texts = self.texts(small)
        return [path for path, entry in small.items() if texts[entry.name].startswith(_POINTER)]

    @contextmanager
    def _blobs(self, names: Iterable[str], what: str = "Reading files") -> Generator[Iterator[_Blob]]:
        """Blobs in the order of their names: each with its size, and a stream to be read to the end of it."""
        wanted = sorted(names)
        with translating_git_errors(what), TemporaryFile() as asked:
            asked.write("".join(f"{name}\n" for name in wanted).encode())
            asked.seek(0)
            # GitPython does not type what it starts.
            process: Any = self._repo.git.cat_file("--batch", "--buffer", istream=asked, as_process=True)
            try:
                yield self._streams(wanted, process.stdout)
            finally:
                process.stdout.close()
                process.stderr.close()
                process.proc.kill()
                process.proc.wait()

    def _streams(self, wanted: list[str], out: IO[bytes]) -> Iterator[_Blob]:
        for name in wanted:
            kind, _, size = out.readline().decode().partition(" ")[2].strip().partition(" ")
            if kind != "blob":
                raise ValueError(f"object file {name} is missing")  # as git says it
            yield name, int(size), out
            out.read(1)


def is_text(content: bytes) -> bool:
    """Whether it is UTF-8 without a NUL."""
    try:
        return "\0" not in content.decode("utf-8")
    except UnicodeDecodeError:
        return False


def module(entry: str) -> tuple[str, str] | None:
    """Path and object of a line of `git ls-tree -l`, if it is a plain Python file in folders that can be packages."""
    about, _, path = entry.partition("\t")
    *folders, file = path.split("/")
    if not file.endswith(".py") or not all(map(str.isidentifier, folders)):
        return None
    mode, _, name, size = about.split()
    return (path, name) if mode in PLAIN_MODES and int(size) <= _MAX_MODULE else None


def _entry(told: str) -> tuple[str, Entry]:
    about, _, path = told.partition("\t")
    mode, _, name, size = about.split()
    return path, Entry(mode, name, int(size) if size.isdecimal() else 0)


def _exactly(stream: IO[bytes], size: int) -> bytes:
    return b"".join(_chunks(stream, size))


def _chunks(stream: IO[bytes], size: int) -> Generator[bytes]:
    while size:
        chunk = stream.read(min(size, _CHUNK))
        if not chunk:
            raise ValueError("git ended in the middle of an object file")
        size -= len(chunk)
        yield chunk


def _write(path: Path, mode: str, chunks: Iterable[bytes]) -> None:
    """A new file: on a disk that knows no capitals two names may be one."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with _one_name(path), os.fdopen(os.open(path, flags, 0o755 if mode == "100755" else 0o644), "wb") as file:
        for chunk in chunks:
            file.write(chunk)


@contextmanager
def _one_name(path: Path) -> Generator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise WorkspaceUnusable(
            f"{path} exists already: two names in the commit mean the same file here.", "Rename one."
        ) from None


def _link(folder: Path, links: dict[str, bytes]) -> list[str]:
    """Make links, and take away again those that lead out of the tree. Returns which."""
    for path, target in links.items():
        with _one_name(folder / path):
            os.symlink(target, os.fsencode(folder / path))
    top = os.path.realpath(folder)
    out = [
        path
        for path, target in links.items()
        if target.startswith(b"/") or not (os.path.realpath(folder / path) + os.sep).startswith(top + os.sep)
    ]
    for path in out:
        (folder / path).unlink()
    return out
