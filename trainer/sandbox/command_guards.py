"""The guards around a command of program.md: those of train.py, but for what most programs need.

A process may start others and be told at once when one ends, and a command may get the network or the operator's home.
Each command has a folder of its own to write. `files` is held where Landlock is: nothing that a command reads is a
secret whose traces another one could find.
"""

import sys

from trainer.sandbox import landlock, seatbelt, seccomp
from trainer.sandbox.privileges import GUARDS, HELD, drop_capabilities, limit, tried
from trainer.sandbox.reach import Allowlist

ASKED_FOR = "not held: asked for by program.md"


def confine_command(allowed: Allowlist, network: bool, home: bool, children: bool) -> dict[str, str]:
    """Put on every guard that a command of program.md leaves this machine.

    Args:
        network: program.md lets it use the network. home: it may read the operator's home folder.
        children: a process may learn at once that a child of its has ended, and so also have its seconds forgotten:
            many programs that start others wait for that signal.

    Returns:
        For each of GUARDS `held`, or why it is not.
    """
    limit()
    if sys.platform == "darwin":
        held = dict.fromkeys(GUARDS, tried(lambda: seatbelt.restrict(allowed, network)))
    else:
        files = tried(lambda: landlock.restrict(allowed))
        signals = files if landlock.scopes_signals() else "the kernel cannot keep signals inside (Linux 6.12 can)"
        left_out = (seccomp.NETWORK if network else frozenset[str]()) | frozenset(
            {seccomp.SIGACTION} if children else ()
        )
        filtered = tried(lambda: seccomp.install(left_out=left_out))
        held = {"files": files, "network": filtered, "signals": signals, "privileges": tried(drop_capabilities)}
    asked = {"network": network, "files": home}
    return held | {name: ASKED_FOR for name, wanted in asked.items() if wanted and held[name] == HELD}
