"""What users do to their repository at night: nothing of theirs is overwritten, nothing of ours is lost."""

import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.api import views
from server.cli.doctor import examine
from server.errors import HeadMoved, WorkspaceBusy, WorkspaceUnusable
from server.serve_options import ServeOptions
from server.study.phase import Phase
from server.study.study import Study
from tests.support.builders import only
from tests.support.corruption import emptied, garbage, gone
from tests.support.lifecycle import PATCH, improved, kept_baseline, ran
from tests.support.repositories import git

ELSE = PATCH.replace("model = Bigram()\n", "model = Bigram().float()\n")


@contextmanager
def served(repository: Path, tag: str = "t1") -> Generator[Study]:
    study = Study(repository, tag, ServeOptions(profile="smoke"))
    try:
        yield study
    finally:
        study.close()


def commit_of_the_users(study: Study) -> str:
    """A commit on the night's branch."""
    theirs = git(study.workspace.root, "commit-tree", "HEAD^{tree}", "-p", study.workspace.tip(), "-m", "mine")
    git(study.workspace.root, "update-ref", f"refs/heads/{study.workspace.branch}", theirs)
    return theirs


def test_a_commit_of_the_users_stops_what_would_move_the_branch_and_nothing_else(
    study: Study, repository: Path
) -> None:
    row = improved(study)
    before, theirs = study.workspace.tip(), commit_of_the_users(study)
    with pytest.raises(HeadMoved, match=f"git update-ref refs/heads/{study.workspace.branch} {before}"):
        study.keep("lower")
    assert study.ledger.get(2) == row, "a keep that was refused was written down"
    assert "somebody else moved it" in views.status(study).head_moved
    assert [action.split("(")[0] for action in views.status(study).next_actions[1:]] == ["discard"]
    assert study.discard("not now") and study.phase() is Phase.IDLE
    for move in (lambda: study.run("the incumbent"), lambda: study.apply_patch(ELSE)):
        with pytest.raises(HeadMoved):
            move()
    study.close()
    with served(repository) as after:
        assert after.head_moved and after.workspace.tip() == theirs
        git(repository, "update-ref", f"refs/heads/{after.workspace.branch}", before)
        after.apply_patch(ELSE)
        assert not after.head_moved and ran(after, 1.8).number == 3
        assert after.keep("lower").commit == after.workspace.tip()


def test_a_commit_of_the_users_while_the_baseline_runs_does_not_keep_the_server_from_starting(
    study: Study, repository: Path
) -> None:
    before, theirs = study.workspace.tip(), ""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(study, "settle", lambda: None)
        with pytest.raises(AssertionError):
            ran(study, 2.0)
    theirs = commit_of_the_users(study)
    study.close()
    with served(repository) as after:
        baseline = after.ledger.get(1)
        assert baseline and baseline.kept and after.workspace.tip() == theirs and after.head_moved
        git(repository, "update-ref", f"refs/heads/{after.workspace.branch}", before)
        assert after.phase() is Phase.IDLE and after.workspace.tip() == baseline.commit and not after.head_moved


@pytest.mark.parametrize("restart", [False, True])
def test_a_deleted_branch_is_made_again_where_the_incumbent_is(study: Study, repository: Path, restart: bool) -> None:
    improved(study)
    study.keep("lower")
    tip = study.workspace.tip()
    git(repository, "update-ref", "-d", f"refs/heads/{study.workspace.branch}")
    if restart:
        study.close()
        with served(repository) as after:
            assert after.workspace.tip() == tip and after.phase() is Phase.IDLE
    else:
        study.apply_patch(ELSE.replace("Bigram().to(session.device)", "Bigram()"))
        assert study.workspace.tip() == tip


@pytest.mark.parametrize("copied", [False, True])
def test_a_repository_that_is_moved_or_copied_goes_on(study: Study, repository: Path, copied: bool) -> None:
    improved(study)
    study.close()
    elsewhere = repository.with_name("elsewhere")
    shutil.copytree(repository, elsewhere, symlinks=True) if copied else repository.rename(elsewhere)
    with served(elsewhere) as after:
        row = after.keep("lower")
        assert after.workspace.tip() == row.commit and after.phase() is Phase.IDLE
        linked = after.workspace.worktree
        assert git(linked, "rev-parse", "HEAD") == row.commit and git(linked, "status", "--porcelain") == ""
    if copied:
        with served(repository) as original:
            assert original.phase() is Phase.IMPROVED
            assert git(original.workspace.worktree, "rev-parse", "HEAD") != row.commit


def test_a_worktree_that_a_killed_git_has_left_half_made_is_made_anew(study: Study, repository: Path) -> None:
    kept_baseline(study)
    study.close()
    (repository / ".git" / "worktrees" / "worktree" / "index").unlink()
    (study.workspace.worktree / "program.md").unlink()
    with served(repository) as after:
        assert (after.workspace.worktree / "program.md").exists() and after.phase() is Phase.IDLE


def test_worktrees_of_the_users_that_are_away_are_remembered(study: Study, repository: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    git(repository, "worktree", "add", "--quiet", "-b", "theirs", str(theirs))
    away = theirs.rename(tmp_path / "away")
    shutil.rmtree(study.workspace.worktree)
    assert study.phase() is Phase.NEW
    away.rename(theirs)
    assert git(theirs, "status", "--porcelain") == ""


def test_a_worktree_whose_head_a_power_cut_has_emptied_goes_on(study: Study, repository: Path) -> None:
    improved(study)
    study.close()
    emptied(repository / ".git" / "worktrees" / "worktree" / "HEAD")
    with served(repository) as after:
        assert after.keep("lower").commit == git(after.workspace.worktree, "rev-parse", "HEAD")


@pytest.mark.parametrize(("part", "damage"), [("", emptied), ("^{tree}", garbage), (":train.py", gone)])
def test_a_lost_object_of_the_incumbent_is_told_and_put_back_by_the_operator(
    study: Study, repository: Path, part: str, damage: Callable[[Path], None]
) -> None:
    row = improved(study)
    study.keep("lower")
    study.close()
    name = git(repository, "rev-parse", f"{row.commit}{part}")
    file = repository / ".git" / "objects" / name[:2] / name[2:]
    held = file.read_bytes()
    file.chmod(0o644)
    damage(file)
    with pytest.raises(WorkspaceUnusable) as refused, served(repository):
        pass
    told = next(check.remedy for check in examine(repository) if check.name == "workspace")
    assert "git fsck" in told == refused.value.next_step and "--tag NAME" in told
    with served(repository, "another") as new:
        assert new.phase() is Phase.NEW
    file.write_bytes(held)
    with served(repository) as after:
        assert after.phase() is Phase.IDLE and after.ledger.incumbent() == after.ledger.get(2)


@pytest.mark.parametrize("damage", [emptied, garbage, gone])
def test_an_object_that_is_lost_under_a_server_is_told_alike(study: Study, damage: Callable[[Path], None]) -> None:
    kept_baseline(study)
    tree = git(study.workspace.root, "rev-parse", f"{study.workspace.tip()}^{{tree}}")
    file = study.workspace.root / ".git" / "objects" / tree[:2] / tree[2:]
    held, idea = file.read_bytes(), (only("x = 1\n"), study.workspace.tip(), "an idea", "2026-01-01T12:00:00+00:00")
    file.chmod(0o644)
    damage(file)
    with pytest.raises(WorkspaceUnusable) as refused:
        study.workspace.commit(*idea)
    assert "git fsck" in refused.value.next_step
    file.write_bytes(held)
    assert git(study.workspace.root, "log", "-1", "--format=%s", study.workspace.commit(*idea)) == "an idea"


def test_no_filter_runs_that_the_user_has_for_worktrees_alone(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "loud").write_text('[filter "loud"]\n\tsmudge = "echo filtered"\n\tclean = cat\n', encoding="utf-8")
    (repository / ".gitattributes").write_text("program.md filter=loud\n", encoding="utf-8")
    git(repository, "add", ".gitattributes")
    git(repository, "commit", "--quiet", "-m", "attributes")
    git(repository, "config", "includeIf.onbranch:autoresearch/.path", str(tmp_path / "loud"))
    with served(repository) as study:
        assert (study.workspace.worktree / "program.md").read_bytes() == (repository / "program.md").read_bytes()


@pytest.mark.parametrize("command", [("clean", "-ffdxq"), ("clean", "-fdxq"), ("stash", "-aq")])
def test_what_a_cleaning_user_takes_away_is_there_again(
    study: Study, repository: Path, command: tuple[str, ...]
) -> None:
    row = improved(study)
    git(repository, *command)
    with pytest.raises(WorkspaceBusy):
        Study(repository, "t1", ServeOptions(profile="smoke"))
    assert study.settle() == row and study.workspace.state.exists()
    if study.phase() is Phase.IMPROVED:
        study.discard("start again")
    assert study.phase() is Phase.IDLE
    study.apply_patch(ELSE)
    assert ran(study, 1.8).number == 3
    assert study.keep("lower").commit == study.workspace.tip()


def test_two_checkouts_of_a_repository_do_not_share_a_night(study: Study, repository: Path, tmp_path: Path) -> None:
    row, other = improved(study), tmp_path / "other"
    git(repository, "worktree", "add", "--quiet", "-b", "other", str(other))
    with pytest.raises(WorkspaceBusy, match="on the study t1"):
        Study(other, "t2")
    study.close()
    with pytest.raises(WorkspaceUnusable, match=r"The study of autoresearch/t1 is in .*, or another --tag"):
        Study(other, "t1")
    with served(other, "t2") as second:
        assert second.phase() is Phase.NEW
    with served(repository) as after:
        assert after.settle() == row
