"""Files that outlive trouble: written whole (readers see the old text or the new one), set aside, kept small."""

import os
import shutil
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
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


def replace_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8, line ends as given) to a file that is the user's: its mode, owner and links stay.

    The file is replaced whole where that is possible. One with several names, or whose owner cannot be given to another
    file, is written in place.

    Raises:
        OSError: the file cannot be written; unless it was written in place, it is as it was.
    """
    target = path.resolve()  # a link stays, and what it names is written
    try:
        found = target.stat()
    except FileNotFoundError:
        write_whole(target, text)
        return
    fresh = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        if found.st_nlink > 1:
            raise PermissionError
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            os.fchown(file.fileno(), found.st_uid, found.st_gid)
            shutil.copystat(target, fresh)
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
    except PermissionError:
        fresh.unlink(missing_ok=True)
        with target.open("r+b") as file:
            file.write(text.encode())
            file.truncate()
            os.fsync(file.fileno())
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def keep_copy(path: Path) -> Path:
    """Copy a file that is the user's to `<name>.bak`, or to the first of `<name>.bak.1`, ... that is not there.

    Returns:
        The copy. Its mode and owner are the file's; where they cannot be, it is its maker's alone.

    Raises:
        OSError: the file cannot be read, or no copy written.
    """
    found, data = path.stat(), path.read_bytes()
    for number in count():
        copy = path.with_name(f"{path.name}.bak{f'.{number}' if number else ''}")
        try:  # exclusive: a link there is not followed
            descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        with os.fdopen(descriptor, "wb") as file, suppress(PermissionError):
            file.write(data)
            os.fchown(descriptor, found.st_uid, found.st_gid)
            shutil.copystat(path, copy)
        return copy
    raise AssertionError


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
