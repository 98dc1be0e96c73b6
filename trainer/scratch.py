"""The private folder of one process that runs train.py: new for every pass, and gone after it, whatever is in it."""

import os
import sys
import tempfile
from contextlib import suppress
from itertools import count
from pathlib import Path


def make(folder: Path, role: str) -> Path:
    """A new folder that nobody can name beforehand: one pass must not find what another left."""
    return Path(tempfile.mkdtemp(prefix=f"{role}-", dir=folder))


def remove(top: Path) -> None:
    """Remove a folder of a process that is dead. Without recursion, through any mode: it was filled by train.py.

    Raises:
        OSError: something cannot be removed.
    """
    names = count()
    os.chmod(top, 0o700)
    while entries := list(os.scandir(top)):
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _lift(entry.path, top, names)
                os.rmdir(entry.path)
            else:
                os.unlink(entry.path)
    os.rmdir(top)


def _lift(folder: str, top: Path, names: "count[int]") -> None:
    """Move what is in `folder` to the top, so that no path grows with the depth."""
    os.chmod(folder, 0o700)
    for inner in list(os.scandir(folder)):
        if inner.is_dir(follow_symlinks=False):
            os.chmod(inner.path, 0o700)  # a folder's parent can be changed by those who may write into it
        while os.path.lexists(target := top / f".{next(names)}"):
            continue
        os.rename(inner.path, target)


if __name__ == "__main__":  # what a killed supervisor could not remove
    for left in sys.argv[1:]:
        with suppress(OSError):
            remove(Path(left))
