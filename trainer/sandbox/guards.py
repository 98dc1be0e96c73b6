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

import os
import sys
from contextlib import suppress

from trainer.sandbox import landlock, lookups, seatbelt, seccomp
from trainer.sandbox.privileges import GUARDS, HELD, drop_capabilities, limit, tried
from trainer.sandbox.reach import Allowlist


def confine(allowed: Allowlist) -> dict[str, str]:
    """Put on every guard that this machine has.

    Returns:
        For each of GUARDS `held`, or why it is not.
    """
    limit()
    if sys.platform == "darwin":
        return dict.fromkeys(GUARDS, tried(lambda: seatbelt.restrict(allowed)))
    with suppress(OSError):  # held open for ever: made anew, this folder would not be the one that is allowed
        os.open("/proc/self", os.O_PATH | os.O_CLOEXEC)
    addresses: list[int] = []
    closable = tried(lambda: addresses.append(lookups.lay_ready()))
    landlocked = tried(lambda: landlock.restrict(allowed))
    files = closable if landlocked == HELD else landlocked
    signals = landlocked if landlock.scopes_signals() else "the kernel cannot keep signals inside (Linux 6.12 can)"
    network = tried(lambda: seccomp.install(*addresses))
    return {"files": files, "network": network, "signals": signals, "privileges": tried(drop_capabilities)}
