"""Where a task's commands run: private copies of its files, confined processes, and what they use, from outside.

A side is a copy of one commit's files with an output folder. Each command has a scratch folder of its own as HOME and
TMPDIR, and nothing lives on behind it: every process is ended, and what must not have changed is looked at.
"""

import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

from trainer.commands import file_tree
from trainer.commands.confined_process import ConfinedProcess, StartFailed
from trainer.commands.file_tree import FileState
from trainer.commands.output import Ended, Output, ended_as
from trainer.commands.surroundings import hidden, linked, listed_around, make_place, search_path, toolchains
from trainer.commands.worker import Worker
from trainer.contract import (
    COOKIE_VARIABLE,
    MetricSource,
    RunFile,
    ScratchRole,
    Spec,
    join_pids,
)
from trainer.processes import scratch
from trainer.processes.process_tree import kill_descendants
from trainer.run.clock import RunEnded
from trainer.run.failure_cause import kernel_kills, of_error
from trainer.run.run_folder import RunFolder
from trainer.run.run_log import RunLog
from trainer.sandbox.allowlist import command_allowlist, on_own_gpu
from trainer.sandbox.environment import passed_on, without_current_folder
from trainer.sandbox.reach import CommandOrder

METER = "meter"
Watch = Callable[[], None]
LARGEST_COPY = 512 << 20  # bytes of a built side: one that is larger is not made anew for each repeat
LOG_SECONDS = 2.0
LEAST_FREE = 128 << 20  # bytes of the disk that commands may not take
_MUCH = 1 << 30  # bytes: whoever has written them has filled the disk
_REPORT_SECONDS = 0.5
_MARK = b"METRIC"
_LIBRARY = Path(__file__).resolve().parents[1] / "judging.py"  # what a worker imports of ours


@dataclass
class Side:
    """A copy of one commit's files. Its folder stays the same, whatever is made anew in it."""

    name: RunFile
    folder: Path  # that the commands may write
    files: dict[str, FileState]  # of the commit
    kept: Path | None = None  # how it was when it had been built
    used: bool = False  # since it was made, kept or made anew

    @property
    def tree(self) -> Path:
        return self.folder / "tree"

    @property
    def out(self) -> Path:
        """The folder {out}."""
        return self.folder / "out"


class Workbench:
    """That of one run. Whoever makes it closes it, whatever happens."""

    def __init__(self, run_folder: RunFolder, spec: Spec) -> None:
        """Raises OSError: there is no place for the copies."""
        assert spec.task is not None
        self._run_folder, self._spec, self.task = run_folder, spec, spec.task
        self._place = make_place(run_folder)
        self._log = RunLog(run_folder.log)
        self._workers: list[Worker] = []
        self.guards: dict[str, str] = {}
        self.shown: list[Path] = []  # what commands may read beside their files
        self.withheld: list[Path] = []  # and what not, wherever it lies
        self._hash_seed = str(secrets.randbelow(1 << 32))  # not the run's: the judge draws its cases from that one
        self.spared: set[int] = set()  # children of this process that outlive commands, beside the workers
        self.left = ""  # pids of processes that could not be ended
        self.peak_memory_mb = 0.0
        self.steps = 0  # cases or runs so far, for the progress
        self._stage, self._limit, self._entered, self._reported = "starting", 0.0, time.monotonic(), 0.0

    def enter(self, stage: str, seconds: float) -> None:
        """Say where the run is from here on, and how long it may stay there: `building`, `checking`, `measuring`."""
        self._stage, self._limit, self._entered, self._reported = stage, seconds, time.monotonic(), 0.0
        self.watch()

    def watch(self) -> None:
        """Called at least every 0.1 s. Raises RunEnded: somebody cancelled the run."""
        if (reason := self._run_folder.cancelled()) is not None:
            raise RunEnded("cancelled", f"Cancelled: {reason}")
        if time.monotonic() - self._reported >= _REPORT_SECONDS:
            self._reported = time.monotonic()
            passed = {"elapsed_seconds": round(time.monotonic() - self._entered, 2), "limit_seconds": self._limit}
            self._require_space()
            self._run_folder.report({"stage": self._stage, **passed, "steps": self.steps})

    def _require_space(self) -> None:
        """Raises RunEnded: the commands are about to fill the disk, or somebody else has."""
        if shutil.disk_usage(self._place).free < LEAST_FREE:
            mine = file_tree.size(self._place) > _MUCH
            told = "The commands have filled the disk" if mine else "The disk is full"
            ended = f"{told}: less than {LEAST_FREE >> 20} MB are left in {self._place.parent}."
            raise RunEnded("crashed" if mine else "env_fail", ended, cause="disk_full")

    def side(self, name: RunFile) -> Side:
        """A fresh private copy of the files in this folder of the run: TREE or INCUMBENT.

        Raises:
            RunEnded: they cannot be copied, or a link is where a file is.
        """
        side = Side(name, scratch.make(self._place, ScratchRole.SIDE), {})
        try:
            file_tree.copy(self._run_folder.folder / name, side.tree, self._left_out())
            side.out.mkdir()
            side.files = file_tree.states(side.tree)
            file_tree.link(side.tree, self.task.links)
        except OSError as error:
            told = f"The files of the run cannot be laid out for its commands: {error}."
            raise RunEnded("env_fail", f"{told} The operator frees space, or looks at `link` in program.md.") from error
        return side

    def keep(self, side: Side) -> None:
        """Remember how a side is now, for `renew`; not one that is larger than LARGEST_COPY. Raises RunEnded."""
        if (size := file_tree.size(side.folder)) > LARGEST_COPY:
            self.say(f"all runs share what was built: {size >> 20} MB are more than are copied for each")
            return
        kept = scratch.make(self._place, ScratchRole.SIDE)
        with _laying_out():
            for part in (side.tree, side.out):
                file_tree.copy(part, kept / part.name)
        side.kept, side.used = kept, False

    def renew(self, side: Side) -> None:
        """Make a side anew as it was kept: nothing that was written since stays. Raises RunEnded."""
        if side.kept is None or not side.used:
            return
        with _laying_out():
            for part in (side.tree, side.out):
                scratch.remove(part)
                file_tree.copy(side.kept / part.name, part)
            side.files = file_tree.looked_at(side.files, side.tree)
        side.used = False

    def shelf(self) -> Path:
        """A new folder of the referee's that commands may read."""
        self.shown.append(scratch.make(self._place, ScratchRole.SIDE))
        return self.shown[-1]

    def remove(self, side: Side) -> None:
        """Remove all of a side, once nothing of it runs. Raises RunEnded: it cannot be."""
        with _laying_out():
            scratch.remove(side.folder)

    def run(self, side: Side, command: str, *, seconds: float, log: bool, watch: Watch | None = None) -> Ended:
        """Run a command in a side to its end, or for so many seconds; then end all that is left of it.

        Args:
            log: whether the run's log shows what it prints.
            watch: called in place of `self.watch` while it runs; what it raises ends it.

        Raises:
            RunEnded: somebody cancelled the run, or no command can be started.
        """
        streams = {"stdout": Output(_MARK), "stderr": Output(_MARK)}

        def keep(name: str, block: bytes) -> None:
            streams[name].add(block)
            if log:
                self._log.add(block)

        side.used = True
        own = scratch.make(side.folder, ScratchRole.SIDE)
        kills = kernel_kills() or 0
        order = self._order(side, command, own, lives_on=False)
        process = ConfinedProcess(order.to_json().encode(), side.tree, self._outer(), keep, self._beside(), side.folder)
        try:
            self._start(process)
            ended = process.wait(seconds, watch or self.watch)
        except BaseException:
            self.end_all()
            process.close()
            raise
        self.end_all()
        measure = process.settle()
        self._log.add(b"")
        with suppress(OSError):
            scratch.remove(own)
        _require_folders(side)
        file_tree.make_runnable((side.tree, side.out), side.files)
        self.peak_memory_mb = max(self.peak_memory_mb, measure.peak_memory_mb)
        killed = measure.exit_code != 0 and (kernel_kills() or 0) > kills
        return replace(ended_as(measure, ended, streams), out_of_memory=killed)

    def worker(self, side: Side, command: str) -> Worker:
        """Start a process that lives on, to be asked. Its files are read-only, its scratch folder is new.

        Raises:
            RunEnded: somebody cancelled the run, or it cannot be started.
        """
        own = scratch.make(self._place, ScratchRole.SIDE)
        library = own / "lib" / "trainer"
        library.mkdir(parents=True)
        (library / "__init__.py").write_text('"""What a worker imports of the referee."""\n', encoding="utf-8")
        with suppress(FileNotFoundError):
            shutil.copy2(_LIBRARY, library)
        order = self._order(side, command, own, lives_on=True)
        order.environment["PYTHONPATH"] = str(own / "lib")

        def keep(_name: str, block: bytes) -> None:
            # The agent reads the log: it must not learn hidden cases from what workers print of their questions.
            if not (self.task.hidden and any(worker.answered for worker in self._workers)):
                self._log.add(block)

        process = ConfinedProcess(order.to_json().encode(), side.tree, self._outer(), keep, talks=True)
        self._start(process)
        worker = Worker(process, self.watch, own)
        self._workers.append(worker)
        return worker

    def require_unchanged(self, side: Side) -> None:
        """Hold the files of the commit against what they were. Raises RunEnded: one has changed."""
        now = file_tree.states(side.tree, side.files)
        if told := next(file_tree.changed(side.files, now), ""):
            raise RunEnded(
                "invalid",
                f"The commands have changed a file of the commit: {told}. What they write belongs into new files, "
                "or into {out}.",
                cause="changed_file",
            )

    def say(self, line: str) -> None:
        """Add a line of the referee's own to the run's log."""
        self._log.add(f"--- {line}\n".encode())

    def close(self) -> None:
        """End every process and remove every copy."""
        for worker in self._workers:
            worker.close()
        self._workers.clear()
        self.end_all()
        self._log.close(LOG_SECONDS)
        for folder in self._place.iterdir():
            with suppress(OSError):  # held by what could not be ended; the server tries again
                scratch.remove(folder)
        with suppress(OSError):
            self._place.rmdir()
            (self._run_folder.folder / RunFile.PLACE).unlink()

    def _start(self, process: ConfinedProcess) -> None:
        try:
            process.start(self.watch)
        except RunEnded:
            self.end_all()
            process.close()
            raise
        except StartFailed as failed:
            self.end_all()
            process.close()
            self.watch()
            told = f"No command could be started on this machine, and nothing was judged: {failed}."
            raise RunEnded(
                "env_fail", f"{told} The operator runs `autoresearch doctor`.", cause="no_process"
            ) from failed
        self._note(process.guards)
        if self.task.source == MetricSource.CPU and (process.talks or not self.task.worker):
            filtered = self._meters(process.talks) and process.guards["network"] == "held"
            counted = "held" if filtered else process.counted
            self._note({METER: counted if self._spec.confine else process.guards["network"]})

    def _note(self, guards: dict[str, str]) -> None:
        self.guards |= {name: state for name, state in guards.items() if self.guards.get(name, "held") == "held"}
        if self._spec.require_sealed and set(self.guards.values()) != {"held"}:
            missing = "; ".join(f"{name}: {state}" for name, state in self.guards.items() if state != "held")
            raise RunEnded(
                "env_fail", f"The operator requires sealed runs, and this run would not be sealed: {missing}."
            )

    def _meters(self, lives_on: bool) -> bool:
        """Whether no process may have its children forgotten: a worker is looked at while it lives, by its tree."""
        return lives_on and self.task.source == MetricSource.CPU

    def end_all(self) -> None:
        """End every process but workers and those that are spared. Raises RunEnded: one cannot be."""
        if left := kill_descendants(self._cookie, self._beside()):
            self.left = join_pids(left) or ""
            raise RunEnded("env_fail", f"Processes of the run cannot be ended: {self.left}.", cause="unkillable")

    def _beside(self) -> frozenset[int]:
        return frozenset(self.spared) | {worker.pid for worker in self._workers if worker.alive}

    @property
    def _cookie(self) -> str:
        return str(self._place)

    def _left_out(self) -> Callable[[str], bool]:
        """What a command must not see of the commit's files: those that only the judge may read."""
        judges_own = file_tree.matcher(self.task.hidden)
        judges = Path(self.task.judge).parent.as_posix() if self.task.judge else "."
        own = file_tree.named(self.task.worker)

        def left_out(name: str) -> bool:
            if name in own or any(word.startswith(f"{name}/") for word in own):
                return False
            return judges_own(name) or (judges != "." and name.startswith(f"{judges}/")) or name == self.task.judge

        return left_out

    def _outer(self) -> dict[str, str]:
        return without_current_folder(passed_on(os.environ)) | {COOKIE_VARIABLE: self._cookie}

    def _order(self, side: Side, command: str, own: Path, lives_on: bool) -> CommandOrder:
        home = str(Path.home()) if self.task.home else ""
        told = command.replace("{out}", quote(str(side.out))).replace("{python}", quote(sys.executable))
        readable = [
            *([side.tree, side.out] if lives_on else []),
            *([home] if home else []),
            *linked(self.task),
            *self.shown,
            *toolchains().values(),
        ]
        writable = own if lives_on else side.folder
        out_of_reach = [*hidden(self._run_folder, self._spec), *self.withheld]
        counted = self.task.source == MetricSource.CPU  # then nothing may compute where no CPU second is counted
        allowed = command_allowlist(map(Path, readable), writable, out_of_reach, not lives_on, gpu=not counted)
        allowed = allowed if counted else on_own_gpu(allowed, self._spec.gpu_nodes)
        allowed.listed.extend(listed_around(self.withheld, map(Path, readable)))
        return CommandOrder(
            command=told,
            environment=self._environment(own, home),
            allowed=allowed if self._spec.confine else None,
            network=self.task.network,
            home=self.task.home,
            asks=not lives_on,
            keeps_orphans=lives_on,
            children=not self._meters(lives_on),
        )

    def _environment(self, own: Path, home: str) -> dict[str, str]:
        (own / "tmp").mkdir()
        if not home:
            file_tree.link(own, self.task.home_links)
        return (
            passed_on(os.environ)
            | toolchains()
            | {
                "PATH": search_path(),
                "HOME": home or str(own),
                "TMPDIR": str(own / "tmp"),
                "XDG_CACHE_HOME": str(own / "cache"),
                "PYTHONUNBUFFERED": "1",
                "PYTHONHASHSEED": self._hash_seed,
                COOKIE_VARIABLE: self._cookie,
            }
        )


def _require_folders(side: Side) -> None:
    """Raises RunEnded: a link elsewhere is where a folder was, and the referee would work there."""
    for folder in (side.tree, side.out):
        if folder.is_symlink() or not folder.is_dir():
            told = f"The commands have put something else in the place of their folder {folder.name}."
            raise RunEnded("invalid", told, cause="changed_file")


@contextmanager
def _laying_out() -> Generator[None]:
    try:
        yield
    except OSError as error:
        told = f"The files of the run cannot be copied for its commands: {error}."
        raise RunEnded("env_fail", f"{told} The operator frees space.", cause=of_error(error)) from error
