"""Landlock, the Linux kernel's confinement for ordinary users, through ctypes: three system calls and two structures.

After `restrict` this thread and all its descendants reach no file beyond the ones allowed, and (where the kernel knows
how) signal no process outside and connect to no abstract socket of one. Nothing can lift it again. A Landlock domain
also forbids to trace a process outside it, and so to read its memory, environment and descriptors through /proc.
Not covered by Landlock: metadata (chmod, utime, xattr), sockets, System V shared memory; trainer.sandbox.seccomp sees
to them.

Source: landlock(7), docs.kernel.org/userspace-api/landlock.html. The packages on PyPI wrap the same three calls, know
older ABIs only, and would be one more thing that runs before the untrusted code does.
"""

import ctypes
import os
import stat
import sys
from functools import cache
from pathlib import Path

from trainer.sandbox.reach import Allowlist

# system call numbers, the same on every architecture since Linux 5.13
_CREATE = 444
_ADD_RULE = 445
_RESTRICT = 446
_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1
PR_SET_NO_NEW_PRIVS = 38

_EXECUTE = 1 << 0
_WRITE_FILE = 1 << 1
_READ_FILE = 1 << 2
_READ_DIR = 1 << 3
_TRUNCATE = 1 << 14
_IOCTL_DEV = 1 << 15
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV  # the rights a rule on a plain file may hold
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_DEVICE = _READ_FILE | _WRITE_FILE | _IOCTL_DEV
_BITS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many file system rights each version of the interface knows
# abstract Unix sockets and signals
_SCOPE_ABI = 6
_SCOPES = 0b11


class _Ruleset(ctypes.Structure):
    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def abi() -> int:
    """The version of the kernel's interface; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    return max(0, _libc().syscall(_CREATE, None, 0, _VERSION_FLAG))


def scopes_signals() -> bool:
    """Whether this kernel keeps signals inside (Linux 6.12)."""
    return abi() >= _SCOPE_ABI


def restrict(reach: Allowlist) -> None:
    """Reach nothing but the named files and what lies below the named folders, from here on and for ever.

    Raises:
        OSError: the kernel has no Landlock, or refused; this process is not confined.
    """
    version = abi()
    every = (1 << _BITS_BY_ABI.get(version, 16)) - 1
    attributes = _Ruleset(every, 0, _SCOPES if version >= _SCOPE_ABI else 0)
    size = ctypes.sizeof(attributes) if version >= _SCOPE_ABI else 8  # older kernels know a shorter structure
    ruleset = _checked(_libc().syscall(_CREATE, ctypes.byref(attributes), size, 0))
    try:
        for paths, rights in (
            (reach.readable, _READ),
            (reach.listed, _READ_DIR),
            (reach.devices, _DEVICE),
            ([reach.writable], every),
        ):
            for path in paths:
                _allow(ruleset, path, rights & every)
        _checked(_libc().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(_libc().syscall(_RESTRICT, ruleset, 0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # it is not there, or not ours to see: nothing to allow
    try:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        rule = _PathBeneath(rights if folder else rights & _ON_FILES, descriptor)
        if rule.allowed:
            _checked(_libc().syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0))
    finally:
        os.close(descriptor)


@cache  # a thousand calls of it
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(answer: int) -> int:
    if answer < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return answer
