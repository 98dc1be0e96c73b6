"""Folders of data that are there whole or not at all, each with a manifest of checksums.

A new one is built beside and renamed into place: whenever its builder dies, what is there is whole.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

MANIFEST = "manifest.json"  # file name: sha256


def intact(home: Path, names: Iterable[str]) -> bool:
    """Whether each of these files is in `home`, as it was written."""
    try:
        manifest = json.loads((home / MANIFEST).read_text(encoding="utf-8"))
        return all(sha256(home / name) == manifest[name] for name in names)
    except (OSError, ValueError, KeyError, TypeError):
        return False


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """One builder at a time: without a lock, a second one could take away as damaged what the first just built."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def building(home: Path) -> Iterator[Path]:
    """A new folder to write files into; it takes the place of `home` when the block ends well."""
    fresh = Path(tempfile.mkdtemp(dir=home.parent, prefix=f".{home.name}-"))
    try:
        yield fresh
        sums = {path.name: sha256(path) for path in sorted(fresh.iterdir())}
        (fresh / MANIFEST).write_text(json.dumps(sums), encoding="utf-8")
        for path in fresh.iterdir():
            _sync(path)
        _move(fresh, home)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def sha256(path: Path) -> str:
    """Checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _move(fresh: Path, home: Path) -> None:
    if home.exists():
        damaged = Path(tempfile.mkdtemp(dir=home.parent, prefix=".damaged-"))
        os.replace(home, damaged / home.name)  # into it: a file cannot replace a folder
        shutil.rmtree(damaged, ignore_errors=True)
    os.rename(fresh, home)
