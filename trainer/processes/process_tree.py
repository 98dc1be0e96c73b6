"""train.py's processes: how they are started, and how every last one of them is ended.

Start: own process group, closed descriptors, an allow-listed environment with a cookie, private home and tmp.
End: SIGKILL to every descendant, found by parentage. On Linux the supervisor is a child subreaper, so a daemon that
double-forked away is still a descendant (prctl(2), PR_SET_CHILD_SUBREAPER), and one that forks and exits faster than
processes can be listed comes to be our own child again and again. Elsewhere the cookie finds it.
What it may do while it lives is trainer.sandbox.guards's.
"""

import ctypes
import os
import signal
import site
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from trainer.contract import COOKIE_VARIABLE
from trainer.run.child_launch import _PACKAGES, _PASSED_ON

KILL_SECONDS = 5.0  # a process that SIGKILL does not end in this time is stuck in the kernel
_SWEEP_SECONDS = 0.5  # a child that lives on for longer is left to the slower look at the whole tree
_QUIET_LOOKS = 100  # in a row that find no child, before there is none
_LOOK_SECONDS = 0.05
_MOST_TOLD = 1 << 20
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Inherit every orphaned descendant of this process (Linux; elsewhere only its children)."""
    forget_no_child()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def forget_no_child() -> None:
    """Keep a child that has ended until it is waited for: an ignored SIGCHLD, which is inherited, loses its seconds."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def die_with_parent() -> None:
    """Be killed when the parent dies, and be the first that the kernel's out-of-memory killer takes (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        with suppress(OSError):  # where it was higher already, only root may lower it
            Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")


def ask(command: list[str], scratch: Path, settings: dict[str, str], watch: Callable[[], None]) -> tuple[int, str]:
    """Run a program that is trusted to its end, where and as train.py would be run, without its guards.

    Args:
        watch: called again and again meanwhile; what it raises ends the program.

    Returns:
        Its exit code, and the last line that it printed.
    """
    with (scratch / "told").open("w+b") as told:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
            cwd=scratch,
            env=_environment(scratch) | settings,
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                watch()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK_SECONDS)
        finally:
            with suppress(OSError):  # nobody is left of the group
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        told.seek(0)
        lines = told.read(_MOST_TOLD).decode("utf-8", "replace").strip().splitlines()
    return process.returncode, lines[-1][:500] if lines else ""


def _environment(scratch: Path) -> dict[str, str]:
    """What every process around train.py finds in its environment."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "XDG_CACHE_HOME": str(scratch),
        "PYTHONUSERBASE": site.getuserbase(),  # packages installed with --user stay importable
        "PYTHONPATH": str(_PACKAGES),
        "PYTHONUNBUFFERED": "1",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }


def kill_descendants(cookie: str, spared: int | None = None) -> list[int]:
    """End every descendant of this process and every process that carries `cookie`.

    Args:
        spared: pid of a child that lives on, with its own descendants.

    Returns:
        The pids that were still there after KILL_SECONDS; empty is the rule.
    """
    deadline = time.monotonic() + KILL_SECONDS
    while True:
        left, alive = _sweep(spared), _alive(cookie, spared)
        if not (left or alive) or time.monotonic() > deadline:
            return sorted(left | {process.pid for process in alive})
        for process in alive:
            try:
                process.kill()
            except psutil.Error:  # ended meanwhile; or another user's, and left to who may
                continue
        psutil.wait_procs(alive, timeout=0.2)


def _sweep(spared: int | None) -> set[int]:
    """End our own children, and whoever becomes one as its parent ends, until there is none. Returns who is left.

    A process that keeps forking and exiting is gone from every snapshot before it can be signalled. But the kernel
    makes its child ours in the moment in which it exits: while one lives, the list of our children is not empty.
    """
    deadline, quiet, left = time.monotonic() + _SWEEP_SECONDS, 0, set[int]()
    while quiet < _QUIET_LOOKS and time.monotonic() < deadline:
        left = _children() - {spared}
        for pid in left:
            with suppress(OSError):  # ours until it is waited for: the number cannot be another process's
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
        quiet = 0 if left else quiet + 1
    return left


def _children() -> set[int]:
    """Our own children, zombies too, by the kernel's list; none where it keeps no such list (macOS)."""
    found = set[int]()
    for listed in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # a thread that has ended meanwhile
            found.update(map(int, listed.read_text(encoding="ascii").split()))
    return found


def _alive(cookie: str, spared: int | None) -> list[psutil.Process]:
    tree = psutil.Process().children(recursive=True)
    kept: set[int] = set()
    for process in tree:  # parents come before their children
        if process.pid == spared or _parent(process) in kept:
            kept.add(process.pid)
    left = [process for process in tree if process.pid not in kept and _lives(process)]
    return left or [process for process in _carriers(cookie) if process.pid not in kept]


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return None


def _carriers(cookie: str) -> list[psutil.Process]:
    """Processes outside our tree with our cookie in their environment."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(COOKIE_VARIABLE) == cookie and _lives(process):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def _lives(process: psutil.Process) -> bool:
    """A process whose first thread has ended is a zombie, though another may be stuck in a driver and hold the GPU."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1
    except psutil.NoSuchProcess:
        return False
