"""`init`, under whatever the user has told git: a workspace that a night can start in, or nothing at all."""

from pathlib import Path

import pytest

from server.cli.demo import read_change
from server.cli.scaffold import TASKS, create, examples
from server.errors import WorkspaceUnusable
from server.task.program import load
from server.task.requirements import lacking
from server.vcs.workspace import Workspace
from tests.support.command_line import run_command
from tests.support.repositories import git


@pytest.fixture(autouse=True)
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's configuration, and no author in the environment."""
    path = tmp_path / "gitconfig"
    path.touch()
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(path))
    for role in ("AUTHOR", "COMMITTER"):
        for part in ("NAME", "EMAIL"):
            monkeypatch.delenv(f"GIT_{role}_{part}", raising=False)
    return path


def test_a_user_with_other_formats_hooks_signing_and_half_a_name_gets_a_workspace(
    tmp_path: Path, configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = tmp_path / "template" / "hooks"
    hooks.mkdir(parents=True)
    (hooks / "pre-commit").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (hooks / "pre-commit").chmod(0o755)
    configuration.write_text(
        f'[init]\n defaultRefFormat = reftable\n templateDir = "{tmp_path}/template"\n'
        "[user]\n email = a@example.org\n useConfigOnly = true\n"
        "[commit]\n gpgSign = true\n[gpg]\n program = false\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("GIT_DEFAULT_HASH", "sha256")
    monkeypatch.setenv("GIT_DEFAULT_REF_FORMAT", "reftable")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    create(tmp_path / "new")
    Workspace.open(tmp_path / "new", "t1").close()
    monkeypatch.delenv("GIT_DIR", raising=False)
    assert git(tmp_path / "new", "log", "--format=%an <%ae>") == "autoresearch <autoresearch@localhost>"


def test_a_user_that_git_knows_is_the_author(tmp_path: Path, configuration: Path) -> None:
    configuration.write_text("[user]\n email = a@example.org\n name = A\n", encoding="utf-8")
    create(tmp_path / "new")
    assert git(tmp_path / "new", "log", "--format=%an <%ae>") == "A <a@example.org>"


def test_what_fails_leaves_nothing_and_can_be_tried_again(tmp_path: Path, configuration: Path) -> None:
    folder = tmp_path / "above" / "mine"
    configuration.write_text("[core]\n compression = much\n", encoding="utf-8")  # git starts, and cannot commit
    with pytest.raises(WorkspaceUnusable, match="bad numeric config value"):
        create(folder)
    assert not folder.parent.exists()
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine\n", encoding="utf-8")
    with pytest.raises(WorkspaceUnusable):
        create(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    configuration.write_text("", encoding="utf-8")
    create(folder)


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """A folder of examples with one in it."""
    files = {
        "program.md": "---\nname: sorting\ncommand: bash bench.sh\neditable: src/sort.py\n---\nSort faster.\n",
        "bench.sh": "echo METRIC ms=1\n",
        "src/sort.py": "x = 1\n",
        "README.md": "A good change: x = 2\n",
        "changes/good.patch": "# x is two\n--- a/src/sort.py\n+++ b/src/sort.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n",
        "src/__pycache__/sort.pyc": "stale",
        ".gitignore": "build/\n",
    }
    for name, text in files.items():
        (tmp_path / "tasks" / "sorting" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tasks" / "sorting" / name).write_text(text, encoding="utf-8")
    return tmp_path / "tasks"


def test_an_example_becomes_a_repository_without_what_gives_its_answer_away(tmp_path: Path, tasks: Path) -> None:
    told = create(tmp_path / "new", "sorting", tasks)
    listed = git(tmp_path / "new", "ls-files").split()
    assert sorted(listed) == [".gitignore", "bench.sh", "program.md", "src/sort.py"]
    ignored = (tmp_path / "new" / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {".autoresearch/", "build/"} <= set(ignored)
    assert str(tasks / "sorting" / "README.md") in told[1] and not git(tmp_path / "new", "status", "--porcelain")


def test_a_wrong_name_of_an_example_lists_them_and_makes_nothing(tmp_path: Path, tasks: Path) -> None:
    with pytest.raises(WorkspaceUnusable, match=r"no task 'sort'\. Did you mean sorting. There are sorting"):
        create(tmp_path / "new", "sort", tasks)
    with pytest.raises(WorkspaceUnusable, match="This installation has no examples"):
        create(tmp_path / "new", "../sorting", tmp_path / "nothing")
    assert not (tmp_path / "new").exists()


def test_an_example_overwrites_nothing(tmp_path: Path, tasks: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "bench.sh").write_text("mine\n", encoding="utf-8")
    with pytest.raises(WorkspaceUnusable, match=r"already has bench\.sh"):
        create(tmp_path / "new", "sorting", tasks)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["bench.sh"]


def test_a_change_of_an_example_begins_with_what_it_tries(tasks: Path) -> None:
    step = read_change(tasks / "sorting" / "changes" / "good.patch")
    assert step.description == "x is two" and step.patch.startswith("--- a/src/sort.py\n")


def test_init_makes_the_example_that_is_named(tmp_path: Path) -> None:
    done = run_command("init", tmp_path / "faster", "--task", "json-tokenizer")
    assert done.returncode == 0, done.stderr
    assert load(tmp_path / "faster" / "program.md").task.judge and not (tmp_path / "faster" / "changes").exists()


def test_every_example_that_comes_with_us_has_what_the_demo_needs(tmp_path: Path) -> None:
    for name in examples():
        assert create(tmp_path / name, name)
        assert (TASKS / name / "README.md").exists() and list((TASKS / name / "changes").glob("*.patch"))
        program = load(tmp_path / name / "program.md")
        files = git(tmp_path / name, "ls-files").split()
        assert not [lack for lack in lacking(program.task, tmp_path / name, files) if lack.fatal]
