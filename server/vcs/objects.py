"""Git's objects: made and named without git, looked for and taken in many at a time."""

import hashlib
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

from git import Repo

from server.errors import WorkspaceUnusable
from server.vcs.git_environment import IDENTITY, open_repository, translating_git_errors

_KINDS = {"commit": 1, "tree": 2, "blob": 3}
_MODE = b"100644 "
FOLDER = "40000"
_PLAIN = ("100644", "100755")
_MOST_OF_A_DIFF = 1 << 20  # characters
_NO_FETCH = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"}  # of a partial clone: what is lost is not promised


class Made(NamedTuple):
    """One object."""

    kind: str
    content: bytes

    @property
    def name(self) -> str:
        header = f"{self.kind} {len(self.content)}\0".encode()
        return hashlib.sha1(header + self.content, usedforsecurity=False).hexdigest()


def blob(text: str) -> Made:
    """A file of this text."""
    return Made("blob", text.encode())


def commit(tree: str, parent: str, message: str, date: str) -> Made:
    """A commit as Workspace.commit makes it. `date` is ISO 8601 with an offset."""
    when = datetime.fromisoformat(date)
    who = f"{IDENTITY[0]} <{IDENTITY[1]}> {int(when.timestamp())} {when:%z}"
    return Made("commit", f"tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n\n{message}".encode())


def blob_of(tree: bytes, file: str) -> str:
    """The name of `file` in a tree. Raises ValueError if it has no such file."""
    _, end = _entry(tree, file)
    return tree[end - 20 : end].hex()


def with_file(tree: bytes, file: str, blob: str) -> Made:
    """A tree with `file` replaced, as a plain file. Raises ValueError if it has no such file."""
    start, end = _entry(tree, file)
    entry = _MODE + file.encode() + b"\0" + bytes.fromhex(blob)
    return Made("tree", tree[:start] + entry + tree[end:])


def _entry(tree: bytes, file: str) -> tuple[int, int]:
    """Where the entry of `file` begins and ends: mode, space, name, NUL, and the 20 bytes of the object's name."""
    start = 0
    while start < len(tree):
        nul = tree.index(b"\0", start)
        if tree[start:nul].partition(b" ")[2] == file.encode():
            return start, nul + 21
        start = nul + 21
    raise ValueError(f"no {file} in the tree")


Read = Callable[[str], Made | None]  # an object by its name; None: it is lost


class TreeEntry(NamedTuple):
    """An entry of a tree, as git stores it."""

    mode: str  # "40000" of a folder
    name: str  # of the object

    @property
    def plain(self) -> bool:
        """Whether it is a file: no folder, link or submodule."""
        return self.mode in _PLAIN


def files_of(read: Read, tree: str) -> dict[str, TreeEntry]:
    """Everything below a tree but folders, by path. Raises ValueError: a tree is lost."""
    found: dict[str, TreeEntry] = {}
    for name, entry in tree_entries(read, tree).items():
        if entry.mode == FOLDER:
            found |= {f"{name}/{path}": inner for path, inner in files_of(read, entry.name).items()}
        else:
            found[name] = entry
    return found


def with_files(read: Read, tree: str, blobs: Mapping[str, str | None], keep_modes: bool = True) -> list[Made]:
    """A tree with files changed, added and, where the blob is None, removed. A file keeps its mode; a new one is plain.

    Args:
        keep_modes: False: every file that is written is a plain one, whatever it was.

    Returns:
        The trees that are new, that of the top last; empty where nothing is left.

    Raises:
        ValueError: a tree is lost.
    """
    entries, made = tree_entries(read, tree) if tree else {}, list[Made]()
    below: dict[str, dict[str, str | None]] = {}
    for path, blob in blobs.items():
        name, slash, rest = path.partition("/")
        if slash:
            below.setdefault(name, {})[rest] = blob
        elif blob is None:
            if name in entries and entries[name].mode != FOLDER:
                del entries[name]
        else:
            before = entries.get(name)
            kept = keep_modes and before is not None and before.plain
            entries[name] = TreeEntry(before.mode if before and kept else _PLAIN[0], blob)
    for name, inner in below.items():
        before = entries.pop(name, None)
        if trees := with_files(read, before.name if before and before.mode == FOLDER else "", inner, keep_modes):
            made += trees
            entries[name] = TreeEntry(FOLDER, trees[-1].name)
        elif before and before.mode != FOLDER:  # what was to be removed below a file was not there
            entries[name] = before
    return [*made, _tree(entries)] if entries else []


def _tree(entries: Mapping[str, TreeEntry]) -> Made:
    """Sorted as git does: by the bytes of the name, a folder's with a slash behind it."""
    ordered = sorted(entries.items(), key=lambda one: os.fsencode(one[0]) + b"/" * (one[1].mode == FOLDER))
    told = ((entry.mode.encode(), os.fsencode(name), bytes.fromhex(entry.name)) for name, entry in ordered)
    return Made("tree", b"".join(mode + b" " + name + b"\0" + object_ for mode, name, object_ in told))


def tree_entries(read: Read, name: str) -> dict[str, TreeEntry]:
    """What a tree holds, folders as well, by name. Raises ValueError: it is lost."""
    tree = read(name)
    if tree is None or tree.kind != "tree":
        raise ValueError(f"the tree {name} is lost")
    found: dict[str, TreeEntry] = {}
    start = 0
    while start < len(tree.content):
        nul = tree.content.index(b"\0", start)
        mode, _, path = tree.content[start:nul].partition(b" ")
        found[os.fsdecode(path)] = TreeEntry(mode.decode(), tree.content[nul + 1 : nul + 21].hex())
        start = nul + 21
    return found


def pack(objects: list[Made]) -> bytes:
    """A pack file of `objects`, without deltas."""
    parts = [b"PACK" + struct.pack(">II", 2, len(objects))]
    parts += [_header(one) + zlib.compress(one.content) for one in objects]
    packed = b"".join(parts)
    return packed + hashlib.sha1(packed, usedforsecurity=False).digest()


def _header(one: Made) -> bytes:
    """Kind and size, seven bits a byte, the lowest first; the first byte has the kind and four bits."""
    size = len(one.content)
    told = [_KINDS[one.kind] << 4 | size & 15]
    size >>= 4
    while size:
        told[-1] |= 128
        told.append(size & 127)
        size >>= 7
    return bytes(told)


class Objects:
    """Those of one repository."""

    def __init__(self, repo: Repo) -> None:
        self._repo = repo

    def lacking(self, names: Iterable[str]) -> set[str]:
        """Which of `names` (of objects, or `COMMIT:FILE`) git does not have. Raises WorkspaceUnusable."""
        if not (lines := "".join(f"{name}\n" for name in names)):
            return set()
        with translating_git_errors("Looking for objects"), TemporaryFile() as asked:
            asked.write(lines.encode())
            asked.seek(0)
            with self._repo.git.custom_environment(**_NO_FETCH):  # a new process: an old one still sees what is deleted
                told = str(self._repo.git.cat_file("--batch-check=%(objectname)", "--buffer", istream=asked))
        return {line.removesuffix(" missing") for line in told.splitlines() if line.endswith(" missing")}

    def read(self, name: str) -> Made | None:
        """An object; None if git does not have it, or cannot read it."""
        try:
            with translating_git_errors(f"Reading {name}"):
                store: Any = self._repo.odb  # GitPython does not type its streams
                stream = store.stream(bytes.fromhex(name))
                return Made(stream.type.decode(), stream.read())
        except WorkspaceUnusable:
            self._repo.git.clear_cache()  # the process that has met a damaged object may have died of it
            return None

    def write(self, objects: list[Made]) -> None:
        """Write objects, a file each; those that are there already do no harm. Raises WorkspaceUnusable."""
        with translating_git_errors("Writing objects"), TemporaryFile() as packed:
            packed.write(pack(list({one.name: one for one in objects}.values())))
            packed.seek(0)
            self._repo.git.unpack_objects("-q", istream=packed)

    def add(self, objects: list[Made]) -> None:
        """Take objects in as one pack, all at once; else as `write`. Raises WorkspaceUnusable."""
        if not objects:
            return
        with translating_git_errors("Writing objects"), TemporaryFile() as packed:
            packed.write(pack(objects))
            packed.seek(0)
            self._repo.git.index_pack("--stdin", istream=packed)


def commit_diff(root: Path, before: str, after: str) -> str:
    """The unified diff between two commits, its first million characters; empty if they have the same files.

    Raises:
        WorkspaceUnusable: git has lost one of them.
    """
    with open_repository(root) as repo, translating_git_errors("Comparing two commits"):
        with repo.git.custom_environment(**_NO_FETCH):
            told = repo.git(c="core.quotePath=false").diff_tree(
                *("-p", "-r", "--no-ext-diff", "--no-textconv", "--no-renames", "--no-color"),
                *("--end-of-options", before, after),
                strip_newline_in_stdout=False,
            )
    return str(told)[:_MOST_OF_A_DIFF].encode("utf-8", "replace").decode()  # of bytes that are no text
