"""Files that outlive trouble: written whole (readers see the old text or the new one), set aside, kept small."""

import os
import shutil
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write `text` (UTF-8, line ends as given) beside `path`, make it durable, and rename it into place.

    Raises:
        OSError: the disk is full or read-only; what was at `path` is still there.
    """
    write_all({path: text})


def write_all(texts: Mapping[Path, str]) -> None:
    """As `write_whole` for several files: all of them are durable before the first is renamed into place.

    Raises:
        OSError: only if a rename fails after another one, which takes no room on the disk, files differ from before.
    """
    written = {path: path.with_name(f".{path.name}.{os.getpid()}.new") for path in texts}
    try:
        for path, text in texts.items():
            with written[path].open("w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        for path, temporary in written.items():
            temporary.replace(path)
    except OSError:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)
        raise
    for parent in {path.parent for path in texts}:
        folder = os.open(parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def set_aside(path: Path) -> Path | None:
    """Rename what is damaged, so that nothing is lost; None if there is nothing. Raises OSError."""
    if not path.exists():
        return None
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    return path.rename(path.with_name(f"{path.name}.{stamp}.damaged"))


@contextmanager
def scratch(*paths: Path) -> Generator[None]:
    """Files for these steps alone: gone afterwards, and before, as a killed git has left them. Raises OSError."""
    try:
        for path in paths:
            path.unlink(missing_ok=True)
        yield
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def abandoned(lock: Path, seconds: float) -> bool:
    """Whether a lock file has been there for longer than anybody holds it. A clock that was set back counts as long."""
    try:
        return abs(time.time() - lock.stat().st_mtime) > seconds
    except FileNotFoundError:
        return False


def rotate(path: Path, most: int) -> None:
    """Move a log of more than `most` bytes to `<name>.1`; whoever has it open to append goes on in an empty one.

    As logrotate's copytruncate: what is written in the moment between the copy and the cut is lost.
    """
    if path.stat().st_size > most:
        shutil.copyfile(path, path.with_name(f"{path.name}.1"))
        os.truncate(path, 0)
