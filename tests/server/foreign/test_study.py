"""A study in another tool's workspace: what doctor and answers say of it, and what its agent cannot change."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

from server.api import history_views, views
from server.cli.doctor import _program, _referee  # pyright: ignore[reportPrivateUsage]
from server.cli.entry import main
from server.errors import PatchRefused, UnknownVerdict, WorkspaceUnusable
from server.foreign.load import load
from server.records import Outcome, Result, Score, Trust
from server.serve_options import ServeOptions
from server.study.lane import what_may_change
from server.study.study import Study
from tests.support.builders import NOON
from tests.support.foreign import repository
from tests.support.lifecycle import ran
from tests.support.repositories import git

ADDS = "--- /dev/null\n+++ b/{}\n@@ -0,0 +1 @@\n+echo METRIC n=0\n"


@pytest.fixture
def study(tmp_path: Path) -> Generator[Study]:
    """One in a session of pi-autoresearch whose log has grown since the last commit."""
    root = repository("auto", tmp_path / "root")
    with (root / ".auto/log.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"run":6,"commit":"5555555","metric":36,"status":"keep","description":"Fewer subshells"}\n')
    with closing(Study(root, "t1", ServeOptions(profile="smoke"))) as opened:
        yield opened


def with_baseline(study: Study) -> Study:
    score = Score(name="steps_made", value=40, unit="steps", trust=Trust.PRINTED)
    result = Result(outcome=Outcome.FINISHED, reason="ok", score=score, guards={"files": "held"}, finished_at=NOON)
    assert ran(study, result).kept
    return study


@pytest.mark.parametrize("path", [".auto/measure.sh", ".auto/more.sh", "autoresearch.sh", "src/fixed.sh"])
def test_the_agent_changes_no_script_of_the_tool_and_adds_none(study: Study, path: str) -> None:
    with pytest.raises(PatchRefused, match=path):
        views.apply_patch(with_baseline(study), ADDS.format(path), "", 0)


def test_the_agent_takes_the_place_of_no_file_that_a_run_is_given(tmp_path: Path) -> None:
    root = repository("untracked", tmp_path / "root")
    (root / "src/gen.py").write_text("print('METRIC n=1')\n", encoding="utf-8")  # git does not have it
    measure = root / ".auto/measure.sh"
    measure.write_text(f"{measure.read_text(encoding='utf-8')}python3 src/gen.py\n", encoding="utf-8")
    (root / "program.md").write_text("---\nformat: pi-autoresearch\neditable: [src/**]\n---\n", encoding="utf-8")
    task = load(root / "program.md").task
    assert "src/gen.py" in task.brought and task.may_edit("src/gen.py")
    assert "each run gets" in what_may_change(task).why_not("src/gen.py")
    assert what_may_change(task).allows("src/other.py")


def test_a_run_that_cannot_be_laid_out_has_an_end_and_is_no_fault_of_the_candidate(tmp_path: Path) -> None:
    root = repository("untracked", tmp_path / "root")
    with closing(Study(root, "t1", ServeOptions(profile="smoke"))) as opened:
        git(root, "add", "--force", ".auto")  # git has it now, and the commit does not
        with pytest.raises(WorkspaceUnusable, match=r"do not have \.auto/measure\.sh"):
            opened.run("baseline")
        last = opened.settle()
        assert last and last.result and last.result.outcome is Outcome.ENV_FAIL
        assert ".auto/measure.sh" in last.result.reason


def test_an_attempt_in_the_words_of_an_earlier_one_is_told(study: Study) -> None:
    patch = "src/count.sh\n<<<<<<< SEARCH\necho 40\n=======\n# lookup table for separators\necho 30\n>>>>>>> REPLACE\n"
    told = views.apply_patch(with_baseline(study), patch, "", 0).note
    assert "Perhaps tried before, according to .auto/log.jsonl: 5: discard 37 steps, segment 2, Lookup table" in told


def test_reports_are_listed_and_never_counted(study: Study) -> None:
    listed = history_views.list_experiments(study, 2, 1, "reported")
    assert listed.reported and [row.run for row in listed.reported] == ["5", "4"]
    assert (listed.total, listed.rows) == (6, [])
    assert "2 lines of .auto/log.jsonl cannot be read" in listed.next_actions[-1]
    lessons = history_views.lessons_reply(study)
    assert lessons.reported and [row.run for row in lessons.reported] == ["6", "2", "5", "4", "3", "1"]
    assert lessons.total == 0 and views.status(study).experiments == 0
    with pytest.raises(UnknownVerdict):
        history_views.list_experiments(study, 2, 0, "rumoured")


def test_a_table_beside_a_program_of_ours_is_read_as_reports(tmp_path: Path) -> None:
    root = repository("leo", tmp_path / "root")
    with closing(Study(root, "t1", ServeOptions(profile="smoke"))) as opened:
        reported = history_views.list_experiments(opened, 20, 0, "").reported
        assert reported and [(row.run, row.value) for row in reported] == [("2a", None), ("1", 87.1), ("0", 85.2)]


def test_doctor_says_what_was_taken_and_what_the_script_needs(tmp_path: Path) -> None:
    root = repository("unconfinable", tmp_path / "root")
    assert _program(root).detail == "ci; 600 s a run; from the files of pi-autoresearch"
    found = _referee(root)
    assert found.state == "warning"
    assert "command, because the workspace has .auto/prompt.md, .auto/measure.sh of pi-autoresearch" in found.detail
    assert (
        "line 7: `curl` wants the network" in found.detail and "`network: true`, if the run may use it" in found.remedy
    )


def test_doctor_finds_scripts_that_are_brought_along(tmp_path: Path) -> None:
    root = repository("plain_names", tmp_path / "root")
    git(root, "rm", "--quiet", "--cached", "autoresearch.sh")
    git(root, "commit", "--quiet", "-m", "not in git")
    found = _referee(root)
    assert found.state == "warning" and "git does not have autoresearch.sh: each run gets a copy" in found.detail


def test_the_history_on_the_command_line_tells_of_reports(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    root = study.workspace.root
    with pytest.raises(SystemExit):
        main(["history", "--workspace", str(root)])
    told = " ".join(capsys.readouterr().out.split())
    assert "reports 6 earlier attempts (4 kept, 2 without a number, 2 segments)" in told
