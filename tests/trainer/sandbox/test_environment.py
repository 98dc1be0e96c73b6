"""What a run gets of the server's environment, and which of the places that it names can be read."""

import os
from pathlib import Path

import pytest

from trainer.sandbox.allowlist import build_allowlist
from trainer.sandbox.environment import passed_on, without_current_folder


def test_what_drivers_and_compilers_need_is_passed_on_and_no_secret() -> None:
    needed = [
        *("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "HSA_OVERRIDE_GFX_VERSION_1"),
        *("NVIDIA_VISIBLE_DEVICES", "TRITON_PTXAS_PATH", "CPATH", "LIBRARY_PATH", "CC", "CXX", "CUDA_HOME", "PATH"),
        *("LD_LIBRARY_PATH", "PYTORCH_CUDA_ALLOC_CONF", "KMP_DUPLICATE_LIB_OK"),
    ]
    others = [
        "NVIDIA_API_KEY",
        "HF_TOKEN",
        "AUTORESEARCH_TOKEN",
        "HOME",
        "PYTHONPATH",
        "TRITON_CACHE_DIR",
        "LD_PRELOAD",
    ]
    assert set(passed_on(dict.fromkeys([*needed, *others], "1"))) == set(needed)


def test_what_a_variable_names_can_be_read_but_nothing_with_a_secret_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools, workspace = tmp_path / "tools", tmp_path / "workspace"
    for folder in (tools / "include", workspace / "data"):
        folder.mkdir(parents=True)
    (tools / "ptxas").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRITON_PTXAS_PATH", str(tools / "ptxas"))
    named = [tools / "include", workspace, workspace / "data" / "deep", Path("relative"), tmp_path / "home", Path("/")]
    monkeypatch.setenv("CPATH", os.pathsep.join(map(str, named)))
    (workspace / "data" / "deep").mkdir()
    reach = build_allowlist(tmp_path / "train.py", tmp_path / "scratch", tmp_path / "none", [workspace / "data"])
    found = {path for path in (*reach.readable, *reach.listed) if path.is_relative_to(tmp_path) or path == Path("/")}
    assert found == {tools / "include", tools / "ptxas", tmp_path / "train.py"}


def test_nothing_in_the_current_folder_is_found_where_a_candidate_has_filled_it() -> None:
    told = {
        "LD_LIBRARY_PATH": ":/opt/cuda/lib64:",
        "NIX_LD_LIBRARY_PATH": "lib",
        "PATH": ".:/bin::/usr/bin",
        "CC": "cc",
    }
    assert without_current_folder(told) == {"LD_LIBRARY_PATH": "/opt/cuda/lib64", "PATH": "/bin:/usr/bin", "CC": "cc"}
