"""An executor whose runs end when a test says so, with any number of slots; no process is started."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from server.errors import DeviceBusy
from server.records import Experiment, Outcome, Progress, Result
from server.runs.executor import RunRequest, RunSite, Slot
from server.runs.run_folder import RunFolder, RunFolders
from server.study.study import Study
from tests.support.lifecycle import measured
from trainer.contract import RunFile


class HeldRun:
    """A run that goes on until there is a result. Implements RunHandle."""

    def __init__(self, folder: Path) -> None:
        self.folder = RunFolder(folder)

    def progress(self) -> Progress:
        return Progress(stage="training")

    def result(self) -> Result | None:
        return self.folder.result()

    def cancel(self, reason: str) -> None:
        _end(
            self.folder.path, Result(outcome=Outcome.CANCELLED, reason=reason, finished_at="2026-01-01T12:00:00+00:00")
        )

    def alive(self) -> bool:
        return self.folder.result() is None


class HeldExecutor:
    """Implements Executor."""

    signs = False
    count = 1  # slots

    def __init__(self, site: RunSite) -> None:
        self.runs = RunFolders(site.runs)

    @property
    def slots(self) -> Sequence[Slot]:
        return [Slot(str(place)) for place in range(self.count)]

    def require_free(self, profile: str, lasts: Mapping[str, Experiment]) -> Slot:
        taken = {slot for slot, row in lasts.items() if row.running and self.handle(row.number).alive()}
        if free := [slot for slot in self.slots if slot.id not in taken]:
            return free[0]
        raise DeviceBusy("Every slot is taken.", "Wait.")

    def submit(self, request: RunRequest) -> HeldRun:
        folder = self.runs.path(request.attempt.number)
        folder.mkdir(parents=True)
        return HeldRun(folder)

    def handle(self, number: int) -> HeldRun:
        return HeldRun(self.runs.path(number))


class TwoSlots(HeldExecutor):
    """Two runs at once."""

    count = 2


def end(study: Study, number: int, how: float | Result | None = None) -> Experiment:
    """End a run, with a score, another result or by a crash, and import it."""
    crashed = Result(outcome=Outcome.CRASHED, reason="no", finished_at="2026-01-01T12:00:00+00:00")
    _end(study.runs.path(number), how if isinstance(how, Result) else crashed if how is None else measured(how))
    study.settle()
    row = study.ledger.get(number)
    assert row and row.result
    return row


def end_unseen(study: Study, number: int, result: Result) -> None:
    """End a run; nobody imports its result yet."""
    _end(study.runs.path(number), result)


def _end(folder: Path, result: Result) -> None:
    (folder / RunFile.RESULT).write_text(result.model_dump_json(), encoding="utf-8")


def patched(study: Study, line: str, lane: str = "main", at: str = "") -> None:
    """Put a line before the one that begins with `at`, or at the end."""
    text = study.lanes.at(lane).candidate().text
    old = next(one for one in text.splitlines() if one.startswith(at or "session.submit"))
    new = f"{line}\n{old}" if at else f"{old}\n{line}"
    study.apply_patch(f"<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE", lane=lane)
