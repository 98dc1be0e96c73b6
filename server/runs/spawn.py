"""The trainer's processes that the server starts: a supervisor for each run, and small services."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from server.errors import RunnerUnavailable
from server.paths import Home
from server.records import Value
from server.runs.device_lock import Lease
from trainer import contract
from trainer.contract import ORDER_VARIABLE, PLACE_PREFIX, Entry, RunFile, ScratchRole

_PACKAGES = Path(__file__).resolve().parents[2]
_EXIT_SECONDS = 5.0
_RUN_SECONDS = 20.0
_TORCH_SECONDS = 60.0
_BUSY = "The machine may be too busy: end other work on it, then call again."
# Supervisors this process started and has not reaped: it is their parent, whoever looks after them.
_CHILDREN: dict[Path, subprocess.Popen[bytes]] = {}


def spawn_supervisor(folder: Path, device: Sequence[Lease], order: bytes, gpu: str = "") -> None:
    """Start that of the run in `folder`, in a session of its own. Raises OSError.

    It inherits the locks on the leases, the run's own and those of the device, and a pipe with its order. It and all
    that it starts see the GPU with the UUID `gpu` alone; empty: what we see.
    """
    own = Lease(folder / RunFile.LEASE)
    try:
        with (folder / RunFile.SUPERVISOR_LOG).open("wb") as errors:
            child = _CHILDREN[folder] = subprocess.Popen(
                _command(Entry.SUPERVISOR, str(folder)),
                stdin=subprocess.PIPE,
                stdout=errors,
                stderr=errors,
                cwd=folder,
                env=_environment() | _shown(gpu) | {ORDER_VARIABLE: "0"},
                pass_fds=[one.descriptor for one in (own, *device)],
                start_new_session=True,
            )
        assert child.stdin is not None
        with suppress(BrokenPipeError), child.stdin as pipe:  # one that has died meanwhile has a lost run
            pipe.write(order)
    finally:
        own.close()


def reap_supervisor(folder: Path) -> None:
    """A supervisor that has written its result is about to exit: leave no zombie behind."""
    if (child := _CHILDREN.pop(folder, None)) is None:
        return
    try:
        child.wait(_EXIT_SECONDS)
    except subprocess.TimeoutExpired:
        _CHILDREN[folder] = child


def remove_scratch(folder: Path) -> None:
    """What the run's processes left in theirs, once they are dead: by the trainer, which knows what to expect."""
    tops = [str(top) for role in ScratchRole for top in folder.glob(f"{role.prefix}*")]
    place = (folder / RunFile.PLACE).resolve()
    own = place.parent.parent == folder.resolve().parent or place.name.startswith(PLACE_PREFIX)
    tops += [str(place)] * (place.is_dir() and own)
    if tops:
        with suppress(OSError, subprocess.SubprocessError):  # held by what lives on: it costs space, and no run
            _run(Entry.SCRATCH, *tops)


def probe_guards(counted: bool = False) -> dict[str, str]:
    """For each guard around train.py `held`, or why this machine cannot put it on: found by putting it on.

    Args:
        counted: budgets are CPU seconds, so that there is the guard `meter`.

    Raises:
        RunnerUnavailable: no process of the trainer can be started.
    """
    try:
        return TypeAdapter(dict[str, str]).validate_json(_run(Entry.GUARDS, *["counted"] * counted))
    except (OSError, subprocess.SubprocessError, ValidationError) as error:
        raise _untested("The guards around train.py cannot be tested", error) from error


def require_guards(counted: bool = False) -> None:
    """Hold the operator's word that every run is sealed. Raises RunnerUnavailable where it cannot be.

    Args:
        counted: budgets are CPU seconds.
    """
    missing = [f"{name} ({state})" for name, state in probe_guards(counted).items() if state != "held"]
    if missing:
        raise RunnerUnavailable(
            f"Sealed runs are required, but this machine lacks some guards: {', '.join(missing)}.",
            "Run `autoresearch doctor`, or start without --require; then every result names the missing guards.",
        )


def compiler(profile: str, workspace: Path) -> str:
    """Why nothing can be compiled for runs of this profile; empty if it can: found by compiling something.

    Raises:
        RunnerUnavailable: no process of the trainer can be started.
    """
    try:
        places = (Home(workspace).folder, workspace / ".git", workspace)  # a run compiles on the workspace's disk
        place = next((folder for folder in places if folder.is_dir()), workspace)
        return TypeAdapter(str).validate_json(_run(Entry.COMPILER, profile, str(place.resolve())))
    except (OSError, subprocess.SubprocessError, ValidationError) as error:
        raise _untested("The compiler cannot be tested", error) from error


class TorchView(Value):
    """What torch sees of the machine."""

    problem: str = ""  # why it cannot compute for the profile
    slow: bool = False  # the problem is that it did not answer in time
    gpu: str | None = None
    gpu_memory_gb: float | None = None
    gpu_kind: str = ""
    gpus: int = 0


def torch_view(profile: str, gpu: str = "") -> TorchView:
    """What the torch that trains sees, asked in a process of its own, for seconds.

    Args:
        gpu: the UUID of the one that is shown to it; empty: what we see.

    Raises:
        RunnerUnavailable: no process of the trainer can be started.
    """
    try:
        view = TorchView.model_validate_json(_run(Entry.COMPILER, "torch", profile, seconds=_TORCH_SECONDS, gpu=gpu))
    except (OSError, subprocess.SubprocessError, ValidationError) as error:
        raise _untested("torch cannot be asked which devices it sees", error) from error
    if view.slow:
        raise RunnerUnavailable(f"torch cannot be asked which devices it sees: {view.problem}.", _BUSY)
    return view


def _untested(problem: str, error: Exception) -> RunnerUnavailable:
    """What a module of the trainer could not find out: the machine is too busy, or the installation is broken."""
    if isinstance(error, subprocess.TimeoutExpired):
        return RunnerUnavailable(f"{problem}: no answer within {error.timeout:g} s.", _BUSY)
    return RunnerUnavailable(f"{problem}: {error}.", "The operator must check the installation.")


def trainer_hash() -> str:
    """A hash of all code that referees a run, 16 characters."""
    return contract.trainer_hash(_PACKAGES)


def _run(module: Entry, *arguments: str, seconds: float = _RUN_SECONDS, gpu: str = "") -> bytes:
    """What a module of the trainer prints. Raises OSError, SubprocessError."""
    command, environment = _command(module, *arguments), _environment() | _shown(gpu)
    return subprocess.run(command, env=environment, capture_output=True, timeout=seconds, check=True).stdout


def _command(module: Entry, *arguments: str) -> list[str]:
    return [sys.executable, "-P", "-B", "-m", module, *arguments]


def _shown(gpu: str) -> dict[str, str]:
    return {"CUDA_VISIBLE_DEVICES": gpu} if gpu else {}


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(_PACKAGES)}
