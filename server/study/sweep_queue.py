"""What is to be run one after the other without an agent: a list of changes, and how far it got. One file."""

from pathlib import Path
from typing import Any

from server.files import set_aside, write_whole
from server.records import MAIN, Value


class SweepItem(Value):
    """One change of constants, and what became of it."""

    knobs: dict[str, str]  # name → value
    experiment: int | None = None
    skipped: str = ""  # why it was not run


class Sweep(Value):
    """A list of changes; each is built on the incumbent of its moment, and on the change of `around`, if it has one."""

    description: str
    hypothesis: str = ""  # of each of its experiments
    items: list[SweepItem]
    around: int = 0  # an experiment; 0: none
    ended: str = ""  # why; empty while it goes on
    lane: str = MAIN
    agent: str = ""  # the client that has asked for it, by the name that its token carries

    @classmethod
    def of(cls, description: str, changes: list[dict[str, str]], **words: Any) -> "Sweep":
        """A sweep that has not begun, of changes of constants."""
        return cls(description=description, items=[SweepItem(knobs=change) for change in changes], **words)

    @property
    def next(self) -> int | None:
        """Index of the change that comes next."""
        open_ = (index for index, item in enumerate(self.items) if item.experiment is None and not item.skipped)
        return next(open_, None)


class SweepQueue:
    """The sweep under way, or the last one. It survives the server."""

    def __init__(self, path: Path) -> None:
        self._path, self._saved = path, True
        self.waits = ""  # why the next move cannot be made for now; empty when it can
        try:
            self.sweep = Sweep.model_validate_json(path.read_bytes()) if path.exists() else None
        except ValueError:  # what was queued is lost; its experiments are in the ledger
            set_aside(path)
            self.sweep = None

    @property
    def active(self) -> Sweep | None:
        """The sweep under way."""
        return self.sweep if self.sweep and not self.sweep.ended else None

    def begin(self, sweep: Sweep) -> None:
        """Queue a sweep. Raises OSError; then none is under way."""
        try:
            self._write(sweep)
        except OSError as error:  # what has reached the disk all the same is overwritten by the next `save`
            self.sweep = sweep.model_copy(update={"ended": f"it could not be saved: {error}"})
            raise

    def settle(self, index: int, item: SweepItem) -> None:
        """Write down what became of a change. Raises OSError; `save` tries again."""
        assert self.sweep is not None
        items = [*self.sweep.items[:index], item, *self.sweep.items[index + 1 :]]
        self._write(self.sweep.model_copy(update={"items": items}))

    def end(self, why: str) -> None:
        """End the sweep, if one is under way. Raises OSError; `save` tries again."""
        if self.active:
            self.waits = ""
            self._write(self.active.model_copy(update={"ended": why}))

    def save(self) -> None:
        """Bring to disk what a failing disk has not taken yet. Raises OSError."""
        if self.sweep and not self._saved:
            write_whole(self._path, self.sweep.model_dump_json(indent=1))
            self._saved = True

    def _write(self, sweep: Sweep) -> None:
        """What is done cannot be undone for want of space: memory has it first, and the file as soon as it can."""
        self.sweep, self._saved = sweep, False
        self.save()
