"""The guard `privileges`, limits on what a process takes of the machine, and how a guard is tried."""

import ctypes
import os
import resource
import struct
from collections.abc import Callable

HELD = "held"
GUARDS = ("files", "network", "signals", "privileges")
_LIMITS = ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 64 << 30), (resource.RLIMIT_NPROC, 16384))
_CAP_DAC_OVERRIDE = 1 << 1  # root in a container reads a workspace that another user owns; Landlock still binds it
_CAPABILITY_VERSION = 0x20080522
_PR_SET_NO_NEW_PRIVS = 38


def limit() -> None:
    """Bound what a process may take of the machine."""
    for what, value in _LIMITS:
        hard = resource.getrlimit(what)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (value, value))


def tried(guard: Callable[[], None]) -> str:
    """Put on a guard. Returns `held`, or why it is not."""
    try:
        guard()
    except (OSError, AttributeError) as error:  # AttributeError: the C library has no such call
        return getattr(error, "strerror", None) or str(error)
    return HELD


def drop_capabilities() -> None:
    """Keep at most CAP_DAC_OVERRIDE, and never gain another (capabilities(7), PR_SET_NO_NEW_PRIVS)."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
    data = ctypes.create_string_buffer(24)
    _checked(libc.capget(header, data))
    kept = struct.unpack("6I", data.raw)[1] & _CAP_DAC_OVERRIDE
    _checked(libc.capset(header, struct.pack("6I", kept, kept, 0, 0, 0, 0)))
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def _checked(answer: int) -> None:
    if answer:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
