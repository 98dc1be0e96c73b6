"""The run folder: the only thing server and trainer share. Every path in it is named here, every file appears whole.

spec.json       what to run (the server writes it, before it starts the supervisor)
train.py        the text under test
cancel          its presence asks for the end of the run; its text is the reason
lease           locked by the server, inherited by the supervisor, free when that is dead
progress.json   where the run is, rewritten about twice a second
curve.jsonl     {"seconds", "step", "loss", and where told "lr", "grad_norm"} a line, at most a few hundred
run.log         what train.py printed
result.json     how it ended; its presence means that the run is over
"""

import errno
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_PATIENCE, _PAUSE = 60.0, 0.5  # seconds that a score waits for space on the disk, and between two looks


@dataclass(frozen=True)
class Spec:
    """What to run, as the server wrote it. Times are in seconds."""

    number: int
    profile: str
    seed: int
    budget_seconds: float  # training, from the first token handed over to the weights handed in
    grace_seconds: float  # how late the weights may be
    setup_seconds: float
    evaluation_seconds: float
    data: str  # folder of tokenised data, shared by all runs
    imports: str  # folder whose modules train.py may import beside the installed ones
    cookie: str  # marks every process of this run in its environment
    preflight: bool = True  # rehearse two steps on training text before the clock is started
    confine: bool = True  # put on every guard this machine has
    require_sealed: bool = False  # refuse to run with less than all of them
    ceiling: tuple[tuple[float, float], ...] = ()  # (seconds, loss): who is above it for long is hopeless
    dataset: str = ""  # folder of a prepared data set; empty: the embedded corpus, in `data`
    kernels: str = ""  # folder of compiled kernels to start from; empty: from none
    keeps_kernels: bool = False  # leave those compiled in this run there
    split: str = "val"  # which text the score is measured on: after a night, holdout


@dataclass(frozen=True)
class Ending:
    """How a run ended; the fields of server.experiment.Result, which a test holds against this."""

    outcome: str
    reason: str
    score: dict[str, float | int] | None = None
    figures: dict[str, float | int | str | None] = field(default_factory=dict)
    cause: str = ""
    traceback: str = ""
    guards: dict[str, str] = field(default_factory=dict)  # guard: "held", or why not
    finished_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


class Letterbox:
    """One run folder, seen from the trainer's side."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.train = folder / "train.py"
        self.log = folder / "run.log"
        self.curve = folder / "curve.jsonl"

    def spec(self) -> Spec:
        return Spec(**json.loads((self.folder / "spec.json").read_text(encoding="utf-8")))

    def cancelled(self) -> str | None:
        """The reason why somebody asked for the end of the run, or None."""
        try:
            return (self.folder / "cancel").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def cancel(self, reason: str) -> None:
        """Ask for the end of the run, as the server does."""
        (self.folder / "cancel").write_text(reason, encoding="utf-8")

    def report(self, progress: dict[str, Any]) -> None:
        # Not fsynced: progress is worth nothing after a power cut.
        temporary = self.folder / "progress.json.new"
        try:
            temporary.write_text(json.dumps(progress), encoding="utf-8")
            temporary.replace(self.folder / "progress.json")
        except OSError:  # a disk that is full for a moment costs the message, not the run; as below
            self._show_life()

    def plot(self, point: dict[str, Any]) -> None:
        with suppress(OSError), self.curve.open("a", encoding="utf-8") as file:
            file.write(json.dumps({name: value for name, value in point.items() if value is not None}) + "\n")

    def end(self, ending: Ending, patience: float = _PATIENCE) -> None:
        """Write result.json; while the disk is full, try again: the score was paid for.

        Args:
            patience: seconds after which a full disk is an OSError like any other.
        """
        deadline = time.monotonic() + patience
        while True:
            try:
                return self._write(ending)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or time.monotonic() > deadline:
                    raise
            self._show_life()
            time.sleep(_PAUSE)

    def _show_life(self) -> None:
        """By a file's time, which takes no space: a supervisor that is silent for too long is believed to hang."""
        with suppress(OSError):
            os.utime(self.folder / "progress.json")

    def _write(self, ending: Ending) -> None:
        """Whole and durable: beside, fsync, rename, fsync of the folder."""
        temporary = self.folder / "result.json.new"
        text = json.dumps(asdict(ending), allow_nan=False, ensure_ascii=False)
        with temporary.open("w", encoding="utf-8", errors="replace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / "result.json")
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
