"""Copies of a commit's files, and what is seen of changes in them."""

import os
from pathlib import Path

import pytest

from tests.support.commands import write_tree
from trainer.commands import file_tree

FILES = {"a.txt": "a\n", "src/b.sh": "#!/bin/sh\n", "src/deep/c": b"\x00\xff"}


def told(top: Path, known: dict[str, file_tree.FileState]) -> list[str]:
    return list(file_tree.changed(known, file_tree.states(top, known)))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write_tree(tmp_path / "tree", FILES)
    (tmp_path / "tree" / "link").symlink_to("a.txt")
    return tmp_path / "tree"


def test_what_is_left_alone_is_unchanged_and_new_files_are_no_change(tree: Path) -> None:
    known = file_tree.states(tree)
    assert set(known) == {*FILES, "link"}
    write_tree(tree, {"new": "x", "src/new": "y"})
    (tree / "a.txt").write_text("a\n")  # the same again
    assert told(tree, known) == []


def test_every_change_names_its_file(tree: Path) -> None:
    known = file_tree.states(tree)
    (tree / "a.txt").write_text("b\n")
    (tree / "src" / "b.sh").chmod(0o644)
    (tree / "src" / "deep" / "c").unlink()
    (tree / "link").unlink()
    (tree / "link").symlink_to("/etc/passwd")
    assert sorted(told(tree, known)) == [
        "a.txt has another content",
        "link has another content",
        "src/b.sh can no longer be run",
        "src/deep/c is gone",
    ]


def test_a_change_is_seen_whatever_the_file_says_of_its_time(tree: Path) -> None:
    known = file_tree.states(tree)
    before = (tree / "a.txt").stat()
    (tree / "a.txt").write_text("b\n")
    os.utime(tree / "a.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert told(tree, known) == ["a.txt has another content"]


def test_a_file_behind_a_link_or_in_place_of_a_folder_is_another(tree: Path, tmp_path: Path) -> None:
    known = file_tree.states(tree)
    (tree / "src").rename(tmp_path / "moved")
    (tree / "src").symlink_to(tmp_path / "moved")
    (tree / "a.txt").unlink()
    (tree / "a.txt").mkdir()
    assert {line.partition(" ")[0] for line in told(tree, known)} == {"a.txt", "src/b.sh", "src/deep/c"}


def test_a_copy_is_whole_and_its_own(tree: Path, tmp_path: Path) -> None:
    os.mkfifo(tree / "pipe")  # a copy would wait for a writer
    file_tree.copy(tree, tmp_path / "copy", file_tree.matcher(["src/deep/**"]))
    (tree / "a.txt").write_text("changed")
    assert (tmp_path / "copy" / "a.txt").read_text() == "a\n"
    assert os.access(tmp_path / "copy" / "src" / "b.sh", os.X_OK)
    assert os.readlink(tmp_path / "copy" / "link") == "a.txt"
    assert not (tmp_path / "copy" / "src" / "deep" / "c").exists()
    assert not (tmp_path / "copy" / "pipe").exists()


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("data/test/**", "data/test/a/b", True),
        ("data/test/**", "data/test", False),
        ("data/test", "data/test/a", True),
        ("*.csv", "a.csv", True),
        ("*.csv", "data/a.csv", False),
        ("**/*.csv", "a.csv", True),
        ("**/*.csv", "data/deep/a.csv", True),
        ("./data/*", "data/a", True),
        ("data/?.txt", "data/a.txt", True),
        ("a+b/[x]", "a+b/[x]", True),
        ("data/test[0-9].csv", "data/test7.csv", True),
        ("data/*", "data/deep/a", True),
    ],
)
def test_globs_mean_what_program_md_says(glob: str, path: str, matches: bool) -> None:
    assert file_tree.matcher([glob])(path) is matches
