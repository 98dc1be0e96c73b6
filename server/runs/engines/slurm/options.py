"""The operator's options for sbatch: partition, GPUs, account. What a run needs is ours."""

import shlex
from collections.abc import Sequence

from server.errors import RunnerUnavailable

_OURS = {  # option: why it cannot be the operator's
    "-a": "each run is one job",
    "--array": "each run is one job",
    "-M": "runs are followed on one cluster",
    "--clusters": "runs are followed on one cluster",
    "-t": "the time limit follows from program.md's limits, three minutes more than the longest run",
    "--time": "the time limit follows from program.md's limits, three minutes more than the longest run",
    "--wrap": "the server says what the job does",
    "--export": "the server says what the job's environment is",
    "--export-file": "the server says what the job's environment is",
    "--requeue": "a run that was started is not started again",
    "-W": "the server does not wait for a job",
    "--wait": "the server does not wait for a job",
    "-H": "a job that is held never starts",
    "--hold": "a job that is held never starts",
    "-J": "a job is found again by its name",
    "--job-name": "a job is found again by its name",
    "--test-only": "it starts no job",
    "-h": "it starts no job",
    "--help": "it starts no job",
    "--usage": "it starts no job",
    "-V": "it starts no job",
    "--version": "it starts no job",
    "-N": "a run has one node",
    "--nodes": "a run has one node",
    "-n": "a run is one task",
    "--ntasks": "a run is one task",
}
_STEP = 'Correct it, for example: --slurm "--partition=gpu --gres=gpu:1".'
DEFAULTS = ("--cpus-per-task=1",)  # before the operator's options, which may say otherwise
# After them: they are not the operator's.
FORCED = (
    *("--parsable", "--no-requeue", "--nodes=1", "--ntasks=1", "--chdir=/"),
    *("--output=/dev/null", "--error=/dev/null", "--input=/dev/null"),
)


def parsed(told: str) -> tuple[str, ...]:
    """The words of `--slurm`. Raises RunnerUnavailable: one of them is not the operator's, or is no option."""
    try:
        words = shlex.split(told)
    except ValueError as error:
        raise RunnerUnavailable(f"`--slurm` cannot be read: {error}.", _STEP) from error
    after = False  # an option without "=": the next word may be its value
    for word in words:
        if not word.startswith("-"):
            if not after:
                raise RunnerUnavailable(f"`--slurm` takes options of sbatch; {word!r} is not one.", _STEP)
            after = False
            continue
        name = word.partition("=")[0]
        short = name[:2] if not name.startswith("--") else name
        if why := _OURS.get(short) or _abbreviated(name):
            raise RunnerUnavailable(f"`--slurm` cannot have {short}: {why}.", _STEP)
        after = "=" not in word
    return tuple(words)


def _abbreviated(name: str) -> str:
    """Why the one of our options that `name` begins cannot be given: sbatch takes what is clear."""
    if not name.startswith("--") or len(name) < 4:
        return ""
    return next((why for option, why in _OURS.items() if option.startswith(name) and option != name), "")


def partition(words: Sequence[str]) -> str:
    """The partition that is asked for; empty: the cluster's default."""
    found = ""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word in ("-p", "--partition"):
            found = following
        elif word.startswith("--partition="):
            found = word.partition("=")[2]
        elif word.startswith("-p") and not word.startswith("--"):
            found = word[2:]
    return found
