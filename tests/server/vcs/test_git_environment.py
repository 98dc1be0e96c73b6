"""What the user, or who started us, has told git runs nothing and leads nowhere, whichever way it was told."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from server.errors import WorkspaceUnusable
from server.vcs.git_environment import (
    LOCAL,
    clone_repository,
    durable,
    init_repository,
    open_repository,
    translating_git_errors,
)
from server.vcs.workspace import Workspace
from tests.support.builders import only
from tests.support.repositories import git

NOON = "2026-01-01T12:00:00+00:00"


def whole(repository: Path) -> None:
    """A night at work: worktree, commit, refs."""
    with Workspace.open(repository, "t1") as workspace:
        workspace.prepare()
        commit = workspace.commit(only("x = 1\n"), workspace.tip(), "one\n", NOON)
        workspace.record(1, commit, None)
        workspace.advance(commit, workspace.tip())


def veto(folder: Path, witness: Path) -> None:
    """A hook that forbids every move of a ref."""
    folder.mkdir(exist_ok=True)
    hook = folder / "reference-transaction"
    hook.write_text(f"#!/bin/sh\ntouch '{witness}'\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)


def test_no_filter_runs_however_it_is_configured(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def driver(name: str) -> str:
        return f' smudge = "touch {tmp_path}/ran-{name}; cat"\n required = true\n'

    names = ("upper", "dotted", "spaces", "line", "included", "everywhere", "counted", "parameter", "worktree")
    for name in names:
        (repository / name).write_text("text\n", encoding="utf-8")
    (repository / ".gitattributes").write_text("".join(f"{name} filter={name}\n" for name in names), encoding="utf-8")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "-m", "attributes")
    with (repository / ".git" / "config").open("a", encoding="utf-8") as config:
        config.write(f'[FILTER "upper"]\n{driver("upper")}[filter.dotted]\n{driver("dotted")}')
        config.write(f'[filter   "spaces"]\n{driver("spaces")}[filter "line"] clean = cat\n{driver("line")}')
        config.write("[include]\n path = more\n[extensions]\n worktreeConfig = true\n")
    for file, name in ((".git/more", "included"), ("../global", "everywhere"), (".git/config.worktree", "worktree")):
        (repository / file).write_text(f'[filter "{name}"]\n{driver(name)}', encoding="utf-8")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "global"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "filter.counted.smudge")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", f"touch {tmp_path}/ran-counted; cat")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'filter.parameter.smudge=touch {tmp_path}/ran-parameter; cat'")
    whole(repository)
    assert sorted(path.name for path in tmp_path.glob("ran-*")) == []


def test_a_submodules_own_filter_does_not_run(repository: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(repository), "other")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(tmp_path / "other"), "inner")
    git(repository, "commit", "--quiet", "-m", "a submodule")
    git(repository / "inner", "config", "filter.evil.clean", f"touch {tmp_path}/ran; cat")
    (repository / ".git" / "modules" / "inner" / "info" / "attributes").write_text("* filter=evil\n", encoding="utf-8")
    os.utime(repository / "inner" / "train.py", (0, 0))
    whole(repository)
    assert not (tmp_path / "ran").exists()


def test_hooks_of_the_configuration_are_off(repository: Path, tmp_path: Path) -> None:
    git(repository, "config", "hook.guard.event", "reference-transaction")
    git(repository, "config", "hook.guard.command", f"touch '{tmp_path}/ran'; exit 1")
    with open_repository(repository) as repo:
        assert repo.git.config("--get", "hook.guard.enabled") == "false"  # read by git 2.54 and newer
    whole(repository)
    assert not (tmp_path / "ran").exists()


def test_our_settings_come_after_inherited_ones_which_stay(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    veto(repository / ".git" / "hooks", tmp_path / "ran")
    inherited = {"core.hooksPath": ".git/hooks", "user.name": "somebody"}
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(inherited)))
    for number, (key, value) in enumerate(inherited.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.hooksPath=.git/hooks'")
    whole(repository)
    assert not (tmp_path / "ran").exists()
    with open_repository(repository) as repo:
        assert repo.git.config("user.name") == "somebody"


def test_a_configuration_that_is_not_utf_8_is_gits_to_read(repository: Path) -> None:
    with (repository / ".git" / "config").open("ab") as config:
        config.write(b'[user]\n name = J\xe9r\xf4me\n[filter "\xe9"]\n clean = false\n')
    whole(repository)


def test_no_index_is_split(repository: Path) -> None:
    git(repository, "config", "core.splitIndex", "true")
    whole(repository)
    assert not list((repository / ".git").rglob("sharedindex.*"))


def test_git_waits_for_the_disk_as_its_version_can() -> None:
    assert durable((2, 35, 8)) == {"core.fsyncObjectFiles": "true"}
    assert durable((2, 36)) == durable((3, 0)) == {"core.fsync": "committed,loose-object,reference"}


def opened(folder: Path, **environment: str) -> str:
    """The last line of what a new process says that opens the workspace in `folder`."""
    opening = "from pathlib import Path; from server.vcs.workspace import Workspace; Workspace.open(Path(), 't1')"
    told = subprocess.run(
        [sys.executable, "-c", opening],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    return told.stderr.splitlines()[-1]


def test_a_machine_without_git_is_told_so_in_a_sentence(tmp_path: Path) -> None:
    said = opened(tmp_path, PATH=str(tmp_path))
    assert said.endswith("WorkspaceUnusable: git was not found. Install git 2.31 or newer.")


def test_all_that_this_git_calls_local_to_a_repository_is_forgotten(repository: Path) -> None:
    local = set(git(repository, "rev-parse", "--local-env-vars").split())
    assert local - set(LOCAL) == {"GIT_CONFIG_COUNT"}  # that is how the user configures git


@pytest.mark.parametrize("variable", [*LOCAL, "GIT_QUARANTINE_PATH", "GIT_NAMESPACE", "GIT_ATTR_SOURCE"])
def test_a_variable_of_another_repository_leads_nowhere(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    git(repository, "config", "filter.evil.smudge", f"touch '{tmp_path}/ran'; cat")
    monkeypatch.setenv(variable, "/dev/null")
    with open_repository(repository) as repo:
        assert repo.git.config("--get", "filter.evil.smudge") == ""
        assert repo.git.rev_parse("--show-toplevel") == str(repository)
        repo.git.update_ref("refs/heads/other", "HEAD")
    assert variable not in os.environ


@pytest.mark.parametrize("broken", ["[broken\n", '[user]\n\tname = "x\n'])
def test_a_configuration_that_git_cannot_read_is_told_in_gits_words(tmp_path: Path, broken: str) -> None:
    """GitPython runs git while it is imported."""
    (tmp_path / ".gitconfig").write_text(broken, encoding="utf-8")
    said = opened(tmp_path, HOME=str(tmp_path))
    assert "WorkspaceUnusable: Asking git for its version failed: fatal: bad config line" in said
    assert "git config --list --show-origin" in said


def test_of_what_git_says_the_error_is_told_and_not_a_warning_before_it(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    said = opened(tmp_path, HOME=str(tmp_path), GIT_CONFIG_GLOBAL=str(tmp_path))
    assert "failed: fatal: unknown error occurred while reading the configuration files." in said


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "frees space"),
        (errno.EDQUOT, "frees space"),
        (errno.EFBIG, "frees space"),
        (errno.EROFS, "restores write access"),
        (errno.EMFILE, "limit of open files"),
        (errno.ENAMETOOLONG, "shorter path"),
        (errno.EIO, "looks at the disk"),
        (errno.ESTALE, "looks at the disk"),
        (errno.ENOTTY, "autoresearch doctor"),
    ],
)
def test_what_the_system_refuses_has_a_next_step(number: int, words: str) -> None:
    with pytest.raises(WorkspaceUnusable, match=os.strerror(number)) as told, translating_git_errors("Writing"):
        raise OSError(number, os.strerror(number), "file")
    assert words in told.value.next_step


def test_a_git_that_a_limit_of_size_has_killed_met_a_full_disk(repository: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Workspace.open(repository, "t1") as workspace:
        workspace.prepare()
        tip = workspace.tip()
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            with pytest.raises(WorkspaceUnusable) as told:
                workspace.commit(only(f"x = '{os.urandom(20_000).hex()}'\n"), tip, "one\n", NOON)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "frees space" in told.value.next_step and workspace.tip() == tip


@pytest.mark.parametrize("name", ["n$X", "${X}", "~", "$X%X%", "%X%"])
def test_variables_in_a_path_are_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Neither a new repository nor an old one is another one, whatever the environment has."""
    for victim in (tmp_path, tmp_path / "home"):
        victim.mkdir(exist_ok=True)
        git(victim, "init", "--quiet")
        git(victim, "commit", "--quiet", "--allow-empty", "-m", "theirs")
        (victim / "unrelated").write_text("work\n", encoding="utf-8")
    monkeypatch.setenv("X", "/../..")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    Path(name).mkdir()
    (Path(name) / "train.py").write_text("x = 1\n", encoding="utf-8")
    init_repository(Path(name), "ours")
    whole(Path(name))
    made = Path(name).absolute()
    assert git(made, "log", "-1", "--format=%s", "main") == "ours" and git(made, "ls-files") == "train.py"
    clone_repository(Path(name), made.with_name("clone$X"))
    assert git(made.with_name("clone$X"), "ls-files") == "train.py"
    for victim in (tmp_path, tmp_path / "home"):
        assert git(victim, "log", "--all", "--format=%s") == "theirs" and not git(victim, "ls-files")


@pytest.mark.parametrize(
    ("text", "environment"),
    [
        ("[core]\n bare = perhaps\n", {}),
        ("[core]\n bigFileThreshold = many\n", {}),
        ("[core]\n abbrev = 2x\n", {}),
        ("[include]\n path = config\n", {}),
        ("", {"GIT_CONFIG_COUNT": "many"}),
        ("", {"GIT_CONFIG_COUNT": "2"}),
        ("", {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "a.b"}),
        ("", {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "nothing", "GIT_CONFIG_VALUE_0": "x"}),
    ],
)
def test_a_configuration_that_git_refuses_is_the_operators_to_correct(
    repository: Path, monkeypatch: pytest.MonkeyPatch, text: str, environment: dict[str, str]
) -> None:
    with (repository / ".git" / "config").open("a", encoding="utf-8") as config:
        config.write(text)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(WorkspaceUnusable, match="corrects git's configuration"):
        whole(repository)


def test_dates_and_pathspecs_of_whoever_started_us_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dates = ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE")
    kinds = [f"GIT_{kind}_PATHSPECS" for kind in ("LITERAL", "GLOB", "NOGLOB", "ICASE")]
    for name in (*dates, *kinds):
        monkeypatch.setenv(name, "1")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "train.py").write_text("x = 1\n", encoding="utf-8")
    init_repository(tmp_path / "new", "ours")
    whole(tmp_path / "new")
