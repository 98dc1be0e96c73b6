"""While one run is shown validation text, the processes of the other runs beside it rest.

What processes that work at the same time can tell each other is not bounded: by memory that is taken, by numbers that
the kernel gives out, by caches. So a run that has seen the text must not meet one that still trains, nor its replica.
Whose budget is seconds of wall time cannot rest without losing some: there runs work on (docs/channels.md).

Two files are locked. Who wishes to be alone locks the first one, and who sees that rests; the second is shared by all
whose processes work. Locks end with their supervisor, and its processes with it. They are the user's on this machine,
whatever studies the runs belong to (`users_place`).

A supervisor that somebody has stopped sees no wish. Its processes would work on, or nobody could be alone, so whoever
wishes to be stops them itself, and lets them go on afterwards.
"""

import errno
import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from trainer.processes.process_tree import (
    WorkedOn,
    is_stopped,
    stop_all,
    stop_below,
    used,
    used_by_stopped,
    worked_on,
)

_WISH = "alone"
_ROOM = "working"
_LOCKS = Path("/proc/locks")
_LOCKLESS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what a shared disk says that has no locks
_LOOK_SECONDS = 0.02
# For the others to rest. Each looks ten times a second, but may compute in between, and one that hangs is ended by its
# server: nothing that this run has done, and so nothing to end it for.
_PATIENCE_SECONDS = 1800.0
_CHANCES = 2  # looks that find work: the kernel may count a moment of it after it says that a process is stopped


class NoRest(Exception):
    """Another run does not rest."""


class NoLocks(Exception):
    """The disk that the runs share has no locks."""


class Quiet:
    """The turns of one run."""

    def __init__(
        self,
        folder: Path,
        cookie: str,
        helpers: Callable[[], frozenset[int]],
        wait: Callable[[], None],
        node: str = "",
    ):
        """Of a run that works from here on, as soon as nobody is alone.

        Args:
            folder: that the runs share. cookie: of the run's processes. helpers: those of them that go on.
            wait: called again and again while the run waits; what it raises ends the waiting.
            node: the machine's name, where machines share the folder: runs on another one hear nothing of this run.

        Raises:
            NoLocks: of the folder.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._cookie, self._helpers, self._wait = cookie, helpers, wait
        self._alone = False
        self.held = set[int]()  # processes of the run that do not go on after a rest
        self._before: dict[int, str] = {}  # the CPU time of those processes, as they came to a stop
        self._woken = 0  # looks that found some at work all the same
        self._stood_in: dict[int, list[psutil.Process]] = {}  # what was stopped of each supervisor that is stopped
        self._wish, self._room = (_opened(folder, name, node) for name in (_WISH, _ROOM))
        try:
            self._until(self._enter)
        except BaseException as error:
            self.leave()
            if isinstance(error, OSError) and error.errno in _LOCKLESS:
                raise NoLocks(f"the disk has no locks ({error.strerror})") from error
            raise

    def rest(self) -> float:
        """Let the processes rest if another run wishes to be alone, and until it is not. Returns the seconds of that.

        Called about ten times a second. Raises TimeoutError: they cannot be stopped; WorkedOn.
        """
        if self._alone:
            self._look_at_others()
        if self._alone or not self._wished():
            return 0.0
        return self._resting(self._enter)

    def be_alone(self) -> float:
        """Have all others rest from here on; `leave` ends that. Returns the seconds that the run's own have rested.

        Raises:
            NoRest: another run does not rest. TimeoutError: the run's own processes cannot be stopped. WorkedOn.
        """
        wish = lambda: _locked(self._wish, fcntl.LOCK_EX)  # noqa: E731
        rested = 0.0 if wish() else self._resting(wish)
        self._alone = True
        fcntl.flock(self._room, fcntl.LOCK_UN)
        self._until(lambda: _locked(self._room, fcntl.LOCK_EX) or self._stand_in(), _PATIENCE_SECONDS)
        return rested

    def leave(self) -> None:
        """The run's processes are dead."""
        for pid, stopped in self._stood_in.items():
            for process in stopped if is_stopped(pid) else []:  # else its supervisor lets them go on
                with suppress(psutil.Error):
                    process.resume()
        self._stood_in.clear()
        for descriptor in (self._room, self._wish):
            with suppress(OSError):
                os.close(descriptor)
        self._room = self._wish = -1

    def _stand_in(self) -> bool:
        """Stop the processes of the supervisors that cannot do so. Whether all who are in the room are such."""
        holders = _holders(self._room)
        for pid in filter(is_stopped, holders - self._stood_in.keys()):
            with suppress(TimeoutError, WorkedOn):  # it is looked for again
                self._stood_in[pid] = stop_below(pid)
                self._before |= used(process.pid for process in self._stood_in[pid])
        return bool(holders) and holders <= self._stood_in.keys()

    def _look_at_others(self) -> None:
        """End what works on although it was stopped in its supervisor's place: a timer of its own wakes it."""
        for stopped in (self._stood_in[pid] for pid in self._stood_in if is_stopped(pid)):  # others see the wish by now
            told = used(process.pid for process in stopped)
            if all(self._before.get(pid, now) == now for pid, now in told.items()):
                continue
            self._woken += 1
            for process in stopped:
                with suppress(psutil.Error):
                    process.suspend() if self._woken <= _CHANCES else process.kill()
            self._before |= told

    def _wished(self) -> bool:
        if not _locked(self._wish, fcntl.LOCK_SH):
            return True
        fcntl.flock(self._wish, fcntl.LOCK_UN)
        return False

    def _enter(self) -> bool:
        """Work among others, unless one of them wishes to be alone."""
        if not _locked(self._wish, fcntl.LOCK_SH):
            return False
        try:
            return _locked(self._room, fcntl.LOCK_SH)
        finally:
            fcntl.flock(self._wish, fcntl.LOCK_UN)

    def _resting(self, until: Callable[[], bool]) -> float:
        began = time.monotonic()
        stopped = stop_all(self._cookie, self._helpers())
        fcntl.flock(self._room, fcntl.LOCK_UN)
        before, found = used_by_stopped(stopped), 0

        def look() -> None:
            nonlocal found
            before.update({**used_by_stopped(stopped), **before})  # who waited in the kernel is stopped by now
            if pids := worked_on(self._cookie, self._helpers(), before):
                found += 1
                if found > _CHANCES:
                    raise WorkedOn(pids)
                before.update(used_by_stopped(stopped))

        self._until(until, look=look)
        look()
        for process in stopped:
            if process.pid not in self.held:
                with suppress(psutil.Error):
                    process.resume()
        return time.monotonic() - began

    def _until(
        self, done: Callable[[], bool], patience: float = float("inf"), look: Callable[[], None] = lambda: None
    ) -> None:
        end = time.monotonic() + patience
        while not done():
            self._wait()
            look()
            if time.monotonic() > end:
                raise NoRest
            time.sleep(_LOOK_SECONDS)


def users_place() -> Path | None:
    """The folder in which all runs of this user meet: no run of train.py and no command can open it."""
    told = os.environ.get("XDG_STATE_HOME", "")
    try:
        return (Path(told) if os.path.isabs(told) else Path.home() / ".local" / "state") / "autoresearch"
    except RuntimeError:  # a user without a home
        return None


def _holders(descriptor: int) -> frozenset[int]:
    """The other processes that have a lock on a file, by the kernel's list (Linux); none where it does not tell."""
    file, found = os.fstat(descriptor), set[int]()
    with suppress(OSError, ValueError):
        for line in _LOCKS.read_text(encoding="ascii").splitlines():
            words = line.split()
            if words[1] == "FLOCK" and int(words[5].rpartition(":")[2]) == file.st_ino:
                found.add(int(words[4]))
    return frozenset(pid for pid in found - {os.getpid()} if _has_open(pid, file))


def _has_open(pid: int, file: os.stat_result) -> bool:
    """Whether a process has this very file open: another disk may have one of the same number."""
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        with suppress(OSError):
            if os.path.samestat(link.stat(), file):
                return True
    return False


def _opened(folder: Path, name: str, node: str) -> int:
    path = folder / ".".join(filter(None, (name, node.replace("/", "_"), "lock")))
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
