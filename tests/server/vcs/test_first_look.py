"""A checkout that no study was in yet: each state that none can begin from is one sentence with the next step."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from server.errors import WorkspaceUnusable
from server.vcs.checkout import Checkout
from tests.support.commands import write_tree
from tests.support.repositories import git


def made(folder: Path) -> Path:
    write_tree(folder, {"a.py": "x = 1\n", "src/b.py": "y = 2\n"})
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "start")
    return folder


def nothing(folder: Path) -> Path:
    folder.mkdir()
    return folder


def missing(folder: Path) -> Path:
    return folder


def empty(folder: Path) -> Path:
    git(nothing(folder), "init", "--quiet")
    return folder


def bare(folder: Path) -> Path:
    git(nothing(folder), "init", "--quiet", "--bare")
    return folder


def below(folder: Path) -> Path:
    return made(folder) / "src"


def dirty(folder: Path) -> Path:
    (made(folder) / "a.py").write_text("x = 3\n", encoding="utf-8")
    return folder


def detached(folder: Path) -> Path:
    git(made(folder), "checkout", "--quiet", "--detach")
    return folder


@pytest.mark.parametrize(
    ("make", "problem", "step"),
    [
        (nothing, "not in a git repository", "git init && git add -A && git commit"),
        (empty, "has no commit yet", "git add -A && git commit"),
        (bare, "bare repository", "Clone it"),
        (below, "paths in program.md begin at its top", "autoresearch adopt"),
        (dirty, "uncommitted changes: a.py", "Commit or stash"),
        (detached, "HEAD is detached", "git switch"),
        (missing, "is not a directory", "Name the folder"),
    ],
)
def test_what_no_study_can_begin_from_is_said(
    tmp_path: Path, make: Callable[[Path], Path], problem: str, step: str
) -> None:
    with pytest.raises(WorkspaceUnusable) as refused:
        Checkout.open(make(tmp_path / "work"))
    assert problem in refused.value.problem
    assert step in refused.value.next_step


def test_files_and_new_files_and_submodules_are_told_apart(tmp_path: Path) -> None:
    folder = made(tmp_path / "work")
    git(folder, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(made(tmp_path / "other")), "sub")
    (folder / ".gitignore").write_text("ignored\n", encoding="utf-8")
    git(folder, "add", ".gitignore")
    git(folder, "commit", "--quiet", "-m", "more")
    write_tree(folder, {"ignored": "", "new é.sh": ""})
    with Checkout.open(folder) as checkout:
        assert checkout.files == [".gitignore", ".gitmodules", "a.py", "src/b.py"]
        assert (checkout.new_files(), checkout.submodules) == (["new é.sh"], ["sub"])
        checkout.lay_out(tmp_path / "tree")
    assert (tmp_path / "tree" / "a.py").read_text(encoding="utf-8") == "x = 1\n"


def test_a_commit_has_the_named_file_and_nothing_else_that_is_staged(tmp_path: Path) -> None:
    folder = made(tmp_path / "work")
    write_tree(folder, {"program.md": "Go.\n", "other": ""})
    shutil.copy(shutil.which("false") or "/bin/false", folder / ".git" / "hooks" / "pre-commit")
    with Checkout.open(folder) as checkout:
        git(folder, "add", "other")
        commit = checkout.add("program.md", "Add it")
    assert git(folder, "rev-parse", "HEAD") == commit
    assert git(folder, "show", "--format=", "--name-only", "HEAD") == "program.md"
    assert git(folder, "status", "--short") == "A  other"
