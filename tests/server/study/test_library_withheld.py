"""A reference library is the operator's: no candidate changes it. A folder that only has its name is the project's."""

from pathlib import Path

from server.library.store import Library
from server.study.lane import what_may_change
from server.task.definition import Task

TASK = Task(command="make bench", editable=["**"], off_limits=["program.md"])


def test_what_the_library_has_is_not_editable(tmp_path: Path) -> None:
    with Library(tmp_path / "library").changing():
        pass
    editable = what_may_change(TASK, tmp_path)
    assert "reference library" in editable.why_not("library/muon.md")
    assert "reference library" in editable.why_not("library/thing@1234567/docs/a.md")
    assert editable.allows("src/library/muon.md") and editable.allows("src/main.c")


def test_a_projects_own_folder_stays_editable(tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "code.c").write_text("int x;\n", encoding="utf-8")
    for root in (tmp_path, None):
        assert what_may_change(TASK, root).allows("library/code.c")
