"""Slurm's own commands: nothing of Slurm is imported, and nothing of ours waits in its cluster."""

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from server.errors import RunnerUnavailable
from server.runs.engines.slurm.options import DEFAULTS, FORCED
from trainer.contract import Entry, RunFile

_ASK_SECONDS = 20.0
_SUBMIT_SECONDS = 60.0  # sbatch itself gives up after some nine seconds
_PACKAGES = Path(__file__).resolve().parents[4]
# Exit codes of the job's script, before anything of ours runs on the node.
NO_FOLDER = 76
OTHER_FOLDER = 77
NO_PYTHON = 78
NO_PACKAGE = 79
_SERIES = f"{sys.version_info.major}.{sys.version_info.minor}"
# What `sbatch --test-only` says while every node that is asked for is down or drained, and, of some options, for ever.
_NO_NODE_UP = ("configuration is not available", "configuration not available", "Required node not available")
_NOT_OURS = ("SLURM_", "SBATCH_")  # of a server that is itself a job of Slurm's
_DEVICES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
_CHANGES_SUBMISSION = ("SBATCH_ARRAY_INX", "SBATCH_WAIT", "SBATCH_CLUSTERS", "SBATCH_EXPORT", "SBATCH_TEST_ONLY")
STEP = "The operator must check `sinfo` and `autoresearch doctor --executor slurm`; active runs go on."


class SlurmTrouble(Exception):
    """A command of Slurm's failed; the words are its last ones. `silent`: its daemon gave no answer."""

    def __init__(self, told: str, silent: bool = False) -> None:
        super().__init__(told)
        self.silent = silent

    @property
    def may_pass(self) -> bool:
        """Whether nothing may be wrong with the options: no answer, or no node is up that could take such a job."""
        return self.silent or any(words in str(self) for words in _NO_NODE_UP)


class Line(NamedTuple):
    """What squeue says of one job."""

    id: str
    name: str
    state: str
    nodes: str
    reason: str


def require_installed() -> None:
    """Raises RunnerUnavailable: this machine has no sbatch."""
    try:
        _run("sbatch", "--version")
    except SlurmTrouble as trouble:
        raise RunnerUnavailable(
            f"Slurm cannot be used from this machine: {trouble}.",
            "Start the server on a login node, where sbatch works, or without --executor slurm.",
        ) from trouble


def version() -> str:
    """Slurm's. Raises SlurmTrouble."""
    return _run("sbatch", "--version").strip()


def ping() -> None:
    """Raises SlurmTrouble: no controller answers."""
    told = _run("scontrol", "ping")
    if " is UP" not in told:
        raise SlurmTrouble(" ".join(told.split())[:200], silent=True)


def submit(words: Sequence[str], script: str, environment: Mapping[str, str]) -> str:
    """Submit a job. Returns its id.

    Its environment goes through a descriptor, to Slurm's daemons alone: no argument and no file of ours has it.

    Raises:
        SlurmTrouble: nothing was submitted; where `silent`, as far as anybody knows.
    """
    with (
        tempfile.TemporaryFile()
        if not hasattr(os, "memfd_create")
        else os.fdopen(os.memfd_create("job"), "w+b") as told
    ):
        for name, value in environment.items():
            told.write(os.fsencode(f"{name}={value}") + b"\0")
        told.flush()
        told.seek(0)
        number = told.fileno()
        command = ("sbatch", *DEFAULTS, *words, *FORCED, f"--export-file={number}", f"--wrap={script}")
        return _run(*command, seconds=_SUBMIT_SECONDS, passed=(number,)).strip().partition(";")[0]


def test(words: Sequence[str], minutes: int) -> None:
    """Ask whether such a job could start at some time. Raises SlurmTrouble with Slurm's words where it could not."""
    _run("sbatch", "--test-only", *DEFAULTS, *words, *FORCED, f"--time={minutes}", "--wrap=true")


def queue(names: Sequence[str]) -> dict[str, Line]:
    """What Slurm knows of our jobs with these names, by name. Raises SlurmTrouble."""
    told = _run(
        *("squeue", "--noheader", "--all", "--states=all", f"--user={os.getuid()}"),
        *(f"--name={','.join(names)}", "--format=%i|%j|%T|%N|%r"),
    )
    lines = [line.strip().split("|", 4) for line in told.splitlines()]
    return {words[1]: Line(*words) for words in lines if len(words) == 5}


def exit_code(job: str) -> int | None:
    """That of a job's script; None where Slurm does not tell any more. Raises SlurmTrouble."""
    with suppress(ValueError, StopIteration):
        told = _run("scontrol", "-o", "show", "job", job)
        word = next(word for word in told.split() if word.startswith("ExitCode="))
        return int(word.partition("=")[2].partition(":")[0])
    return None


def cancel(name: str) -> None:
    """End our job with this name, if there is one. Raises SlurmTrouble."""
    _run("scancel", f"--user={os.getuid()}", f"--name={name}")


def partitions() -> dict[str, str]:
    """The state of each partition by its name: up, down, drain, inact. Raises SlurmTrouble."""
    lines = [line.split("|") for line in _run("sinfo", "--noheader", "--format=%R|%a").splitlines()]
    return {words[0].strip(): words[1].strip() for words in lines if len(words) == 2}


def job_script(folder: Path, nonce: str, entry: str = Entry.SEAT) -> str:
    """What a job does on its node: it sees whether this is the folder that the server wrote, and begins."""
    at, python, package = (shlex.quote(str(one)) for one in (folder, sys.executable, _PACKAGES))
    begin = f"{package}/trainer/node/begin.py"
    return "\n".join(
        (
            f"cd {at} 2>/dev/null || exit {NO_FOLDER}",
            f"grep -q {shlex.quote(nonce)} {RunFile.JOB} 2>/dev/null || exit {OTHER_FOLDER}",
            f"{python} -V >/dev/null 2>&1 || exit {NO_PYTHON}",
            f"[ -r {begin} ] || exit {NO_PACKAGE}",
            f"exec {python} -I -S {begin} {_SERIES} {entry} {at}",
        )
    )


def job_environment(own: Mapping[str, str]) -> dict[str, str]:
    """That of a job: the server's, as a local run has it, but for what concerns this machine; and `own`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_NOT_OURS) and name not in _DEVICES and "=" not in name
    }
    return {**kept, "PYTHONPATH": str(_PACKAGES), **own}


def unfit(code: int | None, node: str, folder: Path) -> str:
    """Why the node could not begin, by the script's exit code: a sentence; empty where it tells nothing."""
    where = f"Node {node}" if node else "A Slurm node"
    return {
        NO_FOLDER: f"{where} does not see {folder}: the workspace must be on a disk that all nodes share.",
        OTHER_FOLDER: f"{where} sees a different {folder} from this machine: not the same disk, or it lags behind.",
        NO_PYTHON: f"{where} has no Python {_SERIES} in {sys.executable}: install this environment there, or share it.",
        NO_PACKAGE: f"{where} has no autoresearch in {_PACKAGES}: install the same package there, or share it.",
    }.get(code or 0, "")


def _run(*command: str, seconds: float = _ASK_SECONDS, passed: Sequence[int] = ()) -> str:
    """What a command prints. Raises SlurmTrouble."""
    environment = {name: value for name, value in os.environ.items() if name not in _CHANGES_SUBMISSION}
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=seconds, pass_fds=passed, stdin=subprocess.DEVNULL, env=environment
        )
    except FileNotFoundError:
        raise SlurmTrouble(f"there is no {command[0]} here") from None
    except subprocess.TimeoutExpired:
        raise SlurmTrouble(f"{command[0]} did not answer within {seconds:g} s", silent=True) from None
    except OSError as error:
        raise SlurmTrouble(f"{command[0]} cannot be run: {error.strerror}") from error
    told = done.stdout.decode(errors="replace")
    if done.returncode == 0 or (command[:2] == ("scontrol", "ping") and told.strip()):
        return told
    lines = [line.strip() for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    said = lines[-1] if lines else f"exit code {done.returncode}"
    raise SlurmTrouble(_plain(said), silent="Unable to contact" in said or "timed out" in said)


def _plain(said: str) -> str:
    """Slurm's words without what begins every message of its."""
    for prefix in (
        "sbatch: error: ",
        "Batch job submission failed: ",
        "allocation failure: ",
        "slurm_load_jobs error: ",
    ):
        said = said.removeprefix(prefix)
    return said.rstrip(".")[:300]
