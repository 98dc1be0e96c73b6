"""The guards around train.py's process: put on by the process itself, before the first line of train.py runs.

    files        reads code and its own folder, writes its own folder: no validation text, no ledger, no repository; and
                 what it reads leaves no trace; while it is shown validation text it names no file
    network      makes no socket, sends no descriptor, and makes no memory that other processes find by number
    signals      signals and traces no process outside its own run
    privileges   gains none: no set-uid program, no capability, also as root

A guard that this machine cannot put on is named with the reason, and every result of the run carries it. Not covered,
whatever is held: side channels between processes of one machine (timing, caches, counters: see
docs/channels.md), and bugs of the kernel.
"""

import ctypes
import os
import resource
import struct
import sys
from collections.abc import Callable
from contextlib import suppress

from trainer.sandbox import landlock, lookups, seatbelt, seccomp
from trainer.sandbox.allowlist import Allowlist

HELD = "held"
ASKED_FOR = "not held: asked for by program.md"
GUARDS = ("files", "network", "signals", "privileges")
_LIMITS = ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 64 << 30), (resource.RLIMIT_NPROC, 16384))
_CAP_DAC_OVERRIDE = 1 << 1  # root in a container reads a workspace that another user owns; Landlock still binds it
_CAPABILITY_VERSION = 0x20080522


def confine(allowed: Allowlist) -> dict[str, str]:
    """Put on every guard that this machine has.

    Returns:
        For each of GUARDS `held`, or why it is not.
    """
    _limit()
    if sys.platform == "darwin":
        return dict.fromkeys(GUARDS, _tried(lambda: seatbelt.restrict(allowed)))
    with suppress(OSError):  # held open for ever: made anew, this folder would not be the one that is allowed
        os.open("/proc/self", os.O_PATH | os.O_CLOEXEC)
    addresses: list[int] = []
    closable = _tried(lambda: addresses.append(lookups.lay_ready()))
    landlocked = _tried(lambda: landlock.restrict(allowed))
    files = closable if landlocked == HELD else landlocked
    signals = landlocked if landlock.scopes_signals() else "the kernel cannot keep signals inside (Linux 6.12 can)"
    network = _tried(lambda: seccomp.install(*addresses))
    return {"files": files, "network": network, "signals": signals, "privileges": _tried(_drop_capabilities)}


def confine_command(allowed: Allowlist, network: bool, home: bool, children: bool) -> dict[str, str]:
    """Put on every guard that a command of program.md leaves this machine.

    Args:
        network: program.md lets it use the network. home: it may read the operator's home folder.
        children: a process may learn at once that a child of its has ended, and so also have its seconds forgotten:
            many programs that start others wait for that signal.

    Returns:
        For each of GUARDS `held`, or why it is not.
    """
    _limit()
    if sys.platform == "darwin":
        held = dict.fromkeys(GUARDS, _tried(lambda: seatbelt.restrict(allowed, network)))
    else:
        files = _tried(lambda: landlock.restrict(allowed))
        signals = files if landlock.scopes_signals() else "the kernel cannot keep signals inside (Linux 6.12 can)"
        left_out = (seccomp.NETWORK if network else frozenset[str]()) | frozenset(
            {seccomp.SIGACTION} if children else ()
        )
        filtered = _tried(lambda: seccomp.install(left_out=left_out))
        held = {"files": files, "network": filtered, "signals": signals, "privileges": _tried(_drop_capabilities)}
    asked = {"network": network, "files": home}
    return held | {name: ASKED_FOR for name, wanted in asked.items() if wanted and held[name] == HELD}


def _limit() -> None:
    for limit, value in _LIMITS:
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))


def _tried(guard: Callable[[], None]) -> str:
    try:
        guard()
    except (OSError, AttributeError) as error:  # AttributeError: the C library has no such call
        return getattr(error, "strerror", None) or str(error)
    return HELD


def _drop_capabilities() -> None:
    """Keep at most CAP_DAC_OVERRIDE, and never gain another (capabilities(7), PR_SET_NO_NEW_PRIVS)."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
    data = ctypes.create_string_buffer(24)
    _checked(libc.capget(header, data))
    kept = struct.unpack("6I", data.raw)[1] & _CAP_DAC_OVERRIDE
    _checked(libc.capset(header, struct.pack("6I", kept, kept, 0, 0, 0, 0)))
    _checked(libc.prctl(landlock.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def _checked(answer: int) -> None:
    if answer:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
