"""Sets modes and times of files for a command, in its own folder alone (Linux).

Landlock knows no rule for them, and the filter of system calls cannot see which file is meant. So the kernel asks this
process about each such call (seccomp_unotify(2)): what is meant is opened here, and changed where it lies in the
command's folder. Elsewhere the call is answered with success and not made. Compilers, `install`, `tar` and `touch`
need this: without it nothing that a linker makes can be run.
"""

import errno
import fcntl
import os
import stat
import struct
import time
from contextlib import suppress
from pathlib import Path

from trainer.sandbox.seccomp import of_files

# ioctl(2) of a listener, and its structures
_RECEIVE = 0xC0502100
_SEND = 0xC0182101
_IS_VALID = 0x40082102
_REQUEST = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=QqiI")
_CURRENT_FOLDER = -100  # AT_FDCWD
_NO_FOLLOW = 0x100  # AT_SYMLINK_NOFOLLOW
# nanoseconds that mean this moment, and no change
_NOW = (1 << 30) - 1
_OMIT = (1 << 30) - 2
_LONGEST = 4096  # bytes of a path
_OWN = "/proc/self/"


class FileModes:
    """Answers what one command and all it started ask."""

    def __init__(self, listener: int, folder: Path) -> None:
        """`folder`: files elsewhere are not changed; resolved."""
        self.listener, self._folder = listener, str(folder)
        self._names = of_files()

    def answer(self) -> None:
        """Answer one request; called when there is one."""
        request = bytearray(_REQUEST.size)
        try:
            fcntl.ioctl(self.listener, _RECEIVE, request)
        except OSError:  # who asked is gone
            return
        number, pid, _, call, _, _, *arguments = _REQUEST.unpack(request)
        failed = 0
        try:
            self._make(number, pid, self._names.get(call, ""), arguments)
        except OSError as error:
            failed = error.errno or errno.EPERM
        with suppress(OSError):
            fcntl.ioctl(self.listener, _SEND, _ANSWER.pack(number, 0, -failed, 0))

    def close(self) -> None:
        os.close(self.listener)

    def _make(self, number: int, pid: int, name: str, arguments: list[int]) -> None:
        """Make the call on whatever is meant. Raises OSError: as the call would."""
        flags = 0
        if name == "chmod":
            folder, path, value = _CURRENT_FOLDER, arguments[0], arguments[1]
        elif name == "fchmod":
            folder, path, value = _signed(arguments[0]), 0, arguments[1]
        else:
            folder, path, value = _signed(arguments[0]), arguments[1], arguments[2]
            flags = arguments[3] if name != "fchmodat" else 0
        times = _times(pid, value) if name == "utimensat" else None
        target = _open(pid, folder, _text(pid, path) if path else b"", flags)
        try:
            fcntl.ioctl(self.listener, _IS_VALID, struct.pack("=Q", number))  # else the pid is another process's
            self._change(target, value, times)
        finally:
            os.close(target)

    def _change(self, target: int, mode: int, times: tuple[int, int] | None) -> None:
        path, found = f"/proc/self/fd/{target}", os.fstat(target)
        if not os.readlink(path).startswith(f"{self._folder}/") or not _plain(found.st_mode):
            return
        if times is not None:
            os.utime(path, ns=(_known(times[0], found.st_atime_ns), _known(times[1], found.st_mtime_ns)))
        else:  # the referee looks at what is left: it must be able to
            least = 0o700 if stat.S_ISDIR(found.st_mode) else 0o600
            os.chmod(path, mode & 0o777 | least)


def _open(pid: int, folder: int, path: bytes, flags: int) -> int:
    """A descriptor of what the process means, which names it and opens nothing."""
    if path.startswith(_OWN.encode()):
        path = f"/proc/{pid}/".encode() + path[len(_OWN) :]
    start = f"/proc/{pid}/cwd" if folder == _CURRENT_FOLDER else f"/proc/{pid}/fd/{folder}"
    if not path:
        return os.open(start, os.O_PATH | os.O_CLOEXEC)
    follow = os.O_NOFOLLOW if flags & _NO_FOLLOW else 0
    return os.open(os.path.join(start.encode(), path), os.O_PATH | os.O_CLOEXEC | follow)


def _text(pid: int, address: int) -> bytes:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        found = b""
        while b"\0" not in found and len(found) < _LONGEST:
            step = 4096 - (address + len(found)) % 4096  # to the end of a page: the next one may not be there
            found += os.pread(memory.fileno(), step, address + len(found))
    return found.partition(b"\0")[0]


def _times(pid: int, address: int) -> tuple[int, int]:
    """Nanoseconds of access and change; _NOW or _OMIT, negated, for those."""
    if not address:
        return -_NOW, -_NOW
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        told = struct.unpack("=qqqq", os.pread(memory.fileno(), 32, address))
    return _one_time(told[0], told[1]), _one_time(told[2], told[3])


def _one_time(seconds: int, nanoseconds: int) -> int:
    return -nanoseconds if nanoseconds in (_NOW, _OMIT) else seconds * 10**9 + nanoseconds


def _known(told: int, before: int) -> int:
    if told == -_OMIT:
        return before
    return time.time_ns() if told == -_NOW else told


def _plain(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _signed(number: int) -> int:
    """A C int that was passed in a register of 64 bits."""
    return struct.unpack("i", struct.pack("I", number & 0xFFFFFFFF))[0]
