"""Runs: one detached supervisor each. The only spawner of the server.

The run folder is the only thing shared with the supervisor (trainer/letterbox.py names its files). A run outlives the
server: whoever opens the folder next sees its progress, its result, or that its supervisor is gone.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from server.dataset import find
from server.errors import RunnerUnavailable
from server.experiment import Attempt, Figures, Outcome, Purpose, Result, Value
from server.slot import clear
from server.terms import Terms

_PACKAGES = Path(__file__).resolve().parent.parent
_EXIT_SECONDS = 5.0
_PROBE_SECONDS = 20.0
# Supervisors this process started and has not reaped: it is their parent, whichever Runner looks after them.
_CHILDREN: dict[Path, subprocess.Popen[bytes]] = {}


class Progress(Value):
    """Where a run is; times in seconds."""

    stage: str = "starting"
    elapsed_seconds: float = 0.0
    limit_seconds: float | None = None
    steps: int | None = None
    loss: float | None = None
    tokens: int | None = None
    gpu_strangers: str | None = None  # who computed on the GPU before the run


class Point(Value):
    """One point of the curves."""

    seconds: float
    step: int
    loss: float
    lr: float | None = None  # learning rate, where train.py tells it, as the next
    grad_norm: float | None = None


class Runner:
    """All runs of one tag."""

    def __init__(self, state: Path, data: Path, imports: Path) -> None:
        """
        Args:
            state: folder of the tag. data: folder of tokenised data, shared by all runs.
            imports: folder whose modules train.py may import.
        """
        self._runs, self._data, self._imports = state / "runs", data, imports

    def start(self, attempt: Attempt, text: str, terms: Terms) -> None:
        """Write the run folder and start its supervisor.

        Raises:
            RunnerUnavailable: nothing was started.
        """
        folder, spec = self.folder(attempt.number), self._spec(attempt, terms)
        try:
            folder.mkdir(parents=True)
            (folder / "train.py").write_text(text, encoding="utf-8", newline="")
            (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
            _CHILDREN[folder] = _spawn(folder)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise RunnerUnavailable(
                f"The run could not be started: {error}.",
                "The operator runs `autoresearch doctor`; then call run_experiment again.",
            ) from error

    def progress(self, number: int) -> Progress:
        try:
            return Progress.model_validate_json((self.folder(number) / "progress.json").read_bytes())
        except (FileNotFoundError, ValidationError):
            return Progress()

    def result(self, number: int) -> Result | None:
        """How the run ended; None while its supervisor lives. A run without either is `lost`."""
        if (result := self._written(number)) is not None:
            self._reap(number)
            return result
        if self.alive(number):
            return None
        # The supervisor may have written its result between the two looks.
        self._reap(number)
        return self._written(number) or self._lost(number)

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
            lines = (self.folder(number) / "curve.jsonl").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        thin = -(-len(lines) // points) or 1
        return [Point.model_validate_json(line) for line in lines[::thin] if line.endswith("}")]

    def numbers(self) -> list[int]:
        """Of the runs that have a folder."""
        return [int(path.name) for path in self._runs.glob("[0-9]*") if path.name.isdecimal()]

    def folder(self, number: int) -> Path:
        return self._runs / f"{number:05d}"

    def _reap(self, number: int) -> None:
        """A supervisor that has written its result is about to exit: leave no zombie behind."""
        folder = self.folder(number)
        if (child := _CHILDREN.pop(folder, None)) is None:
            return
        try:
            child.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            _CHILDREN[folder] = child

    def _spec(self, attempt: Attempt, terms: Terms) -> dict[str, Any]:
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
        try:
            with (self.folder(number) / "lease").open("rb") as lease:
                fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _lost(self, number: int) -> Result:
        left = ", ".join(map(str, clear(self._cookie(number)))) or None
        ended = _ended(Outcome.LOST, "The supervisor of this run died without a result; the idea was not judged.")
        return ended.model_copy(update={"figures": Figures(unkillable=left)})


def guards() -> dict[str, str]:
    """For each guard around train.py `held`, or why this machine cannot put it on: found by putting it on.

    Raises:
        RunnerUnavailable: no process of the trainer can be started.
    """
    command = [sys.executable, "-P", "-B", "-m", "trainer.confinement"]
    environment = {**os.environ, "PYTHONPATH": str(_PACKAGES)}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=_PROBE_SECONDS, check=True)
        return TypeAdapter(dict[str, str]).validate_json(done.stdout)
    except (OSError, subprocess.SubprocessError, ValidationError) as error:
        raise RunnerUnavailable(
            f"The guards around train.py cannot be tried: {error}.", "The operator checks the installation."
        ) from error


def _spawn(folder: Path) -> subprocess.Popen[bytes]:
    """Start the supervisor in a session of its own; it inherits the lock on the lease, and nothing else."""
    with (folder / "lease").open("wb") as lease, (folder / "supervisor.log").open("wb") as errors:
        fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return subprocess.Popen(
            [sys.executable, "-P", "-B", "-m", "trainer.supervisor", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(_PACKAGES)},
            pass_fds=(lease.fileno(),),
            start_new_session=True,
        )


def _ended(outcome: Outcome, reason: str) -> Result:
    return Result(outcome=outcome, reason=reason, finished_at=datetime.now(UTC).isoformat(timespec="seconds"))


def require_guards() -> None:
    """Hold the operator's word that every run is sealed. Raises RunnerUnavailable where it cannot be."""
    missing = [f"{name} ({state})" for name, state in guards().items() if state != "held"]
    if missing:
        raise RunnerUnavailable(
            f"Sealed runs are required, and this machine cannot put on every guard: {', '.join(missing)}.",
            "See `autoresearch doctor`, or start without --require; every result then names what was missing.",
        )
