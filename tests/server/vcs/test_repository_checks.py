"""What is refused before a night starts, and what is no obstacle; `doctor` says the same as `serve`."""

import os
import subprocess
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from server.cli.doctor import _workspace as examine  # pyright: ignore[reportPrivateUsage]
from server.errors import PatchRefused, WorkspaceUnusable
from server.serve_options import ServeOptions
from server.study.find_study import tag_to_serve
from server.study.study import Study
from server.vcs.workspace import Workspace
from tests.support.repositories import git, make_repository


def refused(path: Path, words: str, step: str = "") -> None:
    """Opening is refused with `words` and the next step, and `doctor` says so."""
    with pytest.raises(WorkspaceUnusable, match=words) as refusal:
        Workspace.open(path, tag_to_serve(path)).close()
    assert step in refusal.value.next_step
    found = examine(path)
    assert (found.state, found.detail, found.remedy) == ("fix", refusal.value.problem, refusal.value.next_step)


def accepted(path: Path, tag: str = "t1") -> None:
    Workspace.open(path, tag).close()


def commit_all(repository: Path) -> None:
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "-m", "all")


def test_formats_that_cannot_be_read_are_named(tmp_path: Path, repository: Path) -> None:
    git(tmp_path, "init", "--quiet", "--object-format=sha256", "other")
    (tmp_path / "other" / "train.py").write_text("x = 1\n", encoding="utf-8")
    commit_all(tmp_path / "other")
    refused(tmp_path / "other", "objectformat=sha256: only sha1", "git init --object-format=sha1")
    with (repository / ".git" / "config").open("a", encoding="utf-8") as config:
        config.write("[core]\n repositoryFormatVersion = 1\n[extensions]\n refStorage = reftable\n")
    refused(repository, "refstorage=reftable: only files")
    git(repository, "config", "--file", ".git/config", "--unset", "extensions.refStorage")
    git(repository, "config", "--file", ".git/config", "extensions.later", "true")
    refused(repository, "unknown repository extension.*: later")


def test_what_git_itself_refuses_is_told_in_its_words(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch: as if somebody else owned it
    refused(repository, "detected dubious ownership", "git config --global --add safe.directory")
    monkeypatch.delenv("GIT_TEST_ASSUME_DIFFERENT_OWNER")
    with (repository / ".git" / "config").open("a", encoding="utf-8") as config:
        config.write("[user\n")
    refused(repository, r"bad config line \d+ in file")


@pytest.mark.parametrize("name", ["autoresearch", "autoresearch/{tag}/x"])
def test_a_branch_that_leaves_no_room_for_ours_is_refused(repository: Path, name: str) -> None:
    name = name.format(tag=tag_to_serve(repository))
    git(repository, "branch", name)
    refused(repository, f"The branch {name} is in the way", f"git branch -m {name}")
    git(repository, "pack-refs", "--all")
    refused(repository, f"The branch {name} is in the way")


@contextmanager
def read_only(path: Path) -> Generator[None]:
    """A folder or file that nobody, not even root, can write to."""
    if os.geteuid():
        path.chmod(0o500)
        try:
            yield
        finally:
            path.chmod(0o700)
        return
    binding = ["mount", "--bind", str(path), str(path)]
    if subprocess.run(binding, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(path)], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.mark.parametrize("name", [".git/objects", ".git/refs", ".git/info", ".autoresearch", ".git/autoresearch.lock"])
def test_what_cannot_be_written_to_is_named(repository: Path, name: str) -> None:
    path = repository / name
    if path.suffix:
        path.touch()
    else:
        path.mkdir(exist_ok=True)
    with read_only(path):
        refused(repository, f"{name} cannot be written to", "Restore write access")


def test_what_is_in_the_way_of_our_files_is_named(repository: Path) -> None:
    home = repository / ".autoresearch"
    home.write_text("mine\n", encoding="utf-8")
    refused(repository, "it is not a folder", "Move it away")
    home.unlink()
    home.symlink_to("nowhere")
    refused(repository, "it is not a folder", "Move it away")
    home.unlink()
    (repository / ".git" / "info").mkdir(exist_ok=True)
    (repository / ".git" / "info" / "exclude").write_bytes(b"\xe9\n")
    refused(repository, r"exclude is not UTF-8 \(byte 0\)", "Save it as UTF-8")


def test_a_checkout_on_the_nights_own_branch_is_refused(repository: Path) -> None:
    branch = f"autoresearch/{tag_to_serve(repository)}"
    git(repository, "switch", "--quiet", "-c", branch)
    refused(repository, f"The checkout is on {branch}", "git switch")


def test_a_night_under_way_does_not_need_the_users_checkout(repository: Path) -> None:
    tag = tag_to_serve(repository)
    with Workspace.open(repository, tag) as workspace:
        workspace.prepare()
    git(repository, "switch", "--quiet", "--detach")
    assert examine(repository).state == "ok"
    git(repository, "switch", "--quiet", "-c", "pages")
    git(repository, "rm", "--quiet", "train.py")
    git(repository, "commit", "--quiet", "-m", "no train.py")
    accepted(repository, tag)
    git(repository, "switch", "--quiet", "--orphan", "empty")
    accepted(repository, tag)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("a rebase", ["rebase", "other"]),
        ("a cherry-pick", ["cherry-pick", "other"]),
        ("a revert", ["revert", "--no-edit", "HEAD~1"]),
        ("a bisection", ["bisect", "start"]),
    ],
)
def test_a_checkout_in_the_middle_of_something_is_refused(repository: Path, what: str, words: list[str]) -> None:
    git(repository, "branch", "other")
    for branch, texts in (("other", ("theirs",)), ("main", ("mine", "mine again"))):
        git(repository, "switch", "--quiet", branch)
        for text in texts:
            (repository / "notes.txt").write_text(text, encoding="utf-8")
            commit_all(repository)
    if what == "a bisection":
        git(repository, *words)
    else:
        with pytest.raises(subprocess.CalledProcessError):  # a conflict
            git(repository, *words)
    refused(repository, f"in the middle of {what}", "Finish or abort")


def test_files_that_differ_by_a_filter_or_in_line_ends_are_no_changes(repository: Path, tmp_path: Path) -> None:
    everywhere = tmp_path / "global"
    everywhere.write_text(
        '[filter "large"]\n clean = "echo pointer"\n smudge = "echo large"\n required = true\n', encoding="utf-8"
    )
    (repository / ".gitattributes").write_text("*.bin filter=large\n", encoding="utf-8")
    git(repository, "config", "include.path", str(everywhere))
    (repository / "model.bin").write_text("large\n", encoding="utf-8")
    commit_all(repository)
    for name in ("model.bin", "program.md", "train.py"):
        os.utime(repository / name, (0, 0))  # as in a copy: the index knows another time
    (repository / "train.py").write_bytes((repository / "train.py").read_bytes().replace(b"\n", b"\r\n"))
    index = (repository / ".git" / "index").read_bytes()
    accepted(repository)
    assert (repository / ".git" / "index").read_bytes() == index
    (repository / "train.py").write_text("x = 2\n", encoding="utf-8")
    refused(repository, "uncommitted changes: train.py", "Commit or stash")


def test_doctor_looks_for_the_file_that_program_md_names(repository: Path) -> None:
    text = (repository / "program.md").read_text(encoding="utf-8").replace("name:", "editable: model.py\nname:")
    (repository / "program.md").write_text(text, encoding="utf-8")
    git(repository, "mv", "train.py", "model.py")
    commit_all(repository)
    assert examine(repository).state == "ok"


def test_doctor_says_that_a_night_has_no_submodules(repository: Path, tmp_path: Path) -> None:
    other = make_repository(tmp_path / "other", "x = 1\n")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "inner")
    commit_all(repository)
    found = examine(repository)
    assert found.state == "warning" and "train.py cannot import from inner" in found.detail


def test_our_own_state_is_no_change_of_the_users_also_if_somebody_committed_it(repository: Path) -> None:
    results = repository / ".autoresearch" / "t1" / "results.tsv"
    results.parent.mkdir(parents=True)
    results.write_text("before\n", encoding="utf-8")
    git(repository, "add", "--force", str(results))
    commit_all(repository)
    results.write_text("after a run\n", encoding="utf-8")
    accepted(repository, "t2")
    found = examine(repository)
    assert (found.state, found.remedy) == ("warning", "git rm --cached -r .autoresearch")
    (repository / "train.py").write_text("x = 2\n", encoding="utf-8")
    refused(repository, "uncommitted changes: train.py")


@pytest.mark.parametrize(("train", "words"), [("def f(:\n", "line 1, column 7"), ("# long\n" * 700, "700 lines, 630")])
def test_a_train_py_that_no_run_would_take_is_told_before_the_baseline(
    repository: Path, train: str, words: str
) -> None:
    (repository / "train.py").write_text(train, encoding="utf-8")
    commit_all(repository)
    found = examine(repository)
    assert (found.state, found.remedy) == ("fix", "repair train.py and commit it")
    assert words in found.detail
    with (
        closing(Study(repository, "t1", ServeOptions(profile="smoke"))) as study,
        pytest.raises(PatchRefused, match="This is the baseline, not a patch: ask the operator to repair"),
    ):
        study.run("the baseline")


@pytest.mark.parametrize(
    ("train", "beside", "state"),
    [
        ("from prepare import evaluate_bpb\nprint(1)  # the trainer of karpathy's\n", "", "fix"),
        ("import mine\n", "def import_all(): pass\n", "fix"),
        ("import mine\n", "from trainer.session import Session\n", "ok"),
        ("import torch, trainer.session\n", "", "ok"),
        ("from importlib import import_module\nimport_module('trainer.session')\n", "", "ok"),
    ],
)
def test_a_train_py_that_never_makes_a_session_is_told_before_the_baseline(
    repository: Path, train: str, beside: str, state: str
) -> None:
    (repository / "train.py").write_text(train, encoding="utf-8")
    (repository / "mine.py").write_text(beside, encoding="utf-8")
    commit_all(repository)
    found = examine(repository)
    assert found.state == state
    assert state == "ok" or "Session(), start(), training() and submit(model)" in found.remedy


@pytest.mark.parametrize("index", [b"garbage of any length", b"", b"DIRC\0\0\0\x09" + b"x" * 40, None])
def test_an_index_that_is_gone_or_damaged_is_told_with_the_commands_that_make_it_anew(
    repository: Path, index: bytes | None
) -> None:
    path = repository / ".git" / "index"
    if index is None:
        path.unlink()
        refused(repository, "has no index", "`git reset`")
    else:
        path.write_bytes(index)
        refused(repository, "Looking at the repository failed: (fatal|error): .*index|signature", "&& git reset`")
    subprocess.run("rm -f $(git rev-parse --git-path index) && git reset", shell=True, cwd=repository, check=True)
    accepted(repository)
