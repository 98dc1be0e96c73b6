"""Runs: one detached supervisor each, and how a supervisor that hangs is detected.

Server and supervisor share the run folder and nothing else; trainer/contract.py names its files. A run outlives the
server: whoever opens the folder next sees its progress, its result, or that its supervisor is gone.

A supervisor hangs if it is stopped, or waits for a dead disk. Silence is measured on the monotonic clock, between
looks of this process: a clock that is set, or a machine that sleeps, changes nothing. After a container was paused, its
supervisor looks silent for as long, so it gets a second chance.
"""

import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from server.errors import RunnerUnavailable
from server.files import set_aside
from server.records import Attempt, Experiment, Outcome, Point, Progress, Purpose, Result
from server.runs import cleanup, device_lock
from server.runs.run_spec import RunLimits
from server.runs.spawn import probe_guards, reap_supervisor, remove_scratch, spawn_supervisor
from server.task.dataset import find


class Runner:
    """All runs of one tag."""

    def __init__(self, state: Path, data: Path, imports: Path, home: Path | None = None) -> None:
        """
        Args:
            state: folder of the tag. data: folder of tokenised data, shared by all runs.
            imports: folder whose modules train.py may import.
            home: folder of the lease that runs of all tags share; None: the tag's own.
        """
        self._runs, self._data, self._imports = state.resolve() / "runs", data, imports
        self._home, self._silence = (home or state).resolve(), HangDetector()

    def require_free(self, profile: str, last: Experiment | None) -> None:
        """Refuse to start a run beside another that lives, or that has not given the GPU back.

        Raises:
            RunnerUnavailable: names who is there.
        """
        cleanup.require_gpu_released(last)
        with _startable(), device_lock.device_leases(self._home, profile) as leases:
            for run in {one.run for one in leases if one.run}:
                if not device_lock.is_held(Path(run) / "lease"):  # by another run that was given the number again
                    cleanup.require_run_cleared(run, profile in cleanup.GPU_PROFILES)

    def start(self, attempt: Attempt, text: str, terms: RunLimits) -> None:
        """Write the run folder and start its supervisor.

        Raises:
            RunnerUnavailable: nothing was started.
        """
        folder, spec = self.folder(attempt.number), self._spec(attempt, terms)
        with _startable(), device_lock.device_leases(self._home, attempt.profile) as leases:
            set_aside(folder)
            folder.mkdir(parents=True)
            # Not fsynced: a power cut ends the run as well, and git has the text.
            (folder / "train.py").write_text(text, encoding="utf-8", newline="")
            (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
            for one in leases:
                one.sign(folder)
            spawn_supervisor(folder, leases)

    def progress(self, number: int) -> Progress:
        try:
            return Progress.model_validate_json((self.folder(number) / "progress.json").read_bytes())
        except (FileNotFoundError, ValidationError):
            return Progress()

    def result(self, number: int) -> Result | None:
        """How the run ended; None while its supervisor lives. A run without either is `lost`."""
        if (result := self._written(number)) is not None:
            reap_supervisor(self.folder(number))
            return result
        why = "The supervisor of this run died without a result; the idea was not judged."
        if self.alive(number) and not (why := self._hung(number)):
            return None
        # The supervisor may have written its result between the two looks.
        return self._written(number) or self._lost(number, why)

    def over(self, number: int) -> bool:
        """Whether the run has ended, for who only looks: nothing is changed."""
        return self._written(number) is not None or not self.alive(number)

    def cancel(self, number: int, reason: str) -> None:
        """Ask the supervisor to end the run; it does so within about a second. Raises RunnerUnavailable."""
        temporary = self.folder(number) / "cancel.new"
        try:
            temporary.write_text(reason, encoding="utf-8")
            temporary.replace(temporary.with_name("cancel"))
        except OSError as error:
            raise RunnerUnavailable(f"The run cannot be cancelled: {error}.", "Wait for its end instead.") from error

    def log_tail(self, number: int, size: int) -> str:
        """The last `size` bytes of what train.py printed, from a line's beginning where one is among them."""
        try:
            with (self.folder(number) / "run.log").open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(0, end - size))
                tail = file.read().decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return (tail.partition("\n")[2] or tail) if end > size else tail

    def curve(self, number: int, points: int) -> list[Point]:
        """The loss curve, thinned evenly to at most `points`."""
        try:
            text = (self.folder(number) / "curve.jsonl").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        lines = text.splitlines()
        thin = -(-len(lines) // points) or 1
        return [point for line in lines[::thin] if (point := _point(line)) is not None]

    def numbers(self) -> list[int]:
        """Of the runs that have a folder."""
        return [int(path.name) for path in self._runs.glob("[0-9]*") if path.name.isdecimal()]

    def folder(self, number: int) -> Path:
        return self._runs / f"{number:05d}"

    def _spec(self, attempt: Attempt, terms: RunLimits) -> dict[str, Any]:
        return {
            "number": attempt.number,
            "profile": attempt.profile,
            "seed": attempt.seed,
            "budget_seconds": attempt.budget_seconds,
            **terms.model_dump(),
            "data": str(self._data),
            "dataset": find(attempt.dataset, self._data).folder,
            "imports": str(self._imports),
            "cookie": self._cookie(attempt.number),
            "kernels": "" if attempt.purpose is Purpose.CONFIRM else str(self._runs.parent / "kernels"),
            "keeps_kernels": attempt.baseline,
        }

    def _cookie(self, number: int) -> str:
        return str(self.folder(number))  # unique on this machine, and says whose process it is

    def _written(self, number: int) -> Result | None:
        try:
            return Result.model_validate_json((self.folder(number) / "result.json").read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            reason = f"The supervisor's result cannot be read: {error.errors()[0]['msg']}."
            return _ended(Outcome.ENV_FAIL, reason)

    def alive(self, number: int) -> bool:
        """Whether the supervisor holds its lease; the kernel drops it when the supervisor dies."""
        return device_lock.is_held(self.folder(number) / "lease")

    def _hung(self, number: int) -> str:
        return self._silence.broken(self.folder(number), time.monotonic())

    def _lost(self, number: int, why: str) -> Result:
        left = cleanup.end_run_processes(self._cookie(number), gpu=self._on_gpu(number))
        reap_supervisor(self.folder(number))
        remove_scratch(self.folder(number))
        return _ended(Outcome.LOST, why).model_copy(update={"figures": left})

    def _on_gpu(self, number: int) -> bool:
        try:
            return json.loads((self.folder(number) / "spec.json").read_bytes())["profile"] in cleanup.GPU_PROFILES
        except (OSError, ValueError, KeyError, TypeError):
            return True  # nobody knows: then the driver is asked


def _point(line: str) -> Point | None:
    try:
        return Point.model_validate_json(line)
    except ValidationError:
        return None  # cut off, or damaged


@contextmanager
def _startable() -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise RunnerUnavailable(
            f"The run could not be started: {error}.",
            "The operator runs `autoresearch doctor`; then call run_experiment again.",
        ) from error


def _ended(outcome: Outcome, reason: str) -> Result:
    return Result(outcome=outcome, reason=reason, finished_at=datetime.now(UTC).isoformat(timespec="seconds"))


def require_guards() -> None:
    """Hold the operator's word that every run is sealed. Raises RunnerUnavailable where it cannot be."""
    missing = [f"{name} ({state})" for name, state in probe_guards().items() if state != "held"]
    if missing:
        raise RunnerUnavailable(
            f"Sealed runs are required, and this machine cannot put on every guard: {', '.join(missing)}.",
            "See `autoresearch doctor`, or start without --require; every result then names what was missing.",
        )


ANSWER_SECONDS = 30.0  # until a cancelled run has ended
SLACK_SECONDS = 120.0  # beside its limits: data are made and read, processes ended, folders removed
CHANCE_SECONDS = 10.0  # between the look that finds it silent for too long and the one that says so


class HangDetector:
    """How long the supervisor of the run that is looked at is silent; one run at a time."""

    def __init__(self) -> None:
        self._heard: tuple[Path, int, bool] | None = None
        self._since = 0.0
        self._suspected: float | None = None

    def broken(self, folder: Path, now: float) -> str:
        """Why the supervisor of the run in `folder` must be hung; empty if it need not be. `now`: monotonic."""
        cancelled = (folder / "cancel").exists()
        heard = (folder, _progress_version(folder / "progress.json"), cancelled)
        if heard != self._heard:
            self._heard, self._since, self._suspected = heard, now, None
        limit = ANSWER_SECONDS if cancelled else _longest_silence(folder)
        if now - self._since <= limit:
            return ""
        self._suspected = now if self._suspected is None else self._suspected
        if now - self._suspected <= CHANCE_SECONDS:
            return ""
        told = "did not answer a cancel" if cancelled else "said nothing"
        return f"The supervisor of this run {told} for {now - self._since:.0f} s, and was ended; no idea was judged."


def _progress_version(path: Path) -> int:
    """Which version of the file this is: every one is a new file, renamed into place twice a second."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _longest_silence(folder: Path) -> float:
    """For how long a supervisor may compute without a word: never longer than what it computes may take."""
    try:
        spec = json.loads((folder / "spec.json").read_bytes())
        return float(spec["setup_seconds"]) + float(spec["evaluation_seconds"]) + SLACK_SECONDS
    except (OSError, ValueError, KeyError, TypeError):
        return SLACK_SECONDS
