"""Run folders, for whoever looks at them: nothing is changed on disk."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from server.records import Attempt, Figures, Outcome, Point, Progress, Result, Value
from server.runs.device_lock import is_held
from trainer.contract import RunFile, is_signed, utc_now

_OBJECT = TypeAdapter(dict[str, Any])


class _Gone(Value):
    """What RunFile.GONE says."""

    outcome: Outcome
    why: str
    node: str = ""


class RunFolder:
    """One run folder, read-only."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def spec(self) -> dict[str, Any]:
        """What was to be run, as it was written, maybe by another version; empty if it cannot be read."""
        try:
            return _OBJECT.validate_json((self.path / RunFile.SPEC).read_bytes())
        except (OSError, ValidationError):
            return {}

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked for the end of the run."""
        return (self.path / RunFile.CANCEL).exists()

    @property
    def gpu(self) -> str:
        """The UUID of the GPU that the run has alone; empty where it sees all, or has none."""
        return str(self.spec().get("gpu") or "")

    def progress(self) -> Progress:
        try:
            return Progress.model_validate_json((self.path / RunFile.PROGRESS).read_bytes())
        except (FileNotFoundError, ValidationError):
            return Progress()

    def progress_version(self) -> int:
        """Which version of the progress this is: each is a new file, renamed into place twice a second."""
        try:
            return (self.path / RunFile.PROGRESS).stat().st_mtime_ns
        except OSError:
            return 0

    def result(self) -> Result | None:
        """How the run ended, whoever wrote that; None until it is written."""
        told = self._bytes(RunFile.RESULT)
        return None if told is None else _result(told)

    def signed_result(self, attempt: Attempt) -> Result | None:
        """How the run ended, as the supervisor wrote it that was handed the attempt's key; None if it did not."""
        told, signature = self._bytes(RunFile.RESULT), self._bytes(RunFile.SIGNATURE)
        if told is None or signature is None:
            return None
        known = attempt.signer or "", attempt.signed_as or attempt.number, attempt.train_sha256
        return _result(told) if is_signed(*known, told, signature.decode("ascii", "replace")) else None

    def _bytes(self, name: RunFile) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    @property
    def elsewhere(self) -> bool:
        """Whether an engine has started the run, or is about to, on a machine of its choice."""
        return (self.path / RunFile.JOB).exists()

    def gone(self) -> Result | None:
        """Why a run elsewhere will have no result; None while nobody is certain of that."""
        if (told := self._bytes(RunFile.GONE)) is None:
            return None
        try:
            why = _Gone.model_validate_json(told)
        except ValidationError:
            why = _Gone(outcome=Outcome.LOST, why="The run is over without a result; the idea was not judged.")
        figures = Figures(node_name=why.node or None)
        return Result(outcome=why.outcome, reason=why.why, figures=figures, finished_at=utc_now())

    def alive(self) -> bool:
        """Whether the supervisor holds its lease; the kernel drops it when the supervisor dies.

        No lock reaches every other machine: a run elsewhere lives until somebody is certain of its end.
        """
        if self.elsewhere:
            return not any((self.path / name).exists() for name in (RunFile.RESULT, RunFile.GONE))
        return is_held(self.path / RunFile.LEASE)

    def over(self) -> bool:
        """Whether the run has ended, with a result or without one."""
        return self.result() is not None or not self.alive()

    def log_tail(self, size: int) -> str:
        """The last `size` bytes of what train.py printed, from a line's beginning where one is among them."""
        try:
            with (self.path / RunFile.LOG).open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(0, end - size))
                tail = file.read().decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return (tail.partition("\n")[2] or tail) if end > size else tail

    def curve(self, points: int) -> list[Point]:
        """The loss curve, thinned evenly to at most `points`."""
        try:
            text = (self.path / RunFile.CURVE).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        lines = text.splitlines()
        thin = -(-len(lines) // points) or 1
        return [point for line in lines[::thin] if (point := _point(line)) is not None]


class RunFolders:
    """Those of one study."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, number: int) -> Path:
        return self.folder / f"{number:05d}"

    def of(self, number: int) -> RunFolder:
        return RunFolder(self.path(number))

    def numbers(self) -> list[int]:
        """Of the runs that have a folder, in no order."""
        return [number for number, path in self.copies() if path.name.isdecimal()]

    def copies(self) -> Iterator[tuple[int, Path]]:
        """The number and folder of each run, also those that were set aside: a number may come more than once."""
        for path in self.folder.glob("[0-9]*"):
            if (number := path.name.partition(".")[0]).isdecimal():
                yield int(number), path


def _result(told: bytes) -> Result:
    try:
        return Result.model_validate_json(told)
    except ValidationError as error:
        reason = f"The supervisor's result cannot be read: {error.errors()[0]['msg']}."
        return Result(outcome=Outcome.ENV_FAIL, reason=reason, finished_at=utc_now())


def _point(line: str) -> Point | None:
    try:
        return Point.model_validate_json(line)
    except ValidationError:
        return None  # cut off, or damaged
