"""The git memory, on real repositories; the user's side of them stays as it was."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from server.errors import HeadMoved, WorkspaceUnusable
from server.vcs.git_environment import exclude_at, init_repository
from server.vcs.workspace import Workspace
from tests.support.builders import only
from tests.support.repositories import git, make_repository

NOON = "2026-01-01T12:00:00+00:00"


@pytest.fixture
def workspace(repository: Path):
    with Workspace.open(repository, "t1") as workspace:
        workspace.prepare()
        yield workspace


def refused(path: Path, words: str, tag: str = "t1") -> None:
    """Opening is refused with `words`, and nothing is made."""
    with pytest.raises(WorkspaceUnusable, match=words) as refusal:
        Workspace.open(path, tag).close()
    assert refusal.value.next_step
    assert not (path / ".autoresearch").exists()


def test_a_folder_without_git_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "not in a git repository")
    refused(tmp_path / "nowhere", "not a directory")


def test_a_bare_repository_is_refused(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "bare")
    refused(tmp_path / "bare", "bare repository")


def test_a_folder_inside_a_repository_is_refused_naming_the_top(repository: Path) -> None:
    (repository / "inner").mkdir()
    refused(repository / "inner", "is inside the repository")


def test_a_repository_without_a_commit_or_without_train_py_is_refused(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    refused(tmp_path, "no commit yet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "empty")
    refused(tmp_path, "no train.py")


def test_a_train_py_that_is_a_symlink_or_no_text_is_refused(tmp_path: Path) -> None:
    linked = make_repository(tmp_path / "linked", "")
    (linked / "train.py").unlink()
    (linked / "train.py").symlink_to("program.md")
    git(linked, "commit", "--quiet", "-am", "link")
    refused(linked, "not a regular file")
    binary = make_repository(tmp_path / "binary", "")
    (binary / "train.py").write_bytes(b"\xff\xfe")
    git(binary, "commit", "--quiet", "-am", "binary")
    refused(binary, "not UTF-8")


def test_a_dirty_or_detached_or_busy_checkout_is_refused_for_a_new_tag(repository: Path) -> None:
    (repository / "train.py").write_text("x = 2\n", encoding="utf-8")
    refused(repository, "uncommitted changes: train.py")
    git(repository, "checkout", "--quiet", "train.py")
    (repository / ".git" / "MERGE_HEAD").write_text(git(repository, "rev-parse", "HEAD"), encoding="utf-8")
    refused(repository, "middle of a merge")
    (repository / ".git" / "MERGE_HEAD").unlink()
    git(repository, "checkout", "--quiet", "--detach")
    refused(repository, "detached")


def test_an_edited_program_md_and_files_of_the_users_own_are_no_obstacle(repository: Path) -> None:
    (repository / "program.md").write_text("other\n", encoding="utf-8")
    (repository / "notes.txt").write_text("mine\n", encoding="utf-8")
    Workspace.open(repository, "t1").close()


def test_a_branch_of_that_name_without_its_history_is_refused(repository: Path) -> None:
    git(repository, "branch", "autoresearch/t1")
    refused(repository, "exists, but its history is not here")


@pytest.mark.parametrize("tag", ["", "-x", ".x", "a b", "a/b", "a..b", "x.lock", "é", "x" * 101])
def test_a_tag_that_git_or_a_shell_could_misread_is_refused(repository: Path, tag: str) -> None:
    refused(repository, "is not a valid tag", tag)


def test_preparing_twice_changes_nothing_more(workspace: Workspace) -> None:
    exclude = workspace.root / ".git" / "info" / "exclude"
    before = exclude.read_text(encoding="utf-8")
    workspace.prepare()
    assert exclude.read_text(encoding="utf-8") == before
    assert before.count("/.autoresearch/") == 1
    assert git(workspace.root, "status", "--porcelain") == ""
    shutil.rmtree(workspace.worktree)
    workspace.prepare()
    assert workspace.candidate() == workspace.files(workspace.tip())


def test_a_commit_holds_the_new_text_and_everything_else_of_its_parent(workspace: Workspace) -> None:
    parent = workspace.tip()
    text = "x = 'ü'\r\nno end"
    commit = workspace.commit(only(text), parent, "-m strange\n\nExperiment: 1\n", NOON)
    assert commit == workspace.commit(only(text), parent, "-m strange\n\nExperiment: 1\n", NOON)
    assert workspace.files(commit) == only(text)
    assert git(workspace.root, "diff", "--name-only", parent, commit) == "train.py"
    assert git(workspace.root, "log", "-1", "--format=%s|%an|%P", commit) == f"-m strange|autoresearch|{parent}"
    assert workspace.tip() == parent
    assert not [path for path in workspace.state.iterdir() if path.name.startswith(".")]


def test_refs_move_by_compare_and_swap(workspace: Workspace) -> None:
    base = workspace.tip()
    one, two = (workspace.commit(only(f"x = {n}\n"), base, f"{n}\n", NOON) for n in (1, 2))
    workspace.record(7, one, None)
    workspace.record(7, one, None)  # done already is done
    assert workspace.recorded(7) == one
    with pytest.raises(HeadMoved, match="somebody else moved it"):
        workspace.record(7, two, None)
    workspace.record(7, two, one)
    git(workspace.root, "update-ref", f"refs/heads/{workspace.branch}", two)
    with pytest.raises(HeadMoved):
        workspace.advance(one, base)
    assert workspace.tip() == two


def test_the_worktree_is_clean_after_the_branch_has_moved(workspace: Workspace) -> None:
    commit = workspace.commit(only("x = 1\n"), workspace.tip(), "one\n", NOON)
    workspace.write_candidate(only("x = 1\n"))
    workspace.advance(commit, workspace.tip())
    assert git(workspace.worktree, "status", "--porcelain") == ""
    assert git(workspace.worktree, "rev-parse", "HEAD") == commit


def test_line_ends_that_git_changes_on_the_way_make_no_candidate(repository: Path) -> None:
    (repository / ".gitattributes").write_text("*.py text eol=crlf\n", encoding="utf-8")
    git(repository, "add", ".gitattributes")
    git(repository, "commit", "--quiet", "-m", "line ends")
    with Workspace.open(repository, "t1") as workspace:
        workspace.prepare()
        assert workspace.candidate() == workspace.files(workspace.tip()) and "\r" not in workspace.candidate().text


def test_hooks_and_filters_of_the_user_never_run(repository: Path) -> None:
    witness = repository.parent / "witness"
    for name in ("post-checkout", "pre-commit", "post-commit", "reference-transaction", "post-index-change"):
        hook = repository / ".git" / "hooks" / name
        hook.write_text(f"#!/bin/sh\necho {name} >> '{witness.name}'\ntouch '../{witness.name}'\n", encoding="utf-8")
        hook.chmod(0o755)
    for part in ("smudge", "clean"):
        git(repository, "config", f"filter.evil.{part}", "tr a-z A-Z")
    git(repository, "config", "filter.evil.required", "true")
    (repository / ".git" / "info" / "attributes").write_text("*.py filter=evil\n", encoding="utf-8")
    with Workspace.open(repository, "t1") as workspace:
        workspace.prepare()
        assert workspace.candidate() == workspace.files(workspace.tip())
        commit = workspace.commit(only("x = 'a'\n"), workspace.tip(), "one\n", NOON)
        workspace.advance(commit, workspace.tip())
        assert workspace.files(commit) == only("x = 'a'\n")
    assert not witness.exists() and not list(repository.rglob("witness"))


def test_the_users_lock_neither_hinders_us_nor_is_removed(workspace: Workspace) -> None:
    lock = workspace.root / ".git" / "index.lock"
    lock.touch()
    commit = workspace.commit(only("x = 1\n"), workspace.tip(), "one\n", NOON)
    workspace.advance(commit, workspace.tip())
    assert lock.exists()


def test_what_packed_refs_say_is_what_git_says_however_they_change(workspace: Workspace) -> None:
    """Most refs are files of their own, or not there: then no process is asked."""
    root, packed, ref = workspace.root, workspace.root / ".git" / "packed-refs", "refs/autoresearch/t1/1"
    first, second = (workspace.commit(only(f"x = {n}\n"), workspace.tip(), "one\n", NOON) for n in (1, 2))
    assert workspace.refs.resolve(ref) is None
    for commit in (first, second):
        git(root, "update-ref", ref, commit)
        git(root, "pack-refs", "--all")
        assert not (root / ".git" / ref).exists() and workspace.refs.resolve(ref) == commit
        assert workspace.refs.resolve("refs/autoresearch/t1/2") is None
    git(root, "update-ref", "-d", ref)
    assert workspace.refs.resolve(ref) is None
    packed.write_bytes(packed.read_bytes() + b"no ref\n")
    with pytest.raises(WorkspaceUnusable, match="packed-refs"):
        workspace.refs.resolve(ref)


def test_a_commit_is_the_one_that_git_makes_and_its_train_py_is_a_plain_file(repository: Path) -> None:
    (repository / "train.py").chmod(0o755)
    (repository / "parts").mkdir()
    (repository / "parts" / "model.py").write_text("y = 1\n", encoding="utf-8")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "parts")
    with Workspace.open(repository, "t1") as workspace:
        workspace.prepare()
        made = workspace.commit(only("x = 'é'\n"), workspace.tip(), "one\n\ntwo", NOON)
        changed = git(repository, "diff-tree", "-r", "--name-status", workspace.tip(), made)
        assert changed.split() == ["M", "train.py"]
        assert git(repository, "fsck", "--strict", "--no-dangling") == ""
        assert git(repository, "ls-tree", made, "train.py").startswith("100644 blob ")
        raw = git(repository, "cat-file", "commit", made).splitlines()
        assert raw[2] == "author autoresearch <autoresearch@localhost> 1767268800 +0000" and raw[4:] == [
            "",
            "one",
            "",
            "two",
        ]
        with pytest.raises(WorkspaceUnusable, match="NUL"):
            workspace.commit(only("x = 1\n"), workspace.tip(), "o\0ne", NOON)


def test_locks_that_a_killed_git_left_at_our_refs_and_indexes_are_removed(workspace: Workspace) -> None:
    (workspace.root / ".git" / "worktrees" / "worktree" / "index.autoresearch.lock").touch()
    commit = workspace.commit(only("x = 1\n"), workspace.tip(), "one\n", NOON)
    lock = workspace.root / ".git" / "refs" / "heads" / f"{workspace.branch}.lock"
    lock.touch()
    with pytest.raises(WorkspaceUnusable, match=r"Another git process works there.* in ten seconds"):
        workspace.advance(commit, workspace.tip())
    os.utime(lock, (0, 0))
    workspace.advance(commit, workspace.tip())
    assert workspace.tip() == commit and not lock.exists()


def test_a_candidate_that_became_a_symlink_is_not_read(workspace: Workspace) -> None:
    path = workspace.worktree / "train.py"
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(WorkspaceUnusable, match="not a regular file"):
        workspace.candidate()
    workspace.write_candidate(only("x = 1\n"))  # replaces the link, not what it points to
    assert workspace.candidate() == only("x = 1\n")


def test_an_inherited_git_dir_does_not_lead_us_astray(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    with Workspace.open(repository, "t1") as workspace:
        assert workspace.root == repository


@pytest.fixture
def tiny_disk(tmp_path: Path):
    """A file system of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False
        ).returncode
    )
    if not mounted:
        pytest.skip("mounting a small file system needs root")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_is_told_and_changes_nothing(tiny_disk: Path) -> None:
    repository = make_repository(tiny_disk / "repository", "x = 1\n")
    with Workspace.open(repository, "t1") as workspace:
        workspace.prepare()
        tip, before = workspace.tip(), workspace.candidate()
        with pytest.raises(OSError), (tiny_disk / "filler").open("wb") as filler:
            while True:
                filler.write(b"x" * 4096)
                filler.flush()
        with pytest.raises(WorkspaceUnusable, match="No space left"):
            workspace.write_candidate(only("x = 2\n" * 5000))
        with pytest.raises(WorkspaceUnusable) as refusal:
            workspace.commit(only("x = 2\n" * 5000), tip, "two\n", NOON)
        assert "frees space" in refusal.value.next_step
        assert (workspace.candidate(), workspace.tip()) == (before, tip)


def test_a_read_only_disk_is_refused_at_the_door(tiny_disk: Path) -> None:
    repository = make_repository(tiny_disk / "repository", "x = 1\n")
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    refused(repository, "cannot be written")


def test_a_new_repository_has_one_commit_without_the_users_hooks(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n", encoding="utf-8")
    commit = init_repository(tmp_path, "first")
    assert git(tmp_path, "rev-parse", "HEAD") == commit
    assert git(tmp_path, "status", "--porcelain") == ""


def test_the_users_exclude_file_stays_a_link_of_its_mode_and_line_ends(repository: Path) -> None:
    exclude, real = repository / ".git" / "info" / "exclude", repository.parent / "dotfiles"
    real.write_bytes(b"mine\r\n")
    real.chmod(0o600)
    exclude.unlink()
    exclude.symlink_to(real)
    with Workspace.open(repository, "t1") as workspace:
        workspace.prepare()
    assert exclude.is_symlink() and real.stat().st_mode & 0o777 == 0o600
    assert real.read_bytes() == b"mine\r\n/.autoresearch/\n"


def test_modules_are_those_of_the_commit_whatever_lies_in_the_worktree(workspace: Workspace, repository: Path) -> None:
    files = {"knobs.py": "A = 1\n", "parts/__init__.py": "", "parts/block.py": "B = 2\n", "no-package/c.py": "C = 3\n"}
    for name, text in files.items():
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_text(text, encoding="utf-8")
    (repository / "large.py").write_text("#" * (1 << 20) + "\n", encoding="utf-8")
    (repository / "linked.py").symlink_to("knobs.py")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "-m", "modules")
    commit = git(repository, "rev-parse", "HEAD")
    (repository / "knobs.py").write_text("A = 'changed'\n", encoding="utf-8")
    (workspace.worktree / "told.py").write_text("TEXT = 'for train.py to read'\n", encoding="utf-8")
    due = {"knobs.py": b"A = 1\n", "parts/__init__.py": b"", "parts/block.py": b"B = 2\n"}
    assert workspace.modules(commit) == due
    assert workspace.modules(commit) == due  # from memory


def test_a_line_is_excluded_once(repository: Path) -> None:
    for _ in range(2):
        exclude_at(repository, "/progress.png")
    assert (repository / ".git" / "info" / "exclude").read_text(encoding="utf-8").count("/progress.png\n") == 1
    (repository / "progress.png").write_bytes(b"")
    assert git(repository, "status", "--porcelain") == ""
