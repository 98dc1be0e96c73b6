"""What another tool's workspace says is proposed, and what it does not say is asked for."""

from pathlib import Path

from server.adopt.known_formats import known_workspaces
from tests.support.foreign import repository


def test_a_workspace_of_another_tool_proposes_its_values(tmp_path: Path) -> None:
    (known,) = known_workspaces(repository("auto", tmp_path))
    assert (known.format, known.task.command) == ("pi-autoresearch", "bash .auto/measure.sh")
    assert known.task.editable == ["src/count.sh"] and known.goal.startswith("# Autoresearch")
    assert any("hooks" in told for told in known.remarks)


def test_what_it_does_not_say_is_told_and_left_open(tmp_path: Path) -> None:
    (known,) = known_workspaces(repository("no_direction", tmp_path))
    assert known.task.command == "bash autoresearch.sh"
    assert not {"direction", "editable", "metric"} & known.task.model_fields_set
    assert "lower or higher numbers are better" in " ".join(known.remarks)


def test_a_repository_without_one_proposes_none(tmp_path: Path) -> None:
    assert known_workspaces(tmp_path) == []
