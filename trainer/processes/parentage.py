"""What a process tells the kernel of its parent and its children (prctl(2)). It is imported before each command."""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_CHILD_SUBREAPER = 37


def become_subreaper() -> None:
    """Inherit every orphaned descendant of this process (Linux; elsewhere only its children)."""
    forget_no_child()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def adopts_orphans() -> bool:
    """Whether this process inherits its orphaned descendants: not on macOS, nor where a sandbox forbids it."""
    held = ctypes.c_int(0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(held), 0, 0, 0)
    return bool(held.value)


def forget_no_child() -> None:
    """Keep a child that has ended until it is waited for: an ignored SIGCHLD, which is inherited, loses its seconds."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def end_with_parent() -> None:
    """Be sent SIGTERM when the parent dies (Linux), also when it just has."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)


def die_with_parent() -> None:
    """Be killed when the parent dies, and be the first that the kernel's out-of-memory killer takes (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        with suppress(OSError):  # where it was higher already, only root may lower it
            Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
