"""What train.py's processes could tell others, and how that is prevented in a trial.

A later one: by the files that it reads or names. One of another run that works at the same time: by anything.
"""

import os
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from trainer.contract import Spec
from trainer.processes import process_tree
from trainer.processes.process_tree import WorkedOn
from trainer.processes.quiet import NoLocks, NoRest, Quiet, users_place
from trainer.run.child import ChildProcess
from trainer.run.child_launch import Launcher
from trainer.run.clock import RunEnded, StageClock
from trainer.run.profiles import PROFILES
from trainer.run.run_folder import RunFolder
from trainer.sandbox import lookups
from trainer.sandbox.traces import Traces


class FileTraces:
    """Those of the processes of one run."""

    def __init__(self, place: RunFolder, spec: Spec, launcher: Launcher, train: Path) -> None:
        """`train` is the file of training tokens: the candidate is handed a descriptor of it."""
        self._place, self._spec, self.launcher, self._train = place, spec, launcher, train
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
        """Listed once for the whole run: tens of thousands of files."""
        readable = self._place.reach(self._spec, self._place.folder).readable
        return Traces([*readable, self._train], self._place.folder, Path(self._spec.data))

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
        others = process_tree.stop_descendants(self._spec.cookie, child.pid, self.launcher.pids | spared)
        try:
            closed = lookups.filters(child.pid) > self._filters and lookups.image(child.pid) == self._images[child.pid]
        except OSError:
            closed = False
        if not closed:
            raise RunEnded("invalid", "train.py's process kept files within its reach when validation text came.")
        return others


class Neighbours:
    """The user's other runs on this machine: none works while this one sees validation text, nor it while they do.

    That is where the budget is CPU seconds: who rests loses none.
    """

    def __init__(self, stage: StageClock, spec: Spec, launcher: Launcher, shared: bool = False) -> None:
        """`shared`: whether other machines share the disk, as where an engine has chosen this one."""
        self._stage, self._spec, self._launcher = stage, spec, launcher
        self._shared = shared
        self._quiet: Quiet | None = None

    def join(self) -> dict[str, str]:
        """Work beside them; called before the trial has a process. Raises RunEnded: somebody cancelled the run.

        Returns:
            The guard `neighbours`, where other runs can take no turns with this one, and why.
        """
        if PROFILES[self._spec.profile].clock != "cpu":
            return {}
        began, why = self._stage.now(), ""
        for folder, node in self._places():
            try:
                self._quiet = Quiet(folder, self._spec.cookie, lambda: self._launcher.pids, self._stage.wait, node)
            except (NoLocks, OSError) as error:
                why = str(error)
                continue
            self._stage.rested(self._stage.now() - began)
            self._stage.rest = lambda: self._rested(Quiet.rest)
            return {}
        return {"neighbours": why}

    def _places(self) -> Iterator[tuple[Path, str]]:
        """Where the runs meet, the best first, and as which machine's: homes may be on a disk that several share."""
        if place := users_place():
            yield place, os.uname().nodename  # several nodes of a cluster may be one machine
        yield Path(self._spec.data).parent, os.uname().nodename if self._shared else ""  # beside the data

    def hold(self, stopped: dict[int, str]) -> dict[int, str]:
        """Keep these processes of the run stopped after a rest, too. Returns them."""
        if self._quiet:
            self._quiet.held = set(stopped)
        return stopped

    def send_to_rest(self) -> None:
        """From here on no other run works, until `leave`. Raises RunEnded."""
        self._stage.rested(self._rested(Quiet.be_alone))

    def leave(self) -> None:
        """The processes of the trial are dead."""
        if self._quiet:
            self._quiet.leave()

    def _rested(self, turn: Callable[[Quiet], float]) -> float:
        try:
            return turn(self._quiet) if self._quiet else 0.0
        except NoRest as error:
            told = "Another run on this machine did not pause for the validation text. Does its supervisor hang?"
            raise RunEnded("env_fail", told, cause="neighbour") from error
        except WorkedOn as error:
            told = f"A process of train.py, {error}, worked on while another run was shown validation text."
            raise RunEnded("invalid", told) from error
        except TimeoutError as error:
            raise RunEnded(
                "env_fail", f"Another run is shown validation text, and {error}.", cause="neighbour"
            ) from error


def require_idle(others: dict[int, str]) -> None:
    """Raises RunEnded: one of the processes that `FileTraces.close` has stopped worked on."""
    if process_tree.used(others) != others:
        raise RunEnded("invalid", "A process that train.py had started worked on while validation text was shown.")


def can_be_closed(guards: dict[str, str]) -> bool:
    """Whether a process can be kept from naming files on this machine."""
    return guards["files"] == "held" and sys.platform == "linux"
