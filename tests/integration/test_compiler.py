"""A machine on which torch.compile cannot work: runs are eager and say so; no idea is blamed, nor excused."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import asdict
from pathlib import Path

import pytest

from server.api import views
from server.api.next_actions import next_calls
from server.cli.doctor import _compiler as doctor  # pyright: ignore[reportPrivateUsage]
from server.history.comparisons import segment
from server.records import Outcome, Result
from server.runs.run_spec import RunLimits
from server.runs.spawn import compiler as tried
from server.runs.spawn import probe_guards
from server.study.study import Study
from tests.support.builders import NOON, attempt
from tests.support.lifecycle import kept_baseline, measured, ran
from tests.support.polling import ended
from tests.support.repositories import STAND_INS
from tests.support.runs import local_executor, start_run
from trainer.contract import Spec
from trainer.run import compiler
from trainer.run.compiler import torchless
from trainer.run.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
COMPILING = (
    (STAND_INS / "honest.py")
    .read_text(encoding="utf-8")
    .replace("RATE = 0.03", "twice = torch.compile(lambda x: (x * 2 + 1).sin())\ntwice(torch.ones(64))\nRATE = 0.03")
)
FORGED = "raise RuntimeError('InvalidCxxCompiler: No working C++ compiler found in torch._inductor.config.cpp.cxx')"
needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("g++") is None, reason="needs a compiler that works, on Linux"
)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH, with no compiler in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("git", "sh", "env", "uname"):
        (folder / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(folder))
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    return folder


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def run(folder: Path, data: Path, text: str, **terms: object) -> Result:
    executor = local_executor(folder / "tag", data, folder)
    about = attempt(1).model_copy(update={"profile": "smoke", "budget_seconds": 0.5})
    given = RunLimits(setup_seconds=300, evaluation_seconds=300, grace_seconds=2, preflight=False, confine=False)
    start_run(executor, about, text, given.model_copy(update=terms))
    return ended(executor)


def spec(folder: Path, data: Path, profile: str = "smoke", confine: bool = False) -> Spec:
    return Spec(1, profile, 42, 0.5, 1.0, 300.0, 300.0, str(data), str(folder), str(folder), confine=confine)


@pytest.mark.slow
def test_without_a_compiler_a_train_py_that_compiles_runs_eagerly_and_the_row_says_why(
    bare: Path, tmp_path: Path, data: Path
) -> None:
    result = run(tmp_path, data, COMPILING, preflight=True)
    assert result.outcome is Outcome.FINISHED, result
    assert result.figures.compiler == "none: eager, there is no C++ compiler (g++ is not on the PATH)"
    assert "there is no C++ compiler" in result.reason


@needs_compiler
@pytest.mark.parametrize(
    ("profile", "name", "text", "words"),
    [
        ("smoke", "g++", "exit 0", "cannot be loaded"),
        ("smoke", "g++", "echo 'fatal error: omp.h: no such file' >&2; exit 1", "omp.h"),
        ("gpu", "gcc", "exit 1", "exit code 1"),
        ("gpu", "none", "", "there is no C compiler (gcc is not on the PATH)"),
        ("smoke", "CXX", "exit 3", "CXX does not work (exit code 3)"),
        ("gpu", "CC", "exit 3", "CC does not work (exit code 3)"),
    ],
)
def test_each_way_of_not_compiling_is_named(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: str, name: str, text: str, words: str
) -> None:
    made = script(bare / name, text)
    if name.isupper():
        monkeypatch.setenv(name, str(made))
    assert words in compiler.broken(RunFolder(tmp_path), spec(tmp_path, tmp_path, profile))


@needs_compiler
@pytest.mark.parametrize("name", ["a tag", "it's"])
def test_a_path_that_torch_does_not_quote_for_the_compiler_is_told(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    assert "a space or a quote in its path" in compiler.broken(RunFolder(folder), spec(folder, tmp_path))
    assert "a space or a quote in its path" in tried("smoke", folder)
    if shutil.which("gcc"):
        assert compiler.broken(RunFolder(folder), spec(folder, tmp_path, "gpu")) == ""  # Triton needs no shell


@needs_compiler
def test_missing_headers_of_python_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(name: str) -> str:
        return str(tmp_path)

    monkeypatch.setattr(sysconfig, "get_path", nowhere)
    assert "the headers of Python are missing" in compiler.broken(RunFolder(tmp_path), spec(tmp_path, tmp_path))


@needs_compiler
def test_a_compiler_out_of_the_guards_reach_is_none(bare: Path, tmp_path: Path) -> None:
    if probe_guards()["files"] != "held":
        pytest.skip("this machine has no guard around files")
    script(bare / "g++", f'PATH=/bin:/usr/bin exec {shutil.which("g++", path="/bin:/usr/bin")} "$@"')
    box, data = RunFolder(tmp_path), tmp_path
    assert "cannot be run" in compiler.broken(box, spec(tmp_path, data, confine=True))
    assert compiler.broken(box, spec(tmp_path, data, confine=False)) == ""


@needs_compiler
def test_a_compiler_that_works_is_tried_once_until_it_changes(bare: Path, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    real = shutil.which("g++", path="/bin:/usr/bin")
    wrapper = script(bare / "g++", f'echo >>"{calls}"\nPATH=/bin:/usr/bin exec {real} "$@"')
    box = RunFolder(tmp_path)
    for _ in range(3):
        assert compiler.broken(box, spec(tmp_path, tmp_path)) == ""
    assert len(calls.read_bytes()) == 1
    os.utime(wrapper, (0, 0))
    assert compiler.broken(box, spec(tmp_path, tmp_path)) == "" and len(calls.read_bytes()) == 2
    assert not list(tmp_path.glob("compiler-*"))


@needs_compiler
def test_what_train_py_says_of_a_compiler_is_believed_only_where_the_machine_agrees(tmp_path: Path, data: Path) -> None:
    result = run(tmp_path, data, FORGED)
    assert (result.outcome, result.cause) == (Outcome.CRASHED, "exception"), result


@pytest.mark.parametrize("preflight", [pytest.param(True, marks=pytest.mark.thorough), False])
def test_what_needs_a_compiler_all_the_same_fails_for_the_machines_reasons(
    bare: Path, tmp_path: Path, data: Path, preflight: bool
) -> None:
    result = run(tmp_path, data, FORGED, preflight=preflight)
    assert (result.outcome, result.cause) == (Outcome.ENV_FAIL, "no_compiler"), result
    assert "there is no C++ compiler" in result.reason and "The operator runs `autoresearch doctor`" in result.reason


def test_without_torch_a_run_is_the_machines_failure(tmp_path: Path, data: Path) -> None:
    packages, run_folder = tmp_path / "packages", tmp_path / "run"
    packages.mkdir()
    run_folder.mkdir()
    found = [entry for name in sys.path if name.endswith("-packages") for entry in Path(name).iterdir()]
    for name, entry in {entry.name: entry for entry in reversed(found)}.items():  # of two, the first is imported
        if not name.startswith(("torch", "functorch", "__")) and entry.suffix != ".pth":
            (packages / name).symlink_to(entry)
    venv.create(tmp_path / "python", symlinks=True)
    python = tmp_path / "python" / "bin" / "python"
    (site,) = (tmp_path / "python").glob("lib/*/site-packages")
    (site / "packages.pth").write_text(f"{packages}\n", encoding="utf-8")
    (run_folder / "spec.json").write_text(json.dumps(asdict(spec(run_folder, data))), encoding="utf-8")
    (run_folder / "train.py").write_text(COMPILING, encoding="utf-8")
    subprocess.run([python, "-m", "trainer.supervisor", run_folder], cwd=ROOT, check=True)
    told = json.loads((run_folder / "result.json").read_bytes())
    assert (told["outcome"], told["cause"]) == ("env_fail", "no_torch"), told
    assert "torch cannot be imported on this machine" in told["reason"] and "No module named 'torch'" in told["reason"]


@pytest.mark.slow
def test_a_gpu_that_is_lost_is_the_machines_failure_where_the_machine_agrees(tmp_path: Path, data: Path) -> None:
    result = run(tmp_path, data, "raise RuntimeError('CUDA error: no CUDA-capable device is detected')")
    assert (result.outcome, result.cause) == (Outcome.CRASHED, "exception"), result  # the CPU is there


@pytest.mark.thorough
def test_a_gpu_that_torch_does_not_see_is_told(tmp_path: Path) -> None:
    if why := torchless(RunFolder(tmp_path), "cookie", "cuda"):  # here is no GPU
        assert "torch sees no GPU" in why


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("no_such_module", marks=pytest.mark.thorough), "torch_such_module"])
def test_an_import_that_is_train_pys_own_mistake_stays_its_own(tmp_path: Path, data: Path, name: str) -> None:
    result = run(tmp_path, data, f"import {name}")
    assert (result.outcome, result.cause) == (Outcome.CRASHED, "import_error"), result


def test_doctor_warns_of_a_missing_compiler(bare: Path, tmp_path: Path) -> None:
    for profile, name in (("smoke", "g++"), ("gpu", "gcc")):
        told = doctor(profile, tmp_path)
        assert told.state == "warning" and f"{name} is not on the PATH" in told.detail and "install gcc" in told.remedy


def test_an_eager_run_is_told_and_is_compared_with_none_that_was_compiled(study: Study) -> None:
    compiled = kept_baseline(study)
    assert views.status(study).compiler == ""
    eager = ran(study, measured(2.1, compiler="none: eager, there is no C++ compiler"))
    assert views.status(study).compiler == "none: eager, there is no C++ compiler"
    assert segment(compiled) != segment(eager)


def test_after_the_machines_failure_the_operator_is_not_sent_to_train_py(study: Study) -> None:
    ran(study, Result(outcome=Outcome.ENV_FAIL, reason="no compiler", cause="no_compiler", finished_at=NOON))
    assert any("autoresearch doctor" in action.why for action in next_calls(study))
    assert not any("repair and commit train.py" in action.why for action in next_calls(study))


def test_train_py_is_told_whether_its_device_has_a_compiler(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from trainer.session import Session

    def headers(_: str) -> str:
        return str(bare)

    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(sysconfig, "get_path", headers)
    monkeypatch.delenv("TORCHDYNAMO_DISABLE", raising=False)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    cpu, gpu = (Session.__new__(Session) for _ in range(2))
    cpu.device, gpu.device = torch.device("cpu"), torch.device("cuda")

    def able() -> tuple[bool, bool]:
        return cpu.has_compiler, gpu.has_compiler

    (bare / "Python.h").touch()
    assert able() == (False, False)
    script(bare / "gcc", "")
    assert able() == (False, True)
    script(bare / "g++", "")
    assert able() == (True, True)
    monkeypatch.setenv("CC", "/nonexistent")
    assert able() == (True, False)
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
    assert able() == (False, False)
    monkeypatch.delenv("TORCHDYNAMO_DISABLE")
    (bare / "Python.h").unlink()
    assert able() == (False, False)
