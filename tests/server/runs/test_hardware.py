"""What the server sees of the machine."""

import sys
from pathlib import Path

import pytest

from server.runs.hardware import file_system, torch_build


def test_the_kind_of_a_file_system_is_told(tmp_path: Path) -> None:
    if sys.platform == "linux":
        assert file_system(Path("/proc/self")) == "proc"
    assert file_system(tmp_path / "not" / "there")


@pytest.mark.slow
def test_what_torch_was_built_for_is_told_without_importing_it() -> None:
    import torch

    expected = "rocm" if torch.version.hip else "cuda" if torch.version.cuda else "cpu"
    assert torch_build() == expected
