"""What reading leaves behind in the kernel: which pages of a file are in memory, and when it was read last.

A process that saw validation text, or trained before its time, could leave bits there for a later one: a page from the
disk takes longer than one from memory. So between two processes that run train.py all that they may read is brought
into memory, unless the kernel's counters say that nothing was read from a disk or put out of memory since it all was.
A read renews a file's time of access once a day at most (relatime): all are renewed before there is anything to tell.
"""

import ctypes
import hashlib
import json
import math
import mmap
import os
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any, NamedTuple

_MEMORY = "traces.json"  # in the folder of data, out of train.py's reach
_REMEMBERED = 8  # sets of files: another profile, or other variables of the operator's, make another one
_CACHESTAT = 451  # Linux 6.5, the same number on every architecture
_POPULATE_READ = 22  # madvise(2), Linux 5.14
_CHUNK = 1 << 20
_OF_THE_KERNEL = ("/proc", "/sys", "/dev")
# seconds: a read renews a time of access after 24 hours
_STALE = 20 * 3600
_RENEWED_EVERY = 2 * 3600
_LOOK_SECONDS = 0.1
_MEMORY_SHARE = 0.8  # of the memory that is free or could be, which all the files may take
_COUNTED = ("pgpgin", "pgsteal_", "drop_pagecache", "oom_kill")  # how lines of /proc/vmstat begin
_UNCOUNTED = ("nfs", "cifs", "smb", "fuse", "9p", "virtiofs", "ceph", "lustre", "afs")  # files of another machine's


class _Listed(NamedTuple):
    """A file or a folder that may be read."""

    path: str
    is_folder: bool
    size: int  # bytes
    read: float  # when it was read last, seconds since the epoch
    shows: bool  # it was changed since: the next read renews that time


_Files = list[tuple[str, int]]  # their names, or paths, and sizes in bytes


class Traces:
    """Those on what one run's processes may read. For Linux alone: elsewhere nothing is known, or done."""

    def __init__(self, readable: Iterable[Path], run: Path, data: Path) -> None:
        """`run`: the folder of the run, whose files are new. `data`: where is noted what is known from earlier runs."""
        told = [path for path in readable if not str(path).startswith(_OF_THE_KERNEL)]
        self._own = [str(path) for path in told if path.is_relative_to(run)]
        self._readable = [str(path) for path in told if not path.is_relative_to(run)]
        self._note = data / _MEMORY
        self._found: list[_Listed] | None = None
        self._held: dict[str, _Files] | None = None

    def erase(self, watch: Callable[[], None] = lambda: None) -> str:
        """Make times and memory the same whatever was read; at once, where nothing was.

        Args:
            watch: called about every 0.1 s while files are brought into memory, which takes a minute where a disk is
                slow; what it raises ends the work.

        Returns:
            Why that cannot be; empty if it is done.
        """
        if sys.platform != "linux":
            return ""
        places = sorted((path, _changed(path)) for path in self._readable)
        key = hashlib.sha256(json.dumps(places).encode()).hexdigest()
        known = self._remembered(key)
        if not 0 <= time.time() - known.get("renewed", 0.0) < _RENEWED_EVERY:
            self._renew_times()
            known["renewed"] = time.time()
        for path in self._own:
            with suppress(OSError):
                _read_anew(path, is_folder=False)
        if (counters := _counters()) is None or counters != known.get("counters"):
            if why := self._bring_in(watch):
                return why
            known["counters"] = _counters()
        self._remember(key, known)
        return ""

    def _noted(self) -> dict[str, Any]:
        """What is known of each set of files, the latest last."""
        with suppress(OSError, ValueError, AttributeError):
            told = json.loads(self._note.read_bytes()).items()
            return {key: known for key, known in told if isinstance(known, dict)}
        return {}

    def _remembered(self, key: str) -> dict[str, Any]:
        return self._noted().get(key, {})

    def _remember(self, key: str, known: dict[str, Any]) -> None:
        noted = self._noted()
        if noted.pop(key, None) == known:
            return
        others = list(noted.items())[1 - _REMEMBERED :]
        with suppress(OSError):
            temporary = self._note.with_name(f".{_MEMORY}.{os.getpid()}")
            temporary.write_text(json.dumps({**dict(others), key: known}), encoding="utf-8")
            temporary.replace(self._note)

    def _listed(self) -> list[_Listed]:
        """Each once, whatever its names are. What cannot be looked at cannot be read by train.py either."""
        if self._found is None:
            found: dict[tuple[int, int], _Listed] = {}
            for path, told in _below(self._readable):
                folder = S_ISDIR(told.st_mode)
                if folder or S_ISREG(told.st_mode):
                    shows = told.st_atime_ns <= max(told.st_mtime_ns, told.st_ctime_ns)
                    found[told.st_dev, told.st_ino] = _Listed(path, folder, told.st_size, told.st_atime, shows)
            self._found = list(found.values())
        return self._found

    def _renew_times(self) -> None:
        """Let no time of access be so old that another read would change it."""
        for one in self._listed():
            if one.shows or time.time() - one.read > _STALE:
                with suppress(OSError):
                    _read_anew(one.path, one.is_folder)
                    found = os.stat(one.path)
                    if time.time() - found.st_atime > _STALE:  # too young to be renewed so, or never renewed
                        os.utime(one.path, ns=(time.time_ns(), found.st_mtime_ns))

    def _bring_in(self, watch: Callable[[], None]) -> str:
        """Bring all of every file into memory. Returns why that cannot be."""
        if self._held is None:
            self._held = _held_by(self._readable)
        if (size := sum(size for files in self._held.values() for _, size in files)) > _MEMORY_SHARE * _memory():
            return f"too little memory to keep the {size >> 20} MB in it that train.py may read: what was read shows"
        missing, look = _missing(), _paced(watch)
        for place, files in self._held.items():
            look()
            with suppress(OSError), _opened(place) as folder:
                _bring(folder, files, missing, look)
        return ""


def _paced(watch: Callable[[], None]) -> Callable[[], None]:
    """Calls `watch` about every 0.1 s, however often it is called."""
    looked = -math.inf

    def look() -> None:
        nonlocal looked
        if time.monotonic() - looked > _LOOK_SECONDS:
            watch()
            looked = time.monotonic()

    return look


@contextmanager
def _opened(folder: str) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _bring(folder: int, files: _Files, missing: Callable[[int, int], bool], look: Callable[[], None]) -> None:
    """Bring files of an open folder into memory. What is gone, or not ours to read, is left out."""
    for name, size in files:
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
        except OSError:
            continue
        try:
            if missing(descriptor, size):
                _read(descriptor, size)
                look()
        except OSError:
            continue
        finally:
            os.close(descriptor)


def _held_by(paths: Iterable[str]) -> dict[str, _Files]:
    """The files at and below these paths that hold something, each once, by the folder that they are named from.

    By open folders: the kernel finds none of tens of thousands of files by its whole path then. Links are left out.
    """
    seen, waiting = set[tuple[int, int]](), list[str]()
    found: dict[str, _Files] = {"/": []}
    for path in paths:
        with suppress(OSError):
            told = os.stat(path)
            if S_ISDIR(told.st_mode):
                waiting.append(path)
            elif S_ISREG(told.st_mode) and told.st_size:
                found["/"].append((path, told.st_size))
                seen.add((told.st_dev, told.st_ino))
    while waiting:
        place = waiting.pop()
        with suppress(OSError), _opened(place) as folder, os.scandir(folder) as entries:
            found[place] = _regular(entries, seen, waiting, place)
    return found


def _regular(entries: Iterable[os.DirEntry[str]], seen: set[tuple[int, int]], waiting: list[str], place: str) -> _Files:
    """Those of a folder at `place`; the folders in it join `waiting`."""
    files: _Files = []
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            waiting.append(f"{place}/{entry.name}")
        elif entry.is_file(follow_symlinks=False):
            try:
                told = entry.stat(follow_symlinks=False)
            except OSError:
                continue  # gone meanwhile
            if told.st_size and (key := (told.st_dev, told.st_ino)) not in seen:
                seen.add(key)
                files.append((entry.name, told.st_size))
    return files


def _missing() -> Callable[[int, int], bool]:
    """Whether an open file of so many bytes may have a page that is not in memory; made once for many of them."""
    call, whole, told = ctypes.CDLL(None).syscall, bytes(16), ctypes.create_string_buffer(40)  # struct cachestat

    def missing(descriptor: int, size: int) -> bool:
        refused = call(_CACHESTAT, descriptor, whole, told, 0)
        # How many of its pages are in memory, if the kernel tells; through an overlay it tells of none.
        return bool(refused) or struct.unpack_from("Q", told)[0] < -(-size // mmap.PAGESIZE)

    return missing


def _below(paths: Iterable[str]) -> Iterator[tuple[str, os.stat_result]]:
    """These files and folders, and what is below them; links below them are left out."""
    waiting: list[str] = []
    for path in paths:
        with suppress(OSError):
            found = os.stat(path)
            yield path, found
            waiting += [path] if S_ISDIR(found.st_mode) else []
    while waiting:
        for path, found in _inside(waiting.pop()):
            yield path, found
            if S_ISDIR(found.st_mode):
                waiting.append(path)


def _inside(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            try:
                if not entry.is_symlink():
                    yield entry.path, entry.stat(follow_symlinks=False)
            except OSError:
                continue  # gone meanwhile


def _changed(path: str) -> int:
    with suppress(OSError):
        return os.stat(path).st_mtime_ns
    return 0


def _read_anew(path: str, is_folder: bool) -> None:
    if is_folder:
        with os.scandir(path) as entries:
            next(entries, None)
    else:
        with open(path, "rb", buffering=0) as file:
            file.read(1)


def _read(descriptor: int, size: int) -> None:
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
    try:
        with mmap.mmap(descriptor, size, prot=mmap.PROT_READ) as memory:
            return memory.madvise(_POPULATE_READ)
    except (OSError, ValueError):  # an older kernel, or a file that has become shorter
        at, buffer = 0, bytearray(_CHUNK)
        while count := os.preadv(descriptor, [buffer], at):
            at += count


def _counters() -> list[str] | None:
    """What grows with each page that comes from a disk or leaves memory; None where there are files without a disk."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        mounted = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
        if any(line.partition(" - ")[2].startswith(_UNCOUNTED) for line in mounted):
            return None
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return [boot, *(line for line in lines if line.startswith(_COUNTED))]


def _memory() -> int:
    """Bytes that are free, or taken by what can be read again; never more than the limit of this process's group."""
    found = 0
    with suppress(OSError, ValueError, KeyError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = int(dict(line.split(":", 1) for line in lines)["MemAvailable"].split()[0]) << 10
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # there is none, or it is `max`
            found = min(found, int(Path("/sys/fs/cgroup", limit).read_text(encoding="ascii")))
    return found
