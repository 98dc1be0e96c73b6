"""Which files of a repository are the candidate's: globs, what is withheld from them, and their limits. Pure."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import NamedTuple

from server.source.python_source import line_count
from trainer.text import glob_matches


class Limits(NamedTuple):
    """How large the candidate may be."""

    lines: int | None  # of a file; None: any number
    file_bytes: int
    all_bytes: int
    modest: bool  # whether the growth of the compressed text is bounded: train.py could carry learnt weights


OF_TRAIN = Limits(lines=630, file_bytes=64 * 1024, all_bytes=4 << 20, modest=True)
OF_TASKS = Limits(lines=None, file_bytes=1 << 20, all_bytes=4 << 20, modest=False)

_MAGIC = re.compile(r"[*?\[]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_LONGEST_PART = 255  # bytes, of nearly every file system
_SHOWN = 12  # paths in a sentence
# What Python or pytest runs by itself, wherever it lies, and what it writes.
_RUN_BY_ITSELF = re.compile(r"(.*/)?((site|user)customize\.py|conftest\.py|[^/]*\.(pth|egg-link))", re.IGNORECASE)
_CACHES = re.compile(r"(.*/)?(__pycache__(/.*)?|[^/]*\.py[cod])", re.IGNORECASE)
_MODULE = re.compile(r"([^/.]+)(?:/__init__)?\.pyw?")


class Editable:
    """The rules for the paths of a candidate. Paths are relative to the top, with "/" between their parts."""

    def __init__(
        self,
        globs: Iterable[str],
        withheld: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
        modules: Collection[str] = (),
        limits: Limits = OF_TRAIN,
    ) -> None:
        """
        Args:
            globs: `*` stays in a folder, `**` crosses folders; without a wildcard, a file or all of a folder.
            withheld: of further globs, why what they match is not editable. files: the same of single files.
            modules: names that no new Python module at the top may have.
            limits: those of `OF_TRAIN` are for files that are named one by one; then `globs` are paths.
        """
        self.globs, self.limits = tuple(globs), limits
        self.plain = self.globs if limits.modest else ()  # the paths, where nothing has to be matched
        self._named = {glob.removeprefix("./") for glob in self.globs if not _MAGIC.search(glob)}
        self._withheld = dict(withheld or {})
        self._files, self._modules = dict(files or {}), frozenset(modules)

    @classmethod
    def of(cls, globs: Iterable[str]) -> "Editable":
        """Of globs alone; of paths alone they are files of a language model."""
        found = tuple(globs)
        return cls(found, limits=OF_TASKS if any(_MAGIC.search(glob) for glob in found) else OF_TRAIN)

    def __str__(self) -> str:
        return ", ".join(self.globs)

    def lines_left(self, *texts: str) -> int | None:
        """How many lines the longest of these files may grow by; None: any number."""
        return None if self.limits.lines is None else self.limits.lines - max(map(line_count, texts))

    @property
    def roots(self) -> list[str]:
        """Files or folders below which all that matches lies; "" is the top."""
        return sorted({_root(glob) for glob in self.globs})

    def allows(self, path: str) -> bool:
        """Whether the candidate may have a file of this name."""
        return path in self.plain if self.plain else not self.why_not(path)

    def matches(self, path: str) -> bool:
        """Whether a glob has it, whatever is withheld."""
        return glob_matches(self.globs, path)

    def why_not(self, path: str) -> str:
        """Why the candidate may not have a file of this name, as the end of a sentence; empty if it may."""
        if why := malformed(path):
            return why
        if not self.matches(path):
            return "it is not editable"
        return self._why_withheld(path)

    def _why_withheld(self, path: str) -> str:
        """Why a path that a glob has is not editable all the same."""
        folders = path.lower().split("/")
        if any(part.startswith((".git", "git~")) for part in folders):
            return "git's own files are never changed"
        if path.lower() == "program.md":
            return "program.md is the operator's"
        if _CACHES.fullmatch(path):
            return "Python writes such files by itself"
        if _RUN_BY_ITSELF.fullmatch(path) and path not in self._named:
            return "Python or pytest runs a file of this name by itself"
        if path in self._files and path not in self._named:
            return self._files[path]
        return next((why for glob, why in self._withheld.items() if glob_matches([glob], path)), "")

    def why_not_add(self, path: str, tree: Collection[str]) -> str:
        """Why no file of this name may be added to a tree of these paths; empty if one may."""
        if why := self.why_not(path):
            return why
        module = _MODULE.fullmatch(path)
        if module and module[1] in self._modules and path not in self._named:
            return f"it would hide Python's own module {module[1]}"
        return _clash(path, tree)

    def requires(self, path: str) -> bool:
        """Whether each candidate has this file: one that is editable by its very name cannot be deleted."""
        return path in self._named and self.allows(path)

    def is_cache(self, path: str) -> bool:
        """Whether Python writes such a file by itself."""
        return _CACHES.fullmatch(path) is not None

    def unmatched(self, paths: Collection[str]) -> list[str]:
        """The files and folders that are named without a wildcard, and are none of these paths nor above one."""
        known = {name for path in paths for name in (path, *_folders(path))}
        return sorted(glob for glob in self._named if glob.rstrip("/") not in known)

    def reserved(self, paths: Iterable[str]) -> dict[str, str]:
        """Of the paths that a glob has, the files that are withheld one by one, each with the reason."""
        return {path: why for path, why in self.withheld(paths).items() if self._files.get(path) == why}

    def withheld(self, paths: Iterable[str]) -> dict[str, str]:
        """The paths that a glob has and the candidate does not, each with the reason."""
        return {path: why for path in paths if self.matches(path) and (why := self.why_not(path))}


def nearest(path: str, known: Collection[str]) -> str:
    """What to say of a path that is none of `known`: those most like it, or all of a few."""
    alike = [name for name in known if _folded(name) == _folded(path)]
    names = alike or [name for name in known if name.rpartition("/")[2] == path.rpartition("/")[2]]
    names += [name for name in get_close_matches(path, known, n=3) if name not in names]
    if names:
        return f"Did you mean {' or '.join(names[:3])}?"
    return f"There are {listed(sorted(known))}."


def listed(paths: Collection[str]) -> str:
    """Paths in a sentence, as many as one reads."""
    shown = list(paths)[:_SHOWN]
    return ", ".join(shown) + (f", and {len(paths) - len(shown)} more" if len(paths) > len(shown) else "")


def malformed(path: str) -> str:
    """Why a text is no path below the top, as the end of a sentence; empty if it is one."""
    parts = path.split("/")
    if path.startswith(("/", "~")) or re.match(r"[A-Za-z]:[\\/]", path) or ".." in parts:
        return "it is absolute or climbs with '..': name it from the top of the repository"
    if "\\" in path:
        return "it has a backslash: write / between the parts"
    if "" in parts or "." in parts:
        return "it has an empty part or a '.'"
    if _CONTROL.search(path) or any(len(part.encode()) > _LONGEST_PART for part in parts):
        return "its name has a control character, or is too long"
    return ""


def _clash(path: str, tree: Collection[str]) -> str:
    """Why `path` cannot be beside the paths of a tree on every disk."""
    alike = {_folded(name): name for other in tree for name in (other, *_folders(other))}
    for name in (path, *_folders(path)):
        other = alike.get(_folded(name), name)
        if other != name:
            return f"it differs from {other} only in capitals or accents"
    known = set(tree)
    if file := next((folder for folder in _folders(path) if folder in known), ""):
        return f"{file} is a file"
    return "it is a folder" if any(other.startswith(f"{path}/") for other in tree) else ""


def distinct(paths: Collection[str]) -> str:
    """Why these paths cannot be in one tree on every disk, as a sentence; empty if they can."""
    seen: dict[str, str] = {}
    known = set(paths)
    for path in paths:
        for name in (*_folders(path), path):
            if (other := seen.setdefault(_folded(name), name)) != name:
                return f"{name} differs from {other} only in capitals or accents."
        if file := next((folder for folder in _folders(path) if folder in known), ""):
            return f"{file} would be a file, and the folder of {path}."
    return ""


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _folders(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _root(glob: str) -> str:
    parts = glob.removeprefix("./").rstrip("/").split("/")
    first = next((at for at, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
    return "/".join(parts[:first])
