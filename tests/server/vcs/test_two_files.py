"""A candidate of two files in git: read, committed, merged, and written as one."""

import json
import os
from pathlib import Path

import pytest

from server.errors import PatchRefused, WorkspaceUnusable
from server.source.candidate import Candidate
from server.vcs.workspace import Workspace
from tests.support.builders import NOON
from tests.support.repositories import git

PATHS = ("train.py", "parts/model.py")


def two(train: str, model: str) -> Candidate:
    return Candidate({"train.py": train, "parts/model.py": model})


FIRST = two("a = 1\nb = 1\nc = 1\n", "x = 1\n")
SECOND = two("a = 2\n", "x = 2\n")


@pytest.fixture
def workspace(repository: Path):
    (repository / "parts").mkdir()
    for path, text in FIRST.items():
        (repository / path).write_text(text, encoding="utf-8")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "two files")
    with Workspace.open(repository, "t1", PATHS) as workspace:
        workspace.prepare()
        yield workspace


def test_a_file_that_is_not_in_the_commit_is_named(repository: Path) -> None:
    with pytest.raises(WorkspaceUnusable, match=r"no parts/model\.py in the commit"):
        Workspace.open(repository, "t1", PATHS)


def test_both_are_read_committed_and_written(workspace: Workspace) -> None:
    parent = workspace.tip()
    assert workspace.candidate() == workspace.files(parent) == FIRST
    commit = workspace.commit(SECOND, parent, "two\n", NOON)
    assert commit == workspace.commit(SECOND, parent, "two\n", NOON)
    assert workspace.files(commit) == SECOND and workspace.files(parent) == FIRST
    assert git(workspace.root, "diff", "--name-only", parent, commit).splitlines() == sorted(PATHS)
    workspace.write_candidate(SECOND)
    assert workspace.candidate() == SECOND and workspace.candidate_sha256() == SECOND.sha256
    workspace.advance(commit, parent)
    assert git(workspace.worktree, "status", "--porcelain") == ""
    assert not [path for path in workspace.state.iterdir() if path.name.startswith((".", "candidate"))]


def test_a_write_that_fails_in_the_middle_leaves_the_old_candidate(workspace: Workspace) -> None:
    (workspace.worktree / "train.py").unlink()
    (workspace.worktree / "train.py").mkdir()  # the second rename of the two fails
    with pytest.raises(WorkspaceUnusable):
        workspace.write_candidate(SECOND)
    (workspace.worktree / "train.py").rmdir()
    workspace.write_candidate(FIRST)
    assert workspace.candidate() == FIRST


def test_a_rename_that_fails_after_another_is_taken_back(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, failed = Path.replace, list[Path]()

    def once(self: Path, target: Path) -> Path:
        """The disk fails at the second file, once."""
        if target.name == "train.py" and not failed:
            failed.append(target)
            raise OSError(5, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", once)
    with pytest.raises(WorkspaceUnusable, match="Input/output error"):
        workspace.write_candidate(SECOND)
    assert failed and workspace.candidate() == FIRST
    assert not list(workspace.worktree.rglob("*.new")) and not list(workspace.state.glob("candidate*"))


def test_a_kill_in_the_middle_leaves_the_old_candidate(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = Path.replace

    def killed(self: Path, target: Path) -> Path:
        """The process ends between the two renames."""
        return os._exit(9) if target.name == "train.py" else replace(self, target)

    child = os.fork()
    if not child:
        monkeypatch.setattr(Path, "replace", killed)
        workspace.write_candidate(SECOND)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert (workspace.worktree / "parts" / "model.py").read_text(encoding="utf-8") == SECOND["parts/model.py"]
    before = json.loads((workspace.state / "candidate.before").read_bytes())
    assert before == dict(FIRST) and workspace.candidate() == FIRST
    assert not (workspace.state / "candidate.before").exists()


def test_a_folder_that_leads_elsewhere_is_neither_read_nor_written(workspace: Workspace, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (workspace.worktree / "parts").rename(outside)
    (workspace.worktree / "parts").symlink_to(outside)
    with pytest.raises(WorkspaceUnusable, match="is a link"):
        workspace.candidate()
    with pytest.raises(WorkspaceUnusable, match="is a link"):
        workspace.write_candidate(SECOND)
    assert (outside / "model.py").read_text(encoding="utf-8") == FIRST["parts/model.py"]


def test_a_merge_takes_each_file_by_itself(workspace: Workspace) -> None:
    ours, theirs = FIRST.with_file("train.py", "a = 3\nb = 1\nc = 1\n"), two("a = 1\nb = 1\nc = 5\n", "x = 7\n")
    assert workspace.merge(FIRST, ours, theirs, "that") == two("a = 3\nb = 1\nc = 5\n", "x = 7\n")
    conflicting = FIRST.with_file("parts/model.py", "x = 9\n")
    with pytest.raises(PatchRefused, match=r"(?s)conflicts.*x = 9.*x = 7"):
        workspace.merge(FIRST, conflicting, theirs, "that")
    with pytest.raises(PatchRefused, match="already"):
        workspace.merge(FIRST, theirs, theirs, "that")
