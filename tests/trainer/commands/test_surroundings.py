"""What is around a command: what stays out of its reach, whatever it is given."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.commands import run_folder, task_spec
from trainer.commands.surroundings import hidden
from trainer.processes.quiet import users_place
from trainer.run.run_folder import RunFolder


@pytest.mark.parametrize("home", [False, True])
def test_no_command_finds_the_locks_by_which_runs_rest_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: bool
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME")
    folder = run_folder(tmp_path, {})
    spec = task_spec(folder)
    assert spec.task
    found = hidden(RunFolder(folder), replace(spec, task=replace(spec.task, home=home)))
    assert users_place() == tmp_path / ".local" / "state" / "autoresearch" and users_place() in found
    assert (tmp_path in found) is not home
