"""One node of the cluster, looked at by a job: before a study, and for `autoresearch doctor`."""

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Literal, NamedTuple

from server.errors import RunnerUnavailable
from server.paths import Home
from server.runs.engines import node_look
from server.runs.engines.node_look import NodeLook
from server.runs.engines.remote import Job
from server.runs.engines.slurm import commands
from server.runs.engines.slurm.commands import SlurmTrouble
from server.runs.engines.slurm.options import parsed, partition

_PATIENCE_SECONDS = 120.0  # that a job may wait for a node, and look at it
_LOOK_SECONDS = 0.2
_LEFT_SECONDS = 10.0  # a shared disk may show an answer later than the job's end
_MINUTES = 5


class Seen(NamedTuple):
    """A node's answer, and when it was asked for and seen, by our clock."""

    look: NodeLook
    asked: tuple[float, float]


class Finding(NamedTuple):
    """One line of a check."""

    name: str
    state: Literal["ok", "warning", "fix"]
    detail: str
    remedy: str = ""


def look_at_one(words: Sequence[str], home: Home, patience: float = _PATIENCE_SECONDS) -> Seen:
    """Have a job look at its node.

    Raises:
        RunnerUnavailable: it was refused, does not begin in time, or cannot do so: a sentence says why.
    """
    folder, job = home.node_looks.resolve() / token_hex(6), Job.of("look", 0)
    folder.mkdir(parents=True)
    asked = time.time()
    try:
        (folder / node_look.TOKEN).write_text(job.nonce, encoding="ascii")
        job.write(folder)
        script = commands.job_script(folder, job.nonce, node_look.MODULE)
        options = (*words, f"--job-name={job.name}", f"--time={_MINUTES}")
        told = commands.submit(options, script, commands.job_environment({}))
        return Seen(_answer(folder, job.model_copy(update={"id": told}), patience), (asked, time.time()))
    except SlurmTrouble as trouble:
        raise RunnerUnavailable(f"Slurm does not answer: {trouble}.", commands.STEP) from trouble
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _answer(folder: Path, job: Job, patience: float) -> NodeLook:
    """Raises SlurmTrouble, RunnerUnavailable."""
    deadline, over = time.monotonic() + patience, 0.0
    while True:
        if found := node_look.read(folder):
            return found
        line = commands.queue([job.name]).get(job.name)
        state, node = (line.state, line.nodes) if line else ("", "")
        if state in ("PENDING", "CONFIGURING") and time.monotonic() > deadline:
            commands.cancel(job.name)
            why = f" ({line.reason})" if line else ""
            step = "Name the class of machine with `--profile`, or wait until a node is free."
            raise RunnerUnavailable(f"No Slurm node was free within {patience:.0f} s{why}.", step)
        if state not in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING") or time.monotonic() > deadline:
            why = commands.unfit(commands.exit_code(job.id), node, folder) if state == "FAILED" else ""
            over = over or time.monotonic()
            if why or time.monotonic() - over > _LEFT_SECONDS:
                commands.cancel(job.name)
                told = (
                    why or f"A job on {node or 'a node'} ended ({state or 'unknown'}) and left no answer in {folder}."
                )
                raise RunnerUnavailable(told, commands.STEP)
        time.sleep(_LOOK_SECONDS)


def remembered(words: Sequence[str], home: Home) -> NodeLook | None:
    """What a node that such jobs get has said earlier."""
    told = home.node_looks / "slurm.json"
    try:
        kept = _Kept.model_validate_json(told.read_bytes())
    except (OSError, ValueError):
        return None
    return kept.look if kept.words == list(words) else None


def remember(words: Sequence[str], home: Home, look: NodeLook) -> None:
    """Keep a node's answer for later servers."""
    home.node_looks.mkdir(parents=True, exist_ok=True)
    text = _Kept(words=list(words), look=look).model_dump_json()
    (home.node_looks / "slurm.json").write_text(text, encoding="utf-8")


class _Kept(node_look.Value):
    words: list[str]
    look: NodeLook


def examine(options: str, workspace: Path, torch: bool = True) -> Iterator[Finding]:
    """Check the cluster and one of its nodes, one line after the other.

    Args:
        torch: whether runs need it.
    """
    try:
        words = parsed(options)
        commands.require_installed()
    except RunnerUnavailable as error:
        yield Finding("slurm", "fix", error.problem, error.next_step)
        return
    cluster = list(_cluster(words))
    yield from cluster
    if any(one.state == "fix" for one in cluster):
        return
    try:
        seen = look_at_one(words, Home(workspace))
    except RunnerUnavailable as error:
        yield Finding("node", "fix", error.problem, error.next_step)
        return
    look = seen.look
    own = node_look.look(look.token, workspace, quick=True)
    own = own.model_copy(update={"token": look.token})
    machine = look.machine
    what = machine.gpu or f"no GPU, {machine.cores} cores of {machine.cpu}"
    told = f"{look.node}: {what}; Python {look.python}, torch {look.torch or 'none'}; profile {look.profile}"
    yield Finding("node", "ok", f"{told}; it sees this workspace")
    for detail, remedy in node_look.doubts(look, own, seen.asked, torch):
        yield Finding("node", "fix", detail, remedy)
    missing = [f"{name}: {state}" for name, state in look.guards.items() if state != "held"]
    if missing:
        yield Finding("node", "warning", f"guards that {look.node} lacks: {'; '.join(missing)}", "see confinement")


def _cluster(words: Sequence[str]) -> Iterator[Finding]:
    try:
        told = commands.version()
        commands.ping()
        states, wanted = commands.partitions(), partition(words)
    except SlurmTrouble as trouble:
        yield Finding("slurm", "fix", f"Slurm does not answer: {trouble}", "the operator must check slurmctld")
        return
    for name in filter(None, wanted.split(",")):
        if name not in states:
            known = ", ".join(sorted(states)) or "none"
            yield Finding("slurm", "fix", f"there is no partition {name}", f"there are: {known}")
            return
        if states[name] != "up":
            yield Finding("slurm", "warning", f"partition {name} is {states[name]}: its jobs wait", "ask its operator")
    try:
        commands.test(words, _MINUTES)
    except SlurmTrouble as trouble:
        remedy = "correct `--slurm`, or bring such nodes up (`sinfo`)" if trouble.may_pass else "correct `--slurm`"
        yield Finding("slurm", "fix", f"Slurm refuses such jobs: {trouble}", remedy)
        return
    yield Finding("slurm", "ok", f"{told}{f', partition {wanted}' if wanted else ''}")
