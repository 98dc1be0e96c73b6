"""Folders of files that commands work on: private copies, and whether the files in them are still what they were."""

import hashlib
import os
import posixpath
import shlex
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from trainer.text import glob_matches

_MARKS = (b"\x7fELF", b"#!", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")  # how a program begins


@dataclass(frozen=True)
class FileState:
    """One file: its content as a hash, or where a link leads, and whether it can be run."""

    content: str
    runnable: bool
    seen: tuple[int, ...] = ()  # what changes with the file, whatever its owner says of it

    def same(self, other: "FileState") -> bool:
        """Whether content and executable bit are the same."""
        return (self.content, self.runnable) == (other.content, other.runnable)


def copy(source: Path, target: Path, leave_out: Callable[[str], bool] = lambda name: False) -> None:
    """Copy a folder with its links, as links, and times. Raises OSError.

    Args:
        leave_out: whether the file of this path, from the top and with / between parts, is left out.
    """

    def ignored(folder: str, names: list[str]) -> list[str]:
        inner = Path(folder).relative_to(source)
        return [name for name in names if leave_out((inner / name).as_posix()) or _special(Path(folder, name))]

    shutil.copytree(source, target, symlinks=True, ignore=ignored)


def link(top: Path, links: Iterable[tuple[str, str]]) -> None:
    """Lay links to what lies elsewhere: path below `top`, and where it leads. Raises OSError."""
    for inner, target in links:
        (top / inner).parent.mkdir(parents=True, exist_ok=True)
        (top / inner).symlink_to(target)


def states(top: Path, known: Mapping[str, FileState] | None = None) -> dict[str, FileState]:
    """Of every file below a folder, by path from the top; where `known` is given, of its files alone, as far as there.

    A file that shows no sign of having been touched since is taken for what it was. Raises OSError.
    """
    found: dict[str, FileState] = {}
    for name in names(top) if known is None else known:
        with suppress(FileNotFoundError, NotADirectoryError):
            found[name] = _state(top, name, (known or {}).get(name))
    return found


def looked_at(known: Mapping[str, FileState], top: Path) -> dict[str, FileState]:
    """The states of the same files in a copy that was made of them just now. Raises OSError."""
    return {name: replace(state, seen=_seen((top / name).lstat())) for name, state in known.items()}


def changed(before: Mapping[str, FileState], now: Mapping[str, FileState]) -> Iterator[str]:
    """What has become of the files since, a sentence without its end for each that is not what it was."""
    for name, state in before.items():
        if (other := now.get(name)) is None:
            yield f"{name} is gone"
        elif state.content != other.content:
            yield f"{name} has another content"
        elif not state.same(other):
            yield f"{name} {'can now be run' if other.runnable else 'can no longer be run'}"


def make_runnable(tops: Iterable[Path], known: Iterable[str]) -> None:
    """Set the bit that a compiler could not set: of new files that begin as programs do."""
    left_alone = set(known)
    for top in tops:
        for name in names(top):
            path = top / name
            with suppress(OSError):
                if name not in left_alone and stat.S_ISREG(path.lstat().st_mode) and not os.access(path, os.X_OK):
                    with path.open("rb") as file:
                        if file.read(4).startswith(_MARKS):
                            path.chmod(path.stat().st_mode | 0o111)


def size(top: Path) -> int:
    """Bytes of all files below a folder."""
    found = 0
    for name in names(top):
        with suppress(OSError):  # a path that is too long
            found += (top / name).lstat().st_size
    return found


def named(command: str) -> set[str]:
    """The words of a command, as paths: each of them may name a file.

    >>> sorted(named("node './judge/my worker.js' -v"))
    ['-v', 'judge/my worker.js', 'node']
    """
    try:
        words = shlex.split(command)
    except ValueError:  # a quote that only the shell knows how to close
        words = command.split()
    return {posixpath.normpath(word) for word in words}


def matcher(globs: Iterable[str]) -> Callable[[str], bool]:
    """Whether one of these globs has a path, or a folder above it.

    >>> matcher(["data/t*", "*.csv"])("data/test/a/b.txt")
    True
    """
    told = tuple(globs)
    return lambda name: any(glob_matches(told, path) for path in _with_folders(name))


def _with_folders(name: str) -> Iterator[str]:
    yield name
    while name := name.rpartition("/")[0]:
        yield name


def names(top: Path) -> Iterator[str]:
    """Every file below a folder, and every link, by path from the top."""
    for folder, folders, files in os.walk(top):
        inner = Path(folder).relative_to(top)
        links = [name for name in folders if Path(folder, name).is_symlink()]
        yield from ((inner / name).as_posix() for name in (*files, *links))


def _state(top: Path, name: str, known: FileState | None) -> FileState:
    path = top / name
    told = path.lstat()
    seen = _seen(told)
    if known is not None and known.seen == seen and not _through_link(top, name):
        return known
    if stat.S_ISLNK(told.st_mode):
        return FileState(f"link to {os.readlink(path)}", False, seen)
    if not stat.S_ISREG(told.st_mode) or _through_link(top, name):
        return FileState("not a file any more", False, seen)
    if known is not None and known.seen and told.st_size != known.seen[2]:
        return FileState("another size", False, seen)  # it may have holes, and take hours to read
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return FileState(content, bool(told.st_mode & 0o100), seen)


def _seen(told: os.stat_result) -> tuple[int, ...]:
    return told.st_ino, told.st_dev, told.st_size, told.st_mtime_ns, told.st_ctime_ns, told.st_mode


def _through_link(top: Path, name: str) -> bool:
    """Whether a folder on the way to it has become a link: what is seen there is another file."""
    return any((top / folder).is_symlink() for folder in Path(name).parents if folder != Path("."))


def _special(path: Path) -> bool:
    """Whether it is neither a file, a folder nor a link: a copy would wait for ever."""
    mode = path.lstat().st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))
