"""Checks of a repository: what it must be like before a study starts in it, each with its sentence."""

import os
import re
from pathlib import Path
from tempfile import TemporaryFile

from git import Repo
from git.exc import GitCommandError, GitError

from server.errors import WorkspaceUnusable
from server.locks import lock_path
from server.paths import HOME, Home
from server.source.editable import Editable
from server.vcs.git_environment import content
from server.vcs.trees import Trees

_TAG = re.compile(r"(?!.*(?:\.\.|\.lock$|\.$))[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
# What other tools write down while they work, and no run is made of.
_OF_OTHERS = re.compile(
    r"(?:.*/)?(?:\.auto/(?:log\.jsonl|(?:ideas|prompt)\.md)|autoresearch\.(?:jsonl|md|ideas\.md))", re.ASCII
)
_OPERATIONS = {
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "BISECT_LOG": "a bisection",
}


_FORMATS = {"extensions.objectformat": "sha1", "extensions.refstorage": "files"}
_OURS = ("objects", "refs", "refs/heads", "info", "logs", "worktrees")  # folders of .git that a night writes to


def check_repository(repo: Repo, path: Path, tag: str, editable: Editable) -> None:
    """What must hold whenever a server starts. Raises WorkspaceUnusable."""
    if not _TAG.fullmatch(tag):
        raise WorkspaceUnusable(
            f"{tag!r} is not a valid tag.",
            "Use letters, digits, '.', '_' and '-', at most 100, starting with a letter.",
        )
    if repo.bare or repo.working_tree_dir is None:
        raise WorkspaceUnusable(f"{path.resolve()} is a bare repository.", "Clone it, and name the clone.")
    root, common = Path(str(repo.working_tree_dir)), Path(str(repo.common_dir))
    if root.resolve() != path.resolve():
        raise WorkspaceUnusable(
            f"{path.resolve()} is inside the repository {root}.",
            f"Use --workspace '{root}', or a repository of its own.",
        )
    _check_formats(repo, root, common)
    _check_writable(root, common, tag)
    _check_exclude(common / "info" / "exclude")
    branch = f"autoresearch/{tag}"
    if not repo.head.is_detached and repo.head.reference.path == f"refs/heads/{branch}":
        raise WorkspaceUnusable(
            f"The checkout is on {branch}, which the study moves.", "Check out another branch: `git switch BRANCH`."
        )
    begun = _commit(repo, f"refs/heads/{branch}")  # a night's text is on its own branch
    start = begun or _commit(repo, "HEAD")
    if start is None:
        if Home(root).study(tag).ledger.exists():
            return  # packed-refs is gone: the ledger knows where the branch was
        raise WorkspaceUnusable(f"{root} has no commit yet.", f"Commit program.md and {editable} first.")
    _check_start(repo, tag, editable, start, begun is not None)


def _check_start(repo: Repo, tag: str, editable: Editable, start: str, begun: bool) -> None:
    try:
        _check_editable(repo, start, editable, begun)
    except WorkspaceUnusable:
        # While nothing is kept a task's study goes on from the checkout: that may have what is missing.
        checkout = next_start(repo)
        if editable.plain or checkout is None or checkout == start or _is_attempt(repo, tag, start):
            raise
        _check_editable(repo, checkout, editable, begun=False)


def check_new_tag(repo: Repo, tag: str) -> None:
    """What must hold besides when a tag is new: the night starts from HEAD. Raises WorkspaceUnusable."""
    _check_name(repo, f"autoresearch/{tag}")
    if what := _operation(repo):
        raise WorkspaceUnusable(f"The checkout is in the middle of {what}.", "Finish or abort it first.")
    if repo.head.is_detached:
        raise WorkspaceUnusable("The checkout's HEAD is detached.", "Check out a branch first: `git switch BRANCH`.")
    if not (Path(str(repo.git_dir)) / "index").exists() and repo.git.ls_tree("--name-only", "HEAD"):
        raise WorkspaceUnusable(
            "The checkout has no index: git treats every file as deleted.", "Run `git reset` there."
        )
    # A human edits program.md while the server runs; our own state, if somebody committed it, changes with each run.
    dirty = [name for name in _changed(repo) if name != "program.md" and not name.startswith(f"{HOME}/")]
    dirty = [name for name in dirty if not _OF_OTHERS.fullmatch(name)]
    if dirty:
        shown = ", ".join(dirty[:3]) + (", ..." if len(dirty) > 3 else "")
        raise WorkspaceUnusable(
            f"The checkout has uncommitted changes: {shown}.",
            "Commit or stash them: a study starts from a commit.",
        )


def next_start(repo: Repo) -> str | None:
    """The commit of the checkout that a study may begin at; None while it is in the middle of something."""
    return None if repo.head.is_detached or _operation(repo) else _commit(repo, "HEAD")


def _operation(repo: Repo) -> str:
    """What the checkout is in the middle of; empty if nothing."""
    folder = Path(str(repo.git_dir))
    return next((what for name, what in _OPERATIONS.items() if (folder / name).exists()), "")


def _is_attempt(repo: Repo, tag: str, commit: str) -> bool:
    """Whether the commit is an experiment's of this tag."""
    return bool(repo.git.for_each_ref(f"--points-at={commit}", "--count=1", f"refs/autoresearch/{tag}/"))


def _check_formats(repo: Repo, root: Path, common: Path) -> None:
    # From the file: a git that does not know one of them says only that it does not.
    said = repo.git.config("--file", str(common / "config"), "--get-regexp", r"^extensions\.", with_exceptions=False)
    for line in said.splitlines():
        key, _, value = line.partition(" ")
        if key in _FORMATS and value.lower() != _FORMATS[key]:
            raise WorkspaceUnusable(
                f"{root} is a repository with {key}={value}: only {_FORMATS[key]} is supported.",
                "Copy the files to a new folder, and make a repository there: "
                "`GIT_DEFAULT_REF_FORMAT=files git init --object-format=sha1`.",
            )


def _check_writable(root: Path, common: Path, tag: str) -> None:
    study = Home(root).study(tag)
    for folder in (study.home.folder, study.state):
        if os.path.lexists(folder) and not folder.is_dir():
            raise WorkspaceUnusable(
                f"{folder} is in the way: it is not a folder.",
                "Move it away: the server keeps its state in a folder there.",
            )
    ours = (lock_path(root), study.home.folder, study.state, study.runs, study.worktree, study.ledger)
    for path in (root, common, *(common / name for name in _OURS), *(common / "objects").glob("??"), *ours):
        if path.exists() and not os.access(path, os.W_OK):
            raise WorkspaceUnusable(f"{path} cannot be written to.", "Restore write access to it.")


def _check_exclude(exclude: Path) -> None:
    try:
        exclude.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except UnicodeDecodeError as error:
        raise WorkspaceUnusable(f"{exclude} is not UTF-8 (byte {error.start}).", "Save it as UTF-8 text.") from None


def studies_in_git(path: Path) -> list[str]:
    """Tags of the studies whose rows a repository has: a clone or a bundle brings them, without a ledger."""
    rows = "refs/autoresearch-rows/"
    try:
        with Repo(path) as repo:
            names: list[str] = repo.git.for_each_ref("--format=%(refname)", rows).splitlines()
    except (GitError, OSError):
        return []
    return sorted({name.removeprefix(rows).partition("/")[0] for name in names})


def _commit(repo: Repo, ref: str) -> str | None:
    """What `ref` names, by git itself: whatever else keeps git from saying so is told in git's words."""
    try:
        return str(repo.git.rev_parse("--verify", "--quiet", ref))
    except GitCommandError as error:
        if error.status == 1:
            return None
        raise


def _check_name(repo: Repo, branch: str) -> None:
    for ref in repo.git.for_each_ref("--format=%(refname)", "refs/heads/autoresearch").splitlines():
        name = ref.removeprefix("refs/heads/")
        if name == branch:
            raise WorkspaceUnusable(
                f"The branch {branch} exists, but its history is not here.",
                f"Choose another --tag, or delete the branch with `git branch -D {branch}`.",
            )
        if name == "autoresearch" or name.startswith(f"{branch}/"):
            raise WorkspaceUnusable(
                f"The branch {name} is in the way of {branch}: git cannot have both.",
                f"Rename it: `git branch -m {name} NAME`.",
            )


def _changed(repo: Repo) -> list[str]:
    """Tracked files whose content is not HEAD's, line ends aside.

    Those that a filter has changed on their way from git (large files of LFS) are left out: only by running it could
    they be compared, and the night starts from the commit.
    """
    said = repo.git.diff_index(
        "HEAD", "--numstat", "-z", "--no-renames", "--ignore-cr-at-eol", "--ignore-submodules=dirty"
    )
    names = [line.split("\t", 2)[2] for line in said.split("\0") if line]
    with TemporaryFile() as asked:
        asked.write("\0".join(names).encode("utf-8", "surrogateescape"))
        asked.seek(0)
        told = repo.git.check_attr("--stdin", "-z", "filter", istream=asked).split("\0")
    return [name for name, value in zip(told[::3], told[2::3], strict=False) if value in ("unspecified", "unset")]


def _check_editable(repo: Repo, commit: str, editable: Editable, begun: bool) -> None:
    for file in editable.plain:
        _check_file(repo, commit, file)
    if not editable.plain:
        Trees(repo).require_usable(commit, editable, begun)


def _check_file(repo: Repo, commit: str, file: str) -> None:
    try:
        entry = repo.commit(commit).tree / file
    except KeyError:
        raise WorkspaceUnusable(f"There is no {file} in the commit {commit[:12]}.", f"Commit {file}.") from None
    if entry.type != "blob" or entry.mode == 0o120000:
        raise WorkspaceUnusable(f"{file} is not a regular file.", "Commit a regular file in its place.")
    try:
        content(entry).decode("utf-8")
    except UnicodeDecodeError as error:
        raise WorkspaceUnusable(f"{file} is not UTF-8 (byte {error.start}).", "Commit it as UTF-8 text.") from None
