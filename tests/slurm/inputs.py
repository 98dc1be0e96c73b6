"""Bad input: what an operator may have wrong. Each is one clear sentence, from `doctor` or from the run."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from importlib import metadata
from pathlib import Path

import trainer
from server.chosen_engine import engine_of
from server.serve_options import ServeOptions
from server.study.study import Study
from tests.faults.night import TAG
from tests.slurm.cluster import Cluster, slurm
from tests.support.repositories import QUICK, make_repository
from trainer.contract import RunFile

Check = Callable[[Cluster, Path], None]
CHECKS: dict[str, Check] = {}
ROWS: set[str] = set()  # checks that are a row of the failure table by themselves: tried as often as each fault
_PACKAGES = Path(str(trainer.__file__)).parents[1]
_TORCH = Path(str(metadata.distribution("torch").locate_file(""))) / f"torch-{metadata.version('torch')}.dist-info"
_FULL = "/tmp/autoresearch-full"
ODD = ["share", "package", "version", "torch", "other torch", "python", "disk", "clock", "other share"]


def check(name: str, row: bool = False) -> Callable[[Check], Check]:
    """Add a function to the table. It gets a folder of its own."""

    def add(told: Check) -> Check:
        CHECKS[name] = told
        ROWS.update([name] if row else [])
        return told

    return add


def doctor(folder: Path, options: str, **environment: str) -> dict[str, str]:
    """What `autoresearch doctor` says of the cluster: state, detail and remedy, by the check's name; its last word."""
    words = ["doctor", "--workspace", str(folder), "--json", "--executor", "slurm", "--slurm", options]
    done = subprocess.run(
        [sys.executable, "-m", "server.cli", *words], env={**os.environ, **environment}, capture_output=True, text=True
    )
    found = json.loads(done.stdout)["checks"]
    told = {one["name"]: f"{one['state']}: {one['detail']} → {one['remedy']}" for one in found}
    assert not {"torch", "device"} & set(told), "this machine's own are not asked about"
    return {name: told[name] for name in ("slurm", "node") if name in told}


def _hidden(place: str, node: str, folder: Path) -> str:
    """A shell command that makes a node odd in its own mount namespace."""
    spare = folder / f"odd {node}"
    spare.mkdir()
    named = {"spare": spare, "here": folder, "code": _PACKAGES, "ours": folder / "work", "other": spare / "work"}
    at = {name: shlex.quote(str(path)) for name, path in named.items()}
    python, info = shlex.quote(os.path.realpath(sys.executable)), shlex.quote(str(_TORCH))
    look = f"{at['code']}/server/runs/engines/node_look.py"
    empty = "mount -t tmpfs tmpfs"
    return {
        "share": f"{empty} {at['here']}",
        "other share": f"cp -r {at['ours']} {at['spare']}/; rm -rf {at['other']}/.autoresearch; "
        f"mkdir {at['other']}/.autoresearch; mount --bind {at['other']} {at['ours']}",
        "package": f"{empty} {at['code']}/trainer; {empty} {at['code']}/server",
        "version": f"cp -r {at['code']}/trainer {at['spare']}/; echo '# other' >> {at['spare']}/trainer/text.py; "
        f"mount --bind {at['spare']}/trainer {at['code']}/trainer",
        "torch": f"{empty} {info}",
        "other torch": f"cp -r {info} {at['spare']}/t; sed -i 's/^Version: .*/Version: 0.1/' {at['spare']}/t/METADATA; "
        f"mount --bind {at['spare']}/t {info}",
        "python": f"touch {at['spare']}/none; mount --bind {at['spare']}/none {python}",
        "disk": f"mkdir -p {_FULL}; mount -t tmpfs -o size=1m tmpfs {_FULL}",
        "clock": f"sed 's/time.time()/(time.time() + 3600)/' {look} > {at['spare']}/look.py; "
        f"mount --bind {at['spare']}/look.py {look}",
    }[place]


def _odd(cluster: Cluster, folder: Path, place: str) -> str:
    """The options for sbatch that lead to a node with this oddity, which is started."""
    node = f"o{ODD.index(place) + 1}"
    cluster.start_node(node, _hidden(place, node, folder))
    cluster.until_idle(node)
    return f"--partition=odd --nodelist={node}"


def _made(folder: Path) -> Path:
    return make_repository(folder / "work", QUICK)


def _run(folder: Path, options: str) -> str:
    """How a run of a language model ends there, through a study; its row must say so and stay."""
    choices = ServeOptions(profile="smoke", executor="slurm", slurm=options)
    with closing(Study(folder, TAG, choices, engine_of(choices))) as study:
        study.run("the baseline")
        while (row := study.settle()) is None or row.running:
            pass
        assert row.result and row.score is None and [one.number for one in study.ledger.all()] == [1]
        return f"{row.result.outcome}: {row.result.reason}"


@check("a partition that does not exist: doctor and server name it")
def partition(cluster: Cluster, folder: Path) -> None:
    work = _made(folder)
    told = doctor(work, "--partition=nope")
    assert told["slurm"].startswith("fix: there is no partition nope → there are: "), told
    done = _serve(work, "--partition=nope")
    assert done.returncode == 1 and "Slurm refuses such jobs: Invalid partition name specified." in _said(done), done


@check("GPUs that the cluster does not have")
def gres(cluster: Cluster, folder: Path) -> None:
    told = doctor(_made(folder), "--partition=main --gres=gpu:1")
    assert told["slurm"].startswith("fix: Slurm refuses such jobs: Invalid generic resource"), told


@check("nodes that are all drained: doctor says so, the server starts, and a run waits until they are back", row=True)
def drained(cluster: Cluster, folder: Path) -> None:
    work = _made(folder)
    slurm("scontrol", "update", "nodename=n1,n2", "state=drain", "reason=test")
    told = doctor(work, "--partition=main")
    assert told["slurm"].startswith("fix: Slurm refuses such jobs: ") and "(`sinfo`)" in told["slurm"], told
    choices = ServeOptions(profile="smoke", executor="slurm", slurm="--partition=main")
    with closing(Study(work, TAG, choices, engine_of(choices))) as study:
        row = study.run("the baseline")
        cluster.until(lambda: study.settle() and study.runs.of(row.number).progress().stage.startswith("waiting for"))
        slurm("scontrol", "update", "nodename=n1,n2", "state=resume")
        cluster.until(lambda: (study.runs.path(row.number) / RunFile.STARTED).exists())
        last = study.settle()
        assert last and last.running, last


@check("an option that is not the operator's, and words that are none")
def options(cluster: Cluster, folder: Path) -> None:
    told = doctor(_made(folder), "--array=1-4")
    assert told["slurm"].startswith("fix: `--slurm` cannot have --array: each run is one job."), told


@check("no Slurm here: doctor and server say so")
def absent(cluster: Cluster, folder: Path) -> None:
    work, bare = _made(folder), folder / "bin"
    bare.mkdir()
    for name in ("git", "sh", "gcc"):
        (bare / name).symlink_to(f"/usr/bin/{name}")
    told = doctor(work, "", PATH=str(bare))
    assert told["slurm"].startswith("fix: Slurm cannot be used from this machine: there is no sbatch here."), told
    assert "there is no sbatch here" in _said(_serve(work, "", PATH=str(bare)))


@check("a controller that does not answer")
def silent(cluster: Cluster, folder: Path) -> None:
    for process in cluster.daemons("slurmctld"):
        process.kill()
    told = doctor(_made(folder), "")
    assert told["slurm"].startswith("fix: Slurm does not answer: "), told


@check("`--slots auto`, which counts this machine's GPUs")
def slots(cluster: Cluster, folder: Path) -> None:
    done = _serve(_made(folder), "", "--slots", "auto")
    assert done.returncode == 1 and "Say how many jobs may run at once" in _said(done), done


@check(
    "a partition whose jobs may not take so long: the run ends with that sentence, and does not wait for ever",
    row=True,
)
def time_limit(cluster: Cluster, folder: Path) -> None:
    told = _run(_made(folder), "--partition=short")
    assert told.startswith("env_fail: Slurm will never start this run (PartitionTimeLimit): "), told


@check("a node that is fit: doctor is content with it")
def fit(cluster: Cluster, folder: Path) -> None:
    told = doctor(_made(folder), "--partition=main")  # Debian says slurm-wlm
    assert told["slurm"].startswith("ok: slurm") and not told["node"].startswith("fix"), told


def _of_a_node(place: str, doctors: str, runs: str) -> None:
    @check(f"a node with another {place}" if place != "disk" else "a node whose disk is full")
    def _(cluster: Cluster, folder: Path) -> None:
        work = _made(folder)
        wanted = _odd(cluster, folder, place)
        environment = {"TMPDIR": _FULL} if place == "disk" else {}
        if place == "disk":
            Path(_FULL).mkdir(exist_ok=True)
        told = doctor(work, wanted, **environment)
        assert told["node"].startswith("fix: ") and doctors in told["node"], told
        if runs:
            os.environ.update(environment)
            try:
                ended = _run(work, wanted)
            finally:
                for name in environment:
                    del os.environ[name]
            assert ended.startswith("env_fail: ") and runs in ended, ended


_of_a_node("share", "does not see", "the workspace must be on a disk that all nodes share")
_of_a_node("other share", "does not see", "the workspace must be on a disk that all nodes share")
_of_a_node("package", "has no autoresearch in", "has no autoresearch in")
_of_a_node("version", "has another version of autoresearch", "has another version of autoresearch")
_of_a_node("torch", "has no torch", "torch is not installed there")
_of_a_node("other torch", "has torch 0.1, this machine", "it has torch 0.1, the server has")
_of_a_node("python", "has no ", "install this environment there, or share it")
_of_a_node("disk", "GB are free in", "its disk is full")
_of_a_node("clock", "the clock of o8 differs from this machine's by 3", "")


def _serve(work: Path, options: str, *more: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    words = ["serve", "--workspace", str(work), "--profile", "smoke", "--executor", "slurm", "--slurm", options, *more]
    return subprocess.run(
        [sys.executable, "-m", "server.cli", *words],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def _said(done: "subprocess.CompletedProcess[str]") -> str:
    return " ".join(done.stderr.split())
