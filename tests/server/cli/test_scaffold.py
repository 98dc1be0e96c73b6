"""`init`, under whatever the user has told git: a workspace that a night can start in, or nothing at all."""

from pathlib import Path

import pytest

from server.cli.scaffold import create
from server.errors import WorkspaceUnusable
from server.vcs.workspace import Workspace
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
