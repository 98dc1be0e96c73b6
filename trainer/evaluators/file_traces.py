"""What a process could tell a later one by the files that it reads or names, and how that is prevented in a trial."""

import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from trainer.contract import Spec
from trainer.processes import process_tree
from trainer.run.child import ChildProcess
from trainer.run.child_launch import Launcher
from trainer.run.clock import RunEnded
from trainer.run.run_folder import RunFolder
from trainer.sandbox import lookups
from trainer.sandbox.traces import Traces


class FileTraces:
    """Those of the processes of one trial."""

    def __init__(self, place: RunFolder, spec: Spec, launcher: Launcher) -> None:
        self._place, self._spec, self._launcher = place, spec, launcher
        self._images: dict[int, tuple[str, ...]] = {}  # of each process, before a line of train.py has run
        self._filters = 0  # of system calls, that are on by then

    def erase(self, watch: Callable[[], None]) -> dict[str, str]:
        """Let what runs next find nothing in the state of the files that it may read; `watch` as in Traces.erase.

        Returns:
            The guard `files`, if that failed, and why.
        """
        if not self._spec.confine:
            return {}
        why = self._traces.erase(watch)
        return {"files": why} if why else {}

    @cached_property
    def _traces(self) -> Traces:
        """Listed once for the whole trial: tens of thousands of files."""
        readable = self._place.reach(self._spec, self._place.folder).readable
        return Traces(readable, self._place.folder, Path(self._spec.data))

    def remember(self, child: ChildProcess) -> None:
        """Note what the process is, before it runs a line of train.py."""
        self._images[child.pid], self._filters = lookups.image(child.pid), lookups.filters(child.pid)

    def close(self, child: ChildProcess, spared: frozenset[int]) -> dict[int, str]:
        """Let the process name no file from here on: the kernel remembers names, and a later process can tell.

        Returns:
            The processes beside it but those `spared`: they are stopped, and this is the time that they have used.

        Raises:
            RunEnded: it did not.
        """
        child.tell("close")
        child.expect("closed")
        others = process_tree.stop_descendants(self._spec.cookie, child.pid, self._launcher.pids | spared)
        try:
            closed = lookups.filters(child.pid) > self._filters and lookups.image(child.pid) == self._images[child.pid]
        except OSError:
            closed = False
        if not closed:
            raise RunEnded("invalid", "train.py's process kept files within its reach when validation text came.")
        return others


def require_idle(others: dict[int, str]) -> None:
    """Raises RunEnded: one of the processes that `FileTraces.close` has stopped worked on."""
    if process_tree.used(others) != others:
        raise RunEnded("invalid", "A process that train.py had started worked on while validation text was shown.")


def can_be_closed(guards: dict[str, str]) -> bool:
    """Whether a process can be kept from naming files on this machine."""
    return guards["files"] == "held" and sys.platform == "linux"
