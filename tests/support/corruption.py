"""What happens to files."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


def garbage(path: Path) -> None:
    """Overwritten by something else."""
    path.write_bytes(b"\xff\x00not what it was" * 400)


def flipped(path: Path) -> None:
    """One page in the middle, as a bad sector leaves it."""
    held = bytearray(path.read_bytes())
    held[4096:8192] = b"\xff" * 4096
    path.write_bytes(held)


def halved(path: Path) -> None:
    """Cut off."""
    held = path.read_bytes()
    path.write_bytes(held[: len(held) // 2])


def emptied(path: Path) -> None:
    """Nothing in it any more."""
    path.write_bytes(b"")


def gone(path: Path) -> None:
    """Deleted, file or folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


@contextmanager
def obstructed(path: Path) -> Generator[None]:
    """`path` cannot be written by this process: the file that is to be renamed into its place cannot be made."""
    obstacle = path.with_name(f".{path.name}.{os.getpid()}.new")
    obstacle.mkdir()
    try:
        yield
    finally:
        obstacle.rmdir()
