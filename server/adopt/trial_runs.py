"""Runs of a task in a repository that has no study yet: as a study makes them, in real run folders, confined.

What is made for them is removed at the end. The folder is below `.autoresearch`, so that a run's reach is that of a
study's runs, and so that no run of a study is under way beside it.
"""

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from server.paths import Home
from server.records import Attempt, Progress, Result
from server.runs.device_lock import LEASE
from server.runs.executor import RunRequest, RunSite, ending, new_key
from server.runs.local_executor import LocalExecutor
from server.runs.run_spec import RunLimits, draw_seed
from server.serve_options import ServeOptions
from server.task.definition import Task
from server.vcs.checkout import Checkout
from trainer.contract import ProfileName, RunFile, TaskSpec, public_half, utc_now

_STATE = ".adopt"  # no tag of a study begins with a dot
_TAIL = 4000  # bytes of a log
_LOOK_SECONDS = 0.05
_END_SECONDS = 30.0  # in which a cancelled run ends


class TrialRuns:
    """Those of one repository, one at a time."""

    def __init__(self, checkout: Checkout) -> None:
        self._checkout, self._home = checkout, Home(checkout.root)
        self._had_home = self._home.folder.exists()
        self._paths = self._home.study(_STATE)
        self._executor = LocalExecutor(RunSite.of(self._paths))
        self.root = checkout.root
        self._made = 0

    def run(self, task: Task, terms: TaskSpec, watch: Callable[[Progress], None]) -> Result:
        """One run of the commit; where the terms are paired, against itself.

        Args:
            terms: what the run measures; `task` says the rest. watch: is called about twenty times a second.

        Raises:
            RunnerUnavailable: it cannot be started.
        """
        key = new_key(self._executor)
        self._made += 1
        attempt = Attempt(
            number=self._made,
            baseline=True,
            description="adopt",
            parent=self._checkout.commit,
            commit=self._checkout.commit,
            train_sha256="",
            profile=ProfileName.CPU,
            seed=draw_seed(),
            signer=public_half(key) if key else None,
            budget_seconds=task.budget_seconds,
            started_at=utc_now(),
        )

        def lay_out(folder: Path) -> None:
            for name in (RunFile.TREE, RunFile.INCUMBENT) if terms.paired else (RunFile.TREE,):
                self._checkout.lay_out(folder / name)

        request = RunRequest(
            attempt=attempt,
            limits=RunLimits.of(task, ServeOptions(), rehearse=False),
            referee=task.kind,
            task=terms,
            trees=lay_out,
            key=key,
        )
        self._executor.require_free(attempt.profile, {})
        self._executor.submit(request)
        try:
            return self._ended(attempt, watch)
        except BaseException:
            self._cancel(attempt)
            raise

    def last_line(self) -> str:
        """The last line that the command of the last run printed; empty if there is none."""
        told = self._executor.runs.of(self._made).log_tail(_TAIL).rpartition("--- run ")[2]
        lines = [line.strip() for line in told.partition("\n--- ")[0].splitlines()[1:]]  # less the referee's own
        return next((line for line in reversed(lines) if line), "")

    def _ended(self, attempt: Attempt, watch: Callable[[Progress], None]) -> Result:
        folder, handle = self._executor.runs.of(attempt.number), self._executor.handle(attempt.number)
        while (result := ending(self._executor, attempt, folder)) is None:
            watch(handle.progress())
            time.sleep(_LOOK_SECONDS)
        return result

    def _cancel(self, attempt: Attempt) -> None:
        self._executor.handle(attempt.number).cancel("adopt was ended")
        until = time.monotonic() + _END_SECONDS

        def watch(_: Progress) -> None:
            if time.monotonic() > until:
                raise TimeoutError

        with suppress(TimeoutError):
            self._ended(attempt, watch)

    def close(self) -> None:
        """Remove what was made for the runs; what somebody else has made meanwhile stays."""
        shutil.rmtree(self._paths.state, ignore_errors=True)
        lease = self._home.folder / LEASE
        with suppress(OSError):
            if not self._had_home and list(self._home.folder.iterdir()) == [lease]:
                lease.unlink()
                self._home.folder.rmdir()

    def __enter__(self) -> "TrialRuns":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
