"""The guards around a command of program.md: those of train.py, but for what most programs need.

A process may start others and be told at once when one ends, and a command may get the network or the operator's home.
Each command has a folder of its own to write. `files` is held where Landlock is: nothing that a command reads is a
secret whose traces another one could find.
"""

import sys

from trainer.sandbox import landlock, seatbelt, seccomp
from trainer.sandbox.privileges import GUARDS, HELD, drop_capabilities, limit, tried
from trainer.sandbox.reach import Allowlist, CommandOrder

ASKED_FOR = "not held: asked for by program.md"


def file_listener() -> int | None:
    """Have the referee asked about modes and times of files; to be called before the guards are put on.

    Returns:
        The descriptor to ask on; None where the kernel knows no such thing: they are then never set.
    """
    try:
        return seccomp.listen()
    except OSError:
        return None


def confine_command(order: CommandOrder, allowed: Allowlist, asks: bool) -> dict[str, str]:
    """Put on every guard that a command of program.md leaves this machine.

    Args:
        order: what program.md lets it use. asks: the referee sets modes and times of files (`file_listener`).

    Returns:
        For each of GUARDS `held`, or why it is not.
    """
    limit()
    if sys.platform == "darwin":
        held = dict.fromkeys(GUARDS, tried(lambda: seatbelt.restrict(allowed, order.network)))
    else:
        files = tried(lambda: landlock.restrict(allowed))
        signals = files if landlock.scopes_signals() else "the kernel cannot keep signals inside (Linux 6.12 can)"
        left_out = {*seccomp.OF_ENDS, *(seccomp.NETWORK if order.network else ()), *(seccomp.OF_FILES if asks else ())}
        left_out |= {seccomp.SIGACTION} if order.children else set[str]()
        filtered = tried(lambda: seccomp.install(left_out=frozenset(left_out)))
        held = {"files": files, "network": filtered, "signals": signals, "privileges": tried(drop_capabilities)}
    asked = {"network": order.network, "files": order.home}
    return held | {name: ASKED_FOR for name, wanted in asked.items() if wanted and held[name] == HELD}
