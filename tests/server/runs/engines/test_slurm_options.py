"""What an operator may ask of sbatch, and what a run's job is given."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from server.errors import RunnerUnavailable
from server.runs.engines import time_limit
from server.runs.engines.slurm import commands
from server.runs.engines.slurm.executor import SlurmEngine, SlurmExecutor
from server.runs.engines.slurm.options import parsed, partition
from server.runs.engines.time_limit import SLACK_SECONDS, limit_minutes, worst_seconds
from server.runs.executor import RunSite, SlotRequest
from trainer.contract import RunFile, Spec, TaskSpec
from trainer.run import profiles

SPEC = Spec(1, "cpu", 1, 300, 5, 600, 600, "data", "imports", "cookie")


def test_options_are_words_of_a_shell() -> None:
    assert parsed("""--partition=gpu  --gres=gpu:1 -A lab --comment 'two words'""") == (
        *("--partition=gpu", "--gres=gpu:1", "-A", "lab", "--comment", "two words"),
    )
    assert parsed("") == ()


@pytest.mark.parametrize(
    ("told", "partitions"),
    [("-p gpu", "gpu"), ("-pgpu", "gpu"), ("--partition gpu", "gpu"), ("--partition=a,b", "a,b"), ("--gres=gpu", "")],
)
def test_the_partition_is_found_however_it_is_written(told: str, partitions: str) -> None:
    assert partition(parsed(told)) == partitions


@pytest.mark.parametrize(
    "told",
    [
        *("--array=1-4", "-a 1-4", "-a1-4", "--arr=1-4", "--time=5", "-t 5", "-t5", "--ti=5", "--requeue", "--req"),
        *("--wrap=x", "--wr x", "--export=ALL", "--export-file=/x", "--clusters=b", "-Mb", "--hold", "-H", "--wait"),
        *("--job-name=x", "-Jx", "--nodes=2", "-N2", "-n 4", "--ntasks=4", "--test-only", "--help", "-h", "-V"),
        *("job.sh", "--partition=gpu job.sh", "-p gpu job.sh", "--partition='gpu"),
    ],
)
def test_what_is_not_the_operators_is_refused_in_one_sentence(told: str) -> None:
    with pytest.raises(RunnerUnavailable) as refused:
        parsed(told)
    assert refused.value.problem.startswith("`--slurm` ") and refused.value.problem.endswith(".")


def test_an_engines_limit_comes_after_every_limit_of_ours() -> None:
    assert worst_seconds(SPEC) > 3 * 300 + 600 + 600 + 5
    bounds = profiles.WALL_SHARE, profiles.LEAST_WALL_SECONDS  # the supervisor's own
    assert bounds == (time_limit.WALL_SHARE, time_limit.LEAST_WALL_SECONDS)
    assert 60 * limit_minutes(SPEC) >= worst_seconds(SPEC) + SLACK_SECONDS
    task = TaskSpec("cost", build="make", build_seconds=1000, checks_seconds=500)
    assert worst_seconds(replace(SPEC, task=task)) > 300 + 2 * 1000 + 2 * 500


def test_without_slurm_the_server_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunnerUnavailable, match="Slurm cannot be used from this machine: there is no sbatch here"):
        SlurmEngine.of("")


@pytest.mark.parametrize(
    ("said", "starts"),
    [
        ("allocation failure: Requested node configuration is not available", True),
        ("allocation failure: Required node not available (down, drained or reserved)", True),
        ("allocation failure: Unable to contact slurm controller (connect failure)", True),
        ("allocation failure: Invalid partition name specified", False),
    ],
)
def test_a_server_starts_while_no_node_is_up_since_runs_may_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, starts: bool
) -> None:
    """With an sbatch that says what Slurm 22.05 has said to `--test-only`."""
    script = f"#!/bin/sh\n[ $1 = --version ] || {{ echo 'sbatch: error: {said}' >&2; exit 1; }}\n"
    (tmp_path / "sbatch").write_text(script, encoding="ascii")
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    if starts:
        assert SlurmEngine.of("--partition=gpu").words == ("--partition=gpu",)
    else:
        with pytest.raises(RunnerUnavailable, match="Slurm refuses such jobs: Invalid partition name specified"):
            SlurmEngine.of("--partition=gpu")


def test_slots_are_counted_by_the_operator(tmp_path: Path) -> None:
    site = RunSite(tmp_path, tmp_path, tmp_path, tmp_path, tmp_path, SlotRequest("auto", "gpu"))
    with pytest.raises(RunnerUnavailable, match="Say how many jobs"):
        SlurmExecutor((), site)


def test_nothing_of_this_machines_devices_reaches_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "SBATCH_ARRAY_INX", "ROCR_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", "/shared")
    told = commands.job_environment({"OWN": "1"})
    assert told["OWN"] == "1" and told["HF_HOME"] == "/shared"
    assert not {"CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "SBATCH_ARRAY_INX", "ROCR_VISIBLE_DEVICES"} & set(told)


def _script(folder: Path, nonce: str = "abc") -> int:
    """The exit code of a job's script, whose entry is replaced by one that ends at once."""
    told = commands.job_script(folder, nonce).replace("trainer.node.seat", "this")
    return subprocess.run(["sh", "-c", told]).returncode


def test_a_jobs_script_says_by_its_exit_code_what_its_node_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a földer 'x'"
    assert _script(folder) == commands.NO_FOLDER
    folder.mkdir()
    assert _script(folder) == commands.OTHER_FOLDER
    (folder / RunFile.JOB).write_text(json.dumps({"nonce": "abc"}), encoding="utf-8")
    assert _script(folder) == 0
    assert _script(folder, "abd") == commands.OTHER_FOLDER
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert _script(folder) == commands.NO_PYTHON
    monkeypatch.undo()
    monkeypatch.setattr(commands, "_SERIES", "2.7")
    assert _script(folder) == commands.NO_PYTHON, "an interpreter of another series at the same path"
    monkeypatch.undo()
    monkeypatch.setattr(commands, "_PACKAGES", tmp_path)
    assert _script(folder) == commands.NO_PACKAGE


@pytest.mark.parametrize("code", [76, 77, 78, 79])
def test_every_such_code_is_a_sentence(code: int) -> None:
    told = commands.unfit(code, "n1", Path("/w"))
    assert told.startswith("Node n1 ") and told.endswith(".")


def test_other_codes_tell_nothing() -> None:
    assert commands.unfit(1, "n1", Path("/w")) == "" == commands.unfit(None, "", Path("/w"))


def test_what_slurm_says_is_read_as_it_prints_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a squeue that prints what Slurm 22.05 has printed; the cluster itself is `make slurm`'s."""
    lines = "1|autoresearch-00001-ab|RUNNING|n1|None\n2|autoresearch-00002-cd|PENDING||Resources\n\nnoise\n"
    (tmp_path / "squeue").write_text(f"#!/bin/sh\nprintf %s {shlex.quote(lines)}\n", encoding="ascii")
    (tmp_path / "scontrol").write_text("#!/bin/sh\necho Slurmctld is DOWN; exit 1\n", encoding="ascii")
    (tmp_path / "sbatch").write_text(
        "#!/bin/sh\necho 'sbatch: error: Batch job submission failed: Unable to contact slurm controller' >&2; exit 1\n"
    )
    for name in ("squeue", "scontrol", "sbatch"):
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    found = commands.queue(["autoresearch-00001-ab", "autoresearch-00002-cd"])
    assert {name: line.state for name, line in found.items()} == {
        "autoresearch-00001-ab": "RUNNING",
        "autoresearch-00002-cd": "PENDING",
    }
    with pytest.raises(commands.SlurmTrouble) as silent:
        commands.ping()
    assert silent.value.silent
    with pytest.raises(commands.SlurmTrouble, match="Unable to contact slurm controller") as refused:
        commands.submit((), "true", {})
    assert refused.value.silent
