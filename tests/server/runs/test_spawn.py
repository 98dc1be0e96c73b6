"""What the trainer's modules are asked: an answer that does not come says so, and what helps."""

from pathlib import Path

import pytest

from server.errors import RunnerUnavailable
from server.runs.spawn import torch_view
from trainer.contract import ProfileName


def stand_in(folder: Path, text: str) -> None:
    """A trainer whose module for questions about torch is this text."""
    (folder / "trainer" / "run").mkdir(parents=True)
    for place in ("trainer", "trainer/run"):
        (folder / place / "__init__.py").touch()
    (folder / "trainer" / "run" / "compiler.py").write_text(text, encoding="utf-8")


def test_a_busy_machine_is_not_called_a_broken_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text, problem, step in (
        ("hangs", "import signal\nsignal.pause()\n", r"no answer within 0\.5 s", "too busy"),
        ("slow", 'print(\'{"problem": "importing torch takes long", "slow": true}\')\n', "takes long", "too busy"),
        ("broken", "raise SystemExit(3)\n", "exit status 3", "check the installation"),
    ):
        stand_in(tmp_path / name, text)
        monkeypatch.setattr("server.runs.spawn._PACKAGES", tmp_path / name)
        monkeypatch.setattr("server.runs.spawn._TORCH_SECONDS", 0.5 if name == "hangs" else 60.0)
        with pytest.raises(RunnerUnavailable, match=problem) as refused:
            torch_view(ProfileName.CPU)
        assert step in refused.value.next_step
