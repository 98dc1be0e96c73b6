"""What users do to their repository at night: nothing of theirs is overwritten, nothing of ours is lost."""

import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server import answer
from server.choices import Choices
from server.doctor import examine
from server.errors import HeadMoved, WorkspaceBusy, WorkspaceUnusable
from server.phase import Phase
from server.session import Session
from tests.conftest import git
from tests.damage import emptied, garbage, gone
from tests.steps import PATCH, improved, kept_baseline, ran

ELSE = PATCH.replace("model = Bigram()\n", "model = Bigram().float()\n")


@contextmanager
def served(repository: Path, tag: str = "t1") -> Generator[Session]:
    session = Session(repository, tag, Choices(profile="smoke"))
    try:
        yield session
    finally:
        session.close()


def commit_of_the_users(night: Session) -> str:
    """A commit on the night's branch."""
    theirs = git(night.workspace.root, "commit-tree", "HEAD^{tree}", "-p", night.workspace.tip(), "-m", "mine")
    git(night.workspace.root, "update-ref", f"refs/heads/{night.workspace.branch}", theirs)
    return theirs


def test_a_commit_of_the_users_stops_what_would_move_the_branch_and_nothing_else(
    night: Session, repository: Path
) -> None:
    row = improved(night)
    before, theirs = night.workspace.tip(), commit_of_the_users(night)
    with pytest.raises(HeadMoved, match=f"git update-ref refs/heads/{night.workspace.branch} {before}"):
        night.keep("lower")
    assert night.ledger.get(2) == row, "a keep that was refused was written down"
    assert "somebody else moved it" in answer.status(night).head_moved
    assert [action.split("(")[0] for action in answer.status(night).next_actions[1:]] == ["discard"]
    assert night.discard("not now") and night.phase() is Phase.IDLE
    for move in (lambda: night.run("the incumbent"), lambda: night.apply_patch(ELSE)):
        with pytest.raises(HeadMoved):
            move()
    night.close()
    with served(repository) as after:
        assert after.head_moved and after.workspace.tip() == theirs
        git(repository, "update-ref", f"refs/heads/{after.workspace.branch}", before)
        after.apply_patch(ELSE)
        assert not after.head_moved and ran(after, 1.8).number == 3
        assert after.keep("lower").commit == after.workspace.tip()


def test_a_commit_of_the_users_while_the_baseline_runs_does_not_keep_the_server_from_starting(
    night: Session, repository: Path
) -> None:
    before, theirs = night.workspace.tip(), ""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(night, "settle", lambda: None)
        with pytest.raises(AssertionError):
            ran(night, 2.0)
    theirs = commit_of_the_users(night)
    night.close()
    with served(repository) as after:
        baseline = after.ledger.get(1)
        assert baseline and baseline.kept and after.workspace.tip() == theirs and after.head_moved
        git(repository, "update-ref", f"refs/heads/{after.workspace.branch}", before)
        assert after.phase() is Phase.IDLE and after.workspace.tip() == baseline.commit and not after.head_moved


@pytest.mark.parametrize("restart", [False, True])
def test_a_deleted_branch_is_made_again_where_the_incumbent_is(night: Session, repository: Path, restart: bool) -> None:
    improved(night)
    night.keep("lower")
    tip = night.workspace.tip()
    git(repository, "update-ref", "-d", f"refs/heads/{night.workspace.branch}")
    if restart:
        night.close()
        with served(repository) as after:
            assert after.workspace.tip() == tip and after.phase() is Phase.IDLE
    else:
        night.apply_patch(ELSE.replace("Bigram().to(session.device)", "Bigram()"))
        assert night.workspace.tip() == tip


@pytest.mark.parametrize("copied", [False, True])
def test_a_repository_that_is_moved_or_copied_goes_on(night: Session, repository: Path, copied: bool) -> None:
    improved(night)
    night.close()
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


def test_a_worktree_that_a_killed_git_has_left_half_made_is_made_anew(night: Session, repository: Path) -> None:
    kept_baseline(night)
    night.close()
    (repository / ".git" / "worktrees" / "worktree" / "index").unlink()
    (night.workspace.worktree / "program.md").unlink()
    with served(repository) as after:
        assert (after.workspace.worktree / "program.md").exists() and after.phase() is Phase.IDLE


def test_worktrees_of_the_users_that_are_away_are_remembered(night: Session, repository: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    git(repository, "worktree", "add", "--quiet", "-b", "theirs", str(theirs))
    away = theirs.rename(tmp_path / "away")
    shutil.rmtree(night.workspace.worktree)
    assert night.phase() is Phase.NEW
    away.rename(theirs)
    assert git(theirs, "status", "--porcelain") == ""


def test_a_worktree_whose_head_a_power_cut_has_emptied_goes_on(night: Session, repository: Path) -> None:
    improved(night)
    night.close()
    emptied(repository / ".git" / "worktrees" / "worktree" / "HEAD")
    with served(repository) as after:
        assert after.keep("lower").commit == git(after.workspace.worktree, "rev-parse", "HEAD")


@pytest.mark.parametrize(("part", "damage"), [("", emptied), ("^{tree}", garbage), (":train.py", gone)])
def test_a_lost_object_of_the_incumbent_is_told_and_put_back_by_the_operator(
    night: Session, repository: Path, part: str, damage: Callable[[Path], None]
) -> None:
    row = improved(night)
    night.keep("lower")
    night.close()
    name = git(repository, "rev-parse", f"{row.commit}{part}")
    file = repository / ".git" / "objects" / name[:2] / name[2:]
    held = file.read_bytes()
    file.chmod(0o644)
    damage(file)
    with pytest.raises(WorkspaceUnusable) as refused, served(repository):
        pass
    (told,) = [check.remedy for check in examine(repository) if check.name == "workspace"]
    assert "git fsck" in told == refused.value.next_step and "--tag NAME" in told
    with served(repository, "another") as new:
        assert new.phase() is Phase.NEW
    file.write_bytes(held)
    with served(repository) as after:
        assert after.phase() is Phase.IDLE and after.ledger.incumbent() == after.ledger.get(2)


@pytest.mark.parametrize("damage", [emptied, garbage, gone])
def test_an_object_that_is_lost_under_a_server_is_told_alike(night: Session, damage: Callable[[Path], None]) -> None:
    kept_baseline(night)
    tree = git(night.workspace.root, "rev-parse", f"{night.workspace.tip()}^{{tree}}")
    file = night.workspace.root / ".git" / "objects" / tree[:2] / tree[2:]
    file.chmod(0o644)
    damage(file)
    with pytest.raises(WorkspaceUnusable) as refused:  # by git itself, where the door asks GitPython
        night.workspace.commit("x = 1\n", night.workspace.tip(), "an idea", "2026-01-01T12:00:00+00:00")
    assert "git fsck" in refused.value.next_step


def test_no_filter_runs_that_the_user_has_for_worktrees_alone(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "loud").write_text('[filter "loud"]\n\tsmudge = "echo filtered"\n\tclean = cat\n', encoding="utf-8")
    (repository / ".gitattributes").write_text("program.md filter=loud\n", encoding="utf-8")
    git(repository, "add", ".gitattributes")
    git(repository, "commit", "--quiet", "-m", "attributes")
    git(repository, "config", "includeIf.onbranch:autoresearch/.path", str(tmp_path / "loud"))
    with served(repository) as night:
        assert (night.workspace.worktree / "program.md").read_bytes() == (repository / "program.md").read_bytes()


@pytest.mark.parametrize("command", [("clean", "-ffdxq"), ("clean", "-fdxq"), ("stash", "-aq")])
def test_what_a_cleaning_user_takes_away_is_there_again(
    night: Session, repository: Path, command: tuple[str, ...]
) -> None:
    row = improved(night)
    git(repository, *command)
    with pytest.raises(WorkspaceBusy):
        Session(repository, "t1", Choices(profile="smoke"))
    assert night.settle() == row and night.workspace.state.exists()
    if night.phase() is Phase.IMPROVED:
        night.discard("start again")
    assert night.phase() is Phase.IDLE
    night.apply_patch(ELSE)
    assert ran(night, 1.8).number == 3
    assert night.keep("lower").commit == night.workspace.tip()


def test_two_checkouts_of_a_repository_do_not_share_a_night(night: Session, repository: Path, tmp_path: Path) -> None:
    row, other = improved(night), tmp_path / "other"
    git(repository, "worktree", "add", "--quiet", "-b", "other", str(other))
    with pytest.raises(WorkspaceBusy, match="on the night t1"):
        Session(other, "t2")
    night.close()
    with pytest.raises(WorkspaceUnusable, match=r"The night of autoresearch/t1 is in .*, or another --tag"):
        Session(other, "t1")
    with served(other, "t2") as second:
        assert second.phase() is Phase.NEW
    with served(repository) as after:
        assert after.settle() == row
