"""The end of train.py's processes: every last one of them is found and killed.

SIGKILL goes to every descendant, found by parentage. On Linux the supervisor is a child subreaper, so a daemon that
double-forked away is still a descendant (prctl(2), PR_SET_CHILD_SUBREAPER), and one that forks and exits faster than
processes can be listed comes to be our own child again and again. Elsewhere the cookie finds it.
"""

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from trainer.contract import COOKIE_VARIABLE

KILL_SECONDS = 5.0  # a process that SIGKILL does not end in this time is stuck in the kernel
_STOP_SECONDS = 30.0  # a process that waits for a core stops only once it gets one
_SWEEP_SECONDS = 0.5  # a child that lives on for longer is left to the slower look at the whole tree
_QUIET_LOOKS = 100  # in a row that find no child, before there is none


class WorkedOn(Exception):
    """Processes did not stay stopped while they had to."""

    def __init__(self, pids: list[int]) -> None:
        super().__init__(f"process {', '.join(map(str, pids))}")


def kill_descendants(cookie: str, spared: frozenset[int] = frozenset()) -> list[int]:
    """End every descendant of this process and every process that carries `cookie`.

    Args:
        spared: pids of children that live on, with their own descendants.

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


def stop_descendants(cookie: str, but: int, spared: frozenset[int]) -> dict[int, str]:
    """Stop the processes that `but` has started, which lives on alone; what it has orphaned is ended.

    Args:
        spared: pids of children that live on, with their own descendants.

    Returns:
        What `used` tells of each one that is stopped: it stays the same for as long as it does nothing.
    """
    deadline, stopped = time.monotonic() + KILL_SECONDS, set[int]()
    while time.monotonic() < deadline:
        _sweep(spared | {but})
        running = [one for one in _alive(cookie, spared) if one.pid != but and _used(one.pid) and not _stopped(one.pid)]
        stopped = {one.pid for one in _alive(cookie, spared) if one.pid != but}
        if not running:
            break
        for process in running:
            with suppress(psutil.Error):
                process.suspend()
    return used(stopped)


def stop_all(cookie: str, spared: frozenset[int]) -> list[psutil.Process]:
    """Stop every process that `kill_descendants` would end, until two looks in a row find none that works.

    Returns:
        Those that are stopped.

    Raises:
        WorkedOn: some go on after every stop, until _STOP_SECONDS are over. TimeoutError: some never stop.
    """
    return _stop(lambda: _alive(cookie, spared))


def stop_below(pid: int) -> list[psutil.Process]:
    """The same for all that another process has started, which is stopped itself and starts no more.

    Returns:
        Those that have not been stopped before. Raises WorkedOn, TimeoutError.
    """
    resting = {one for one in _below(pid) if _stopped(one.pid, "Tt")}
    return [one for one in _stop(lambda: _below(pid)) if one not in resting]


def is_stopped(pid: int) -> bool:
    """Whether somebody has stopped a process that is there (Linux)."""
    return Path(f"/proc/{pid}/task").is_dir() and _stopped(pid, "Tt")


def _below(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return [one for one in psutil.Process(pid).children(recursive=True) if _lives(one)]
    return []


def _stop(listed: Callable[[], list[psutil.Process]]) -> list[psutil.Process]:
    deadline, quiet, told, rested = time.monotonic() + _STOP_SECONDS, 0, set[psutil.Process](), set[psutil.Process]()
    while quiet < 2:
        rested |= {process for process in told if is_stopped(process.pid)}
        working = [process for process in listed() if process not in told or not _rests(process)]
        for process in working:
            told.add(process)
            with suppress(psutil.Error):
                process.suspend()
        quiet = 0 if working else quiet + 1
        if working and time.monotonic() > deadline:
            if woken := rested & set(working):
                raise WorkedOn(sorted(process.pid for process in woken))
            raise TimeoutError(f"processes of train.py cannot be stopped: {', '.join(str(one.pid) for one in working)}")
    return list(told)


def used_by_stopped(processes: Iterable[psutil.Process]) -> dict[int, str]:
    """What `used` tells of those that have come to a stop: from here on it stays the same."""
    return used(process.pid for process in processes if _stopped(process.pid))


def worked_on(cookie: str, spared: frozenset[int], before: dict[int, str]) -> list[int]:
    """Which processes have worked since `used_by_stopped` told this of them. They are stopped again; the dead are not.

    A process can have a timer send it SIGCONT, which only somebody outside could send otherwise.

    Raises WorkedOn, TimeoutError, as `stop_all` does.
    """
    now = used(before)
    if not (suspects := {pid for pid, told in now.items() if told != before[pid]}):
        return []
    return sorted(suspects & {process.pid for process in stop_all(cookie, spared)})


def _rests(process: psutil.Process) -> bool:
    """Whether a process is stopped, or waits in the kernel for what makes it stop next."""
    if Path("/proc/self/task").is_dir():
        return _stopped(process.pid, "TtZXD")
    with suppress(psutil.Error):
        return process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    return True


def used(pids: Iterable[int]) -> dict[int, str]:
    """The CPU time of each process that is not gone, to the nanosecond, thread by thread (Linux)."""
    return {pid: told for pid in pids if (told := _used(pid))}


def _used(pid: int) -> str:
    told: list[str] = []
    for schedstat in sorted(Path(f"/proc/{pid}/task").glob("*/schedstat")):
        with suppress(OSError):
            told.append(schedstat.read_text(encoding="ascii").split()[0])
    return " ".join(told)


def _stopped(pid: int, resting: str = "TtZX") -> bool:
    """Whether all threads of a process are in one of these states: stopped, or ended."""
    states: list[str] = []
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):
            states.append(stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0])
    return all(state in resting for state in states)


def _sweep(spared: frozenset[int]) -> set[int]:
    """End our own children, and whoever becomes one as its parent ends, until there is none. Returns who is left.

    A process that keeps forking and exiting is gone from every snapshot before it can be signalled. But the kernel
    makes its child ours in the moment in which it exits: while one lives, the list of our children is not empty.
    """
    deadline, quiet, left = time.monotonic() + _SWEEP_SECONDS, 0, set[int]()
    while quiet < _QUIET_LOOKS and time.monotonic() < deadline:
        left = _children() - spared
        for pid in left:
            with suppress(OSError):  # ours until it is waited for: the number cannot be another process's
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
        quiet = 0 if left else quiet + 1
    return left


def _children() -> set[int]:
    """Our own children, zombies too, by the kernel's list; none where it keeps no such list (macOS)."""
    tasks, found = "/proc/self/task", set[int]()
    for thread in os.listdir(tasks) if os.path.isdir(tasks) else []:  # hundreds of times a run: no Path is made
        with suppress(OSError), open(f"{tasks}/{thread}/children", "rb") as listed:  # a thread may have ended
            found.update(map(int, listed.read().split()))
    return found


def _alive(cookie: str, spared: frozenset[int]) -> list[psutil.Process]:
    tree = psutil.Process().children(recursive=True)
    kept: set[int] = set()
    for process in tree:  # parents come before their children
        if process.pid in spared or _parent(process) in kept:
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
