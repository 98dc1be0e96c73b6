"""What a node says of itself: `python -P -B -m server.runs.engines.node_look FOLDER`, as a job of an engine's.

It reads the token that the server has left in the folder, and leaves its answer there.
"""

import os
import shutil
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

from pydantic import Field, ValidationError

from server.errors import RunnerUnavailable, Unavailable
from server.records import Value
from server.runs.hardware import Machine, probe
from server.runs.profile_choice import as_torch_sees_it, default_profile
from server.runs.spawn import probe_guards, torch_view, trainer_hash
from trainer.contract import CPU_PROFILES

TOKEN = "token"  # the server's file in the folder
ANSWER = "answer.json"  # the node's
MODULE = "server.runs.engines.node_look"
_CLOCK_SECONDS = 5.0  # that two clocks may differ
_LEAST_GB = 2.0


class NodeLook(Value):
    """One node, as it was when a job looked at it."""

    node: str
    token: str  # as it read it
    time: float  # seconds since the epoch, by its clock
    trainer: str  # hash of the package
    python: str
    torch: str | None = None
    torch_problem: str = ""
    guards: dict[str, str] = Field(default_factory=dict[str, str])
    machine: Machine
    free_gb: dict[str, float] = Field(default_factory=dict[str, float])  # by folder

    @property
    def profile(self) -> str:
        """The class of machine that it is."""
        return default_profile(self.machine)


def read(folder: Path) -> NodeLook | None:
    """The answer in a folder; None while there is none. Raises RunnerUnavailable: another version has written it."""
    try:
        os.listdir(folder)
        return NodeLook.model_validate_json((folder / ANSWER).read_bytes())
    except OSError:
        return None
    except ValidationError as error:
        told = "A node has another version of autoresearch than this machine: its answer cannot be read."
        raise RunnerUnavailable(told, "Install the same version there, or share one environment.") from error


def doubts(look: NodeLook, own: NodeLook, asked: tuple[float, float], torch: bool = True) -> list[tuple[str, str]]:
    """What makes a node unfit for the runs of this server, each with its remedy.

    Args:
        own: what this machine says of itself. asked: when the job was submitted, and when its answer was seen, by our
            clock. torch: whether runs need it.
    """
    found: list[tuple[str, str]] = []
    if look.token != own.token:
        found.append(
            (f"{look.node} did not read the file that this machine wrote", "put the workspace on a shared disk")
        )
    if look.trainer != own.trainer:
        told = f"{look.node} has another version of autoresearch than this machine"
        found.append((told, "install the same version there, or share one environment"))
    if torch and (told := _of_torch(look, own)):
        found.append(told)
    if (off := max(asked[0] - look.time, look.time - asked[1])) > _CLOCK_SECONDS:
        told = f"the clock of {look.node} differs from this machine's by {off:.0f} s"
        found.append((told, "set both by NTP: otherwise limits in hours and times in reports are wrong"))
    for folder, free in look.free_gb.items():
        if free < _LEAST_GB:
            found.append((f"{free:.1f} GB are free in {folder} on {look.node}", "free some space there"))
    return found


def _of_torch(look: NodeLook, own: NodeLook) -> tuple[str, str] | None:
    if look.torch is None:
        return f"{look.node} has no torch", "pip install torch there, or share one environment"
    if own.torch is not None and look.torch != own.torch:
        told = f"{look.node} has torch {look.torch}, this machine {own.torch}"
        return told, "install the same version: runs on two versions are not compared"
    if look.torch_problem:
        return f"torch does not work on {look.node}: {look.torch_problem}", "repair it there"
    return None


def look(token: str, folder: Path, quick: bool = False) -> NodeLook:
    """This machine. `quick`: without what takes seconds."""
    machine = probe() if quick else as_torch_sees_it(probe())
    profile, problem, guards = default_profile(machine), "", dict[str, str]()
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        version = None
    try:
        guards = {} if quick else probe_guards(profile in CPU_PROFILES)
        problem = torch_view(profile).problem if version and not quick else ""
    except Unavailable as error:
        problem = error.problem.rstrip(".")
    places = {str(folder), tempfile.gettempdir()}
    return NodeLook(
        node=os.environ.get("SLURMD_NODENAME") or os.uname().nodename,
        token=token,
        time=time.time(),
        trainer=trainer_hash(),
        python=sys.version.split()[0],
        torch=version,
        torch_problem=problem,
        guards=guards,
        machine=machine,
        free_gb={place: round(shutil.disk_usage(place).free / 2**30, 2) for place in sorted(places)},
    )


def main() -> None:
    """Look, and leave the answer in the folder named on the command line."""
    folder = Path(sys.argv[1])
    told = look((folder / TOKEN).read_text(encoding="ascii"), folder)
    told = told.model_copy(update={"time": time.time()})
    temporary = folder / f"{ANSWER}.new"
    temporary.write_text(told.model_dump_json(), encoding="utf-8")
    temporary.replace(folder / ANSWER)


if __name__ == "__main__":
    main()
