"""How git is called: nothing in the user's repository that could run, ask or wait does so.

Also repositories before there is a workspace in them: made, cloned, or looked into.
"""

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from git import Git, Repo
from git.exc import GitCommandError, GitCommandNotFound, GitError, InvalidGitRepositoryError, NoSuchPathError

from server.errors import WorkspaceUnusable
from server.files import replace_text
from server.paths import HOME

MIN_VERSION = (2, 31)  # the first with configuration from the environment
IDENTITY = ("autoresearch", "autoresearch@localhost")
_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.splitIndex": "false",
    "core.autocrlf": "false",
    "commit.gpgsign": "false",
    "i18n.commitEncoding": "UTF-8",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "protocol.ext.allow": "never",
}
# What git or the system says, and the next step; the first that is found counts.
_STEPS = {
    ("bad signature 0x", "index file ", "bad index file", "bad index version", "unknown index entry format"): (
        "In that checkout, `rm -f $(git rev-parse --git-path index) && git reset` creates a new index; the files stay."
    ),
    ("No space left", "Disk quota exceeded", "File too large"): (
        "The disk is full, or this user's share of it: the operator frees space, then call again; nothing was lost."
    ),
    ("Read-only file system", "Permission denied", "insufficient permission"): (
        "The operator restores write access to the repository, then call again; nothing was lost."
    ),
    ("xcrun: error", "xcode-select: "): "The operator must install Apple's tools again: `xcode-select --install`.",
    ("Too many open files",): "The operator raises the limit of open files (ulimit -n) and starts the server again.",
    ("File name too long",): "The operator moves the repository to a shorter path.",
    ("packed-refs",): ("At its start, a server removes the lines that git cannot read, and keeps the old file."),
    ("Input/output error", "Stale file handle", "Transport endpoint is not connected", "Host is down"): (
        "The disk failed: call again; if it goes on, the operator looks at the disk. Nothing was lost."
    ),
    (
        "could not be resolved",
        "nonexistent object",
        "object file",
        "loose object",
        "packed object",
        "unpack tree object",
    ): (
        "Git has lost an object: the operator finds which with `git fsck`, and copies it from a backup or another "
        "clone, or begins a new study with --tag NAME."
    ),
}
_NO_REPOSITORY = (
    "Run `autoresearch init DIR` for a new workspace, or `git init` there and commit program.md and train.py."
)
_LOOK = "The operator must check the repository with `autoresearch doctor`."
_MISREAD = (
    "bad config",
    "unable to access '",
    "reading the configuration files",
    "unknown config",
    "invalid config",
    "config value",
    "config key",
    "include depth",
    "bogus count",
    "bogus config",
    "does not contain a section",
    "does not contain variable name",
    "invalid key",
    "invalid value",
    "bogus format in GIT_CONFIG",
    "command-line config",
)
_CONFIGURATION = "The operator corrects git's configuration: `git config --list --show-origin` says the same."
# What `git rev-parse --local-env-vars` lists, of any version: whoever started us means another repository with it. Not
# GIT_CONFIG_COUNT, by which the user configures git, as for safe.directory in a container.
LOCAL = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)
_FROM_OUTSIDE = (
    *LOCAL,
    "GIT_ATTR_SOURCE",
    "GIT_AUTHOR_DATE",
    "GIT_COMMITTER_DATE",
    "GIT_GLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
    "GIT_LITERAL_PATHSPECS",
    "GIT_NAMESPACE",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_QUARANTINE_PATH",
)


class _Git(Git):
    """Git, called in the folder that is named: GitPython would expand variables in the name, and lead elsewhere."""

    def __init__(self, working_dir: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        self._working_dir = None if working_dir is None else os.path.abspath(working_dir)


class Repository(Repo):
    """A repository in, or with `above` over, the folder that is named: `$` and `~` in the name are letters."""

    GitCommandWrapperType = _Git

    def __init__(self, path: Path, above: bool = False) -> None:
        super().__init__(path.absolute(), search_parent_directories=above, expand_vars=False)


def require_git() -> tuple[int, ...]:
    """Git's version; and what a hook or an editor that started us told its own git is forgotten.

    Raises:
        WorkspaceUnusable: git is missing or too old.
    """
    for name in _FROM_OUTSIDE:
        os.environ.pop(name, None)  # GitPython passes these on
    with translating_git_errors("Asking git for its version"):
        try:
            found = Git().version_info
        except GitCommandNotFound:
            raise WorkspaceUnusable("git was not found.", "Install git 2.31 or newer.") from None
    if found[:2] < MIN_VERSION:
        raise WorkspaceUnusable(f"git {'.'.join(map(str, found))} is too old.", "Install git 2.31 or newer.")
    return found


def open_repository(path: Path, step: str = _NO_REPOSITORY) -> Repo:
    """The repository that `path` is in, hardened: no hooks, filters, signing, prompts or daemons.

    Args:
        step: what the operator does where there is none.

    Raises:
        WorkspaceUnusable: there is none, or git is missing or too old, or its configuration cannot be read.
    """
    version = require_git()
    try:
        repo = Repository(path, above=True)
    except (InvalidGitRepositoryError, NoSuchPathError):
        raise WorkspaceUnusable(f"{path.resolve()} is not in a git repository.", step) from None
    with translating_git_errors("Reading git's configuration"):
        harden(repo, version)
    return repo


def content(blob: Any) -> bytes:
    """The bytes of a blob; GitPython does not type its streams."""
    return blob.data_stream.read()


def harden(repo: Repo, version: tuple[int, ...] = ()) -> None:
    """Set the environment of every later git call on `repo`. `version` is git's; without it git is asked."""
    settings = _SETTINGS | durable(version or repo.git.version_info)
    for key in configured(repo, r"^(filter|hook)\..*\."):
        kind, _, rest = key.partition(".")
        name = rest.rpartition(".")[0]
        if kind == "hook":  # since git 2.54; core.hooksPath does not concern them
            settings[f"hook.{name}.enabled"] = "false"
        else:
            settings |= {f"filter.{name}.{part}": "" for part in ("smudge", "clean", "process")}
            settings[f"filter.{name}.required"] = "false"
    told = os.environ.get("GIT_CONFIG_COUNT", "")
    first = int(told) if told.isdecimal() else 0  # after what the user set in the same way: the last one counts
    environment = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_CONFIG_COUNT": str(first + len(settings)),
    }
    for number, (key, value) in enumerate(settings.items(), first):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    repo.git.update_environment(**environment)


def durable(version: tuple[int, ...]) -> dict[str, str]:
    """What makes git wait for the disk. Git before 2.36 can do so for objects only; a newer one warns of that name."""
    if version[:2] < (2, 36):
        return {"core.fsyncObjectFiles": "true"}
    return {"core.fsync": "committed,loose-object,reference"}


def configured(repo: Repo, pattern: str) -> set[str]:
    """The names in git's configuration that match, whichever file, variable or condition they come from."""
    try:
        return set(repo.git.config("--name-only", "-z", "--get-regexp", pattern).split("\0")) - {""}
    except GitCommandError as error:
        if error.status == 1:  # there is none
            return set()
        raise


@contextmanager
def translating_git_errors(what: str) -> Generator[None]:
    """The one place where git's errors become ours: `what` failed, and why."""
    try:
        yield
    except GitCommandError as error:
        said = str(error.stderr).strip().removeprefix("stderr: ").strip("'\n ")
        limited = error.status == -signal.SIGXFSZ
        raise _failed(what, said or ("File too large" if limited else f"git exit code {error.status}")) from error
    except (GitError, OSError, ValueError) as error:
        raise _failed(what, str(error)) from error


def _failed(what: str, said: str) -> WorkspaceUnusable:
    lines = said.replace(":\n\t", ": ").splitlines()  # git names an extension on a line of its own
    told = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[0] if lines else "")
    step = _CONFIGURATION if any(words in told for words in _MISREAD) else _next_step(said)
    return WorkspaceUnusable(f"{what} failed: {told.rstrip('.') or 'no reason given'}.", step)


def _next_step(said: str) -> str:
    step = next((step for words, step in _STEPS.items() if any(word in said for word in words)), _LOOK)
    if ".lock'" in said and "File exists" in said:
        step = "Another git process works there, or was killed there: call again in ten seconds."
    elif "dubious ownership" in said:  # git's last line is the command that makes an exception
        step = f"The operator makes it this user's own, or trusts it: `{said.splitlines()[-1].strip()}`."
    return step


def exclude(repo: Repo, line: str) -> None:
    """Add a line once to the repository's info/exclude. Raises OSError."""
    path = Path(str(repo.common_dir)) / "info" / "exclude"
    text = path.read_bytes().decode() if path.exists() else ""
    if line not in text.splitlines():
        path.parent.mkdir(exist_ok=True)
        replace_text(path, text + ("\n" if text and not text.endswith("\n") else "") + f"{line}\n")


def exclude_at(root: Path, line: str) -> None:
    """The same for the repository whose top is the folder. Raises WorkspaceUnusable."""
    with open_repository(root) as repo, translating_git_errors(f"Excluding {line}"):
        exclude(repo, line)


def init_repository(folder: Path, message: str) -> str:
    """A repository in `folder` with one commit of everything that is not ignored. Returns the commit."""
    # Whatever the user's defaults are, a night needs these; git 2.45 is the first that has other refs.
    formats: dict[str, Any] = {"object_format": "sha1"}
    if require_git()[:2] >= (2, 45):
        formats["ref_format"] = "files"
    with translating_git_errors(f"Making a repository in {folder}"):
        _Git(folder).init(initial_branch="main", **formats)
        with Repository(folder) as repo:
            harden(repo)
            with author(repo):
                repo.git.add("--all")
                repo.git.commit("--quiet", "--no-verify", "-m", message)
            return str(repo.head.commit.hexsha)


@contextmanager
def author(repo: Repo) -> Generator[None]:
    """While a commit is made that is the user's: their name, or ours where git knows none."""
    known = len(configured(repo, r"^user\.(name|email)$")) == 2
    with repo.git.custom_environment(**({} if known else _ours())):
        yield


def _ours() -> dict[str, str]:
    """An author, where the environment names none."""
    who = {
        f"GIT_{role}_{part}": value
        for role in ("AUTHOR", "COMMITTER")
        for part, value in zip(("NAME", "EMAIL"), IDENTITY, strict=True)
    }
    return {name: value for name, value in who.items() if name not in os.environ}


def clone_repository(source: Path, target: Path) -> None:
    """A clone of the repository at `source`, sharing nothing with it."""
    with open_repository(source) as repo, translating_git_errors(f"Cloning {source}"):
        repo.git.clone("--quiet", "--no-local", "--", str(repo.working_tree_dir), str(target))


def submodules(folder: Path) -> list[str]:
    """Where other repositories are mounted in this one. Raises WorkspaceUnusable."""
    with open_repository(folder) as repo, translating_git_errors("Looking for submodules"):
        entries = repo.git.ls_files("--stage", "-z").split("\0")
    names = [entry.partition("\t")[2] for entry in entries if entry.startswith("160000 ")]
    return [name for name in names if not name.startswith(f"{HOME}/")]


def tracked(folder: Path, below: str) -> list[str]:
    """The files at and below a path of the repository that git tracks. Raises WorkspaceUnusable."""
    with open_repository(folder) as repo, translating_git_errors("Looking for tracked files"):
        return [name for name in repo.git.ls_files("-z", "--", below).split("\0") if name]
