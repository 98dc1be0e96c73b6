"""How git is called: nothing in the user's repository that could run, ask or wait does so."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from git import Git, Repo
from git.exc import GitCommandError, GitCommandNotFound, GitError, InvalidGitRepositoryError, NoSuchPathError

from server.errors import WorkspaceUnusable

MIN_VERSION = (2, 31)  # the first with configuration from the environment
IDENTITY = ("autoresearch", "autoresearch@localhost")
_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.fsync": "committed,loose-object,reference",
    "core.autocrlf": "false",
    "commit.gpgsign": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "protocol.ext.allow": "never",
}
_FROM_OUTSIDE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX")


def open_repository(path: Path) -> Repo:
    """The repository that `path` is in, hardened: no hooks, filters, signing, prompts or daemons.

    Raises:
        WorkspaceUnusable: there is none, or git is missing or too old.
    """
    _require_git()
    for name in _FROM_OUTSIDE:
        os.environ.pop(name, None)  # a hook or an editor may have started us; GitPython passes these on
    try:
        repo = Repo(path, search_parent_directories=True)
    except (InvalidGitRepositoryError, NoSuchPathError):
        raise WorkspaceUnusable(
            f"{path.resolve()} is not in a git repository.",
            "Run `autoresearch init DIR` for a new workspace, or `git init` there and commit program.md and train.py.",
        ) from None
    harden(repo)
    return repo


def content(blob: Any) -> bytes:
    """The bytes of a blob; GitPython does not type its streams."""
    return blob.data_stream.read()


def harden(repo: Repo) -> None:
    """Set the environment of every later git call on `repo`."""
    settings = dict(_SETTINGS)
    with repo.config_reader() as config:
        filters = [section[8:-1] for section in config.sections() if section.startswith('filter "')]
    for name in filters:
        settings |= {f"filter.{name}.{part}": "" for part in ("smudge", "clean", "process")}
        settings[f"filter.{name}.required"] = "false"
    environment = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    repo.git.update_environment(**environment)


@contextmanager
def speaking(what: str) -> Generator[None]:
    """The one place where git's errors become ours: `what` failed, and why."""
    try:
        yield
    except GitCommandError as error:
        said = str(error.stderr).strip().removeprefix("stderr: ").strip("'\n ")
        raise _failed(what, said or f"git exit code {error.status}") from error
    except (GitError, OSError, ValueError) as error:
        raise _failed(what, str(error)) from error


def _failed(what: str, said: str) -> WorkspaceUnusable:
    if "No space left" in said:
        step = "The disk is full: the operator frees space, then call again; nothing was lost."
    elif "Read-only file system" in said or "Permission denied" in said:
        step = "The operator restores write access to the repository, then call again; nothing was lost."
    elif ".lock'" in said and "File exists" in said:
        step = "Another git is at work there, or was killed at it: call again in ten seconds."
    elif "Input/output error" in said:
        step = "The disk failed: call again; if it goes on, the operator looks at the disk. Nothing was lost."
    else:
        step = "The operator looks into the repository with `autoresearch doctor`."
    return WorkspaceUnusable(f"{what} failed: {said.splitlines()[0] if said else 'no reason given'}.", step)


def _require_git() -> None:
    try:
        found = Git().version_info[:2]
    except (GitCommandNotFound, GitCommandError):
        raise WorkspaceUnusable("git was not found.", "Install git 2.31 or newer.") from None
    if found < MIN_VERSION:
        raise WorkspaceUnusable(f"git {'.'.join(map(str, found))} is too old.", "Install git 2.31 or newer.")
