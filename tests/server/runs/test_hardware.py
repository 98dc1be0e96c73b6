"""The profile that a machine gets."""

import sys
from pathlib import Path

import pytest

from server.runs.hardware import Hardware, default_profile, file_system

LAPTOP = Hardware(gpu=None, gpu_memory_gb=None, driver=None, cpu="x", cores=2, memory_gb=16.0, platform="Linux")


@pytest.mark.parametrize(
    ("gigabytes", "profile"),
    [(8.0, "gpu-small"), (24.0, "gpu-small"), (32.0, "gpu-small"), (40.0, "gpu"), (139.8, "gpu")],
)
def test_a_gpu_gets_the_profile_that_its_memory_holds(gigabytes: float, profile: str) -> None:
    machine = LAPTOP.model_copy(update={"gpu": "one", "gpu_memory_gb": gigabytes})
    assert default_profile(machine) == profile


def test_a_gpu_that_does_not_tell_its_memory_counts_as_large() -> None:
    assert default_profile(LAPTOP.model_copy(update={"gpu": "one"})) == "gpu"


def test_the_kind_of_a_file_system_is_told(tmp_path: Path) -> None:
    if sys.platform == "linux":
        assert file_system(Path("/proc/self")) == "proc"
    assert file_system(tmp_path / "not" / "there")
