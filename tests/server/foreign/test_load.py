"""One program of a workspace: ours wins, ours may add to another tool's, and a study does not lose its limits."""

from pathlib import Path

import pytest

from server.errors import ProgramInvalid, WorkspaceUnusable
from server.foreign.load import copy_untracked, load, reported_summary, require_scripts, task_of
from server.paths import StudyPaths
from server.task.program import remember
from tests.support.foreign import hashes, lay_out, repository
from tests.support.repositories import git
from trainer.contract import Referee

OURS = "---\nname: ours\ncommand: bash b.sh\nmetric: ms\neditable: a.py\n---\nGo.\n"


def write(root: Path, text: str) -> Path:
    path = root / "program.md"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_files_of_another_tool_define_the_task_and_are_what_read_program_returns(tmp_path: Path) -> None:
    lay_out("auto", tmp_path)
    before = hashes(tmp_path)
    found = load(tmp_path / "program.md")
    assert (found.task.metric.name, found.format) == ("steps_made", "pi-autoresearch")
    assert found.task.kind_reason == (
        "the workspace has .auto/prompt.md, .auto/measure.sh, .auto/log.jsonl of pi-autoresearch"
    )
    assert "written for pi-autoresearch" in found.text and "## What's Been Tried" in found.text
    assert 'history(verdict="reported")' in found.text and found.gist == "Autoresearch: count words faster"
    assert task_of(tmp_path / "program.md").measure.name == "steps_made"
    assert ".auto/log.jsonl reports 5 earlier attempts (3 kept, 2 without a number, 2 segments)" in reported_summary(
        tmp_path
    )
    assert hashes(tmp_path) == before


def test_a_front_matter_of_ours_wins_and_a_bare_program_of_a_language_model_too(tmp_path: Path) -> None:
    lay_out("auto", tmp_path)
    assert load(write(tmp_path, OURS)).task.name == "ours"
    write(tmp_path, "# Upstream's words, without a front matter\n")
    assert load(tmp_path / "program.md").format == "pi-autoresearch"
    (tmp_path / "train.py").write_text("from trainer import Session\n", encoding="utf-8")
    found = load(tmp_path / "program.md")
    assert (found.format, found.task.kind) == ("", Referee.SEALED)


def test_a_program_of_ours_that_names_the_format_adds_to_it(tmp_path: Path) -> None:
    lay_out("unconfinable", tmp_path)
    found = load(write(tmp_path, "---\nformat: pi-autoresearch\nnetwork: true\nstop: {hours: 8}\n---\n"))
    assert (found.task.network, found.task.stop.hours, found.task.command) == (True, 8, "bash .auto/measure.sh")
    told = "\n".join(lack.remedy for lack in found.remarks)
    assert "home: true" in told and "network: true" not in told


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ("format: autoauto", "program.md, format: there is no workspace of 'autoauto'.*there is pi-autoresearch"),
        ("format: 3", "program.md, format: 3 is no name"),
        ("format: pi-autoresearch\nrepeats: 0", "program.md line 3, repeats: "),
        (
            "format: pi-autoresearch\nreapeats: 2",
            "program.md line 3, reapeats: there is no such field, did you mean rep",
        ),
        ("format: pi-autoresearch\njudge: j/j.py", "judge"),
        (
            "format: pi-autoresearch\neditable: ['.auto/**', src]\noff_limits: []\nmetrics: {steps_made: {max: 1}}",
            "metric",
        ),
    ],
)
def test_a_wrong_field_of_ours_is_refused_with_its_line(tmp_path: Path, fields: str, why: str) -> None:
    lay_out("auto", tmp_path)
    with pytest.raises(ProgramInvalid, match=why):
        load(write(tmp_path, f"---\n{fields}\n---\n"))


def test_a_value_of_theirs_that_cannot_be_is_refused_with_their_file(tmp_path: Path) -> None:
    lay_out("two_programs", tmp_path)
    config = tmp_path / ".autoauto/programs/one/config.json"
    config.write_text(config.read_text(encoding="utf-8").replace('"repeats": 1', '"repeats": 5000'), encoding="utf-8")
    with pytest.raises(ProgramInvalid, match=r"programs/one/config\.json, repeats, repeats: Input should be less"):
        load(write(tmp_path, "---\nformat: autoauto/one\n---\n"))


def test_a_study_with_limits_of_ours_does_not_fall_back_to_the_files_of_another_tool(tmp_path: Path) -> None:
    lay_out("auto", tmp_path)
    path, state = tmp_path / "program.md", tmp_path / "state"
    state.mkdir()
    StudyPaths(state).ledger.touch()
    remember(state, load(path, state))
    assert load(path, state).format == "pi-autoresearch"  # it began with these
    remember(state, load(write(tmp_path, OURS), state))
    path.unlink()
    with pytest.raises(ProgramInvalid, match="no longer has the front matter"):
        load(path, state)


def test_a_study_that_began_with_our_front_matter_keeps_to_it(tmp_path: Path) -> None:
    """As earlier versions have noted it: an empty file."""
    lay_out("auto", tmp_path)
    (tmp_path / "state").mkdir()
    StudyPaths(tmp_path / "state").front_matter.touch()
    with pytest.raises(ProgramInvalid, match="no longer has the front matter"):
        load(tmp_path / "program.md", tmp_path / "state")


def test_files_are_brought_into_a_run_as_they_were_pinned_or_not_at_all(tmp_path: Path) -> None:
    root, tree = tmp_path / "root", tmp_path / "tree"
    repository("untracked", root)
    (tree / "src").mkdir(parents=True)
    pinned = load(root / "program.md").task.brought
    copy_untracked(root, pinned, tree)
    assert (tree / ".auto/bench.py").read_bytes() == (root / ".auto/bench.py").read_bytes()
    assert (tree / ".auto/measure.sh").stat().st_mode & 0o100
    (root / ".auto/bench.py").write_text("print('METRIC n=0')\n", encoding="utf-8")
    copy_untracked(root, pinned, tree)  # what is there stays
    (tree / ".auto/measure.sh").write_text("echo METRIC n=0\n", encoding="utf-8")
    with pytest.raises(WorkspaceUnusable, match="from the checkout, where"):
        copy_untracked(root, pinned, tree)
    (tree / ".auto/measure.sh").unlink()
    (tree / ".auto/bench.py").unlink()
    with pytest.raises(WorkspaceUnusable, match="has just changed"):
        copy_untracked(root, pinned, tree)
    (root / ".auto/bench.py").unlink()
    with pytest.raises(WorkspaceUnusable, match="cannot be brought into a run: No such file"):
        copy_untracked(root, pinned, tree)


def test_a_commit_without_the_script_that_measures_is_no_fault_of_the_candidate(tmp_path: Path) -> None:
    root, tree = tmp_path / "root", tmp_path / "tree"
    tree.mkdir()
    repository("untracked", root)
    before = load(root / "program.md").task
    copy_untracked(root, before.brought, tree)
    require_scripts(before, tree)
    git(root, "add", "--force", ".auto")  # in mid-study: the study's commits lack it
    (tree / ".auto/measure.sh").unlink()
    after = load(root / "program.md").task
    copy_untracked(root, after.brought, tree)
    with pytest.raises(WorkspaceUnusable, match=r"do not have \.auto/measure\.sh.*\n?.*new --tag"):
        require_scripts(after, tree)
