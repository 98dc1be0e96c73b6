"""The doors of a workspace: what a repository must be like before a night starts in it, each with its sentence."""

import os
import re
from pathlib import Path

from git import Repo

from server.errors import WorkspaceUnusable
from server.git_environment import content

_TAG = re.compile(r"(?!.*(?:\.\.|\.lock$|\.$))[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_OPERATIONS = {
    "rebase-merge": "a rebase", "rebase-apply": "a rebase", "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick", "REVERT_HEAD": "a revert", "BISECT_LOG": "a bisection",
}  # fmt: skip


def check_repository(repo: Repo, path: Path, tag: str, file: str) -> None:
    """What must hold whenever a server starts. Raises WorkspaceUnusable."""
    if not _TAG.fullmatch(tag):
        raise WorkspaceUnusable(
            f"{tag!r} cannot be a tag.", "Use letters, digits, '.', '_' and '-', at most 100, starting with a letter."
        )
    if repo.bare or repo.working_tree_dir is None:
        raise WorkspaceUnusable(f"{path.resolve()} is a bare repository.", "Clone it, and name the clone.")
    root = Path(str(repo.working_tree_dir))
    if root.resolve() != path.resolve():
        raise WorkspaceUnusable(
            f"{path.resolve()} is inside the repository {root}.",
            f"Use --workspace '{root}', or a repository of its own.",
        )
    if not repo.head.is_valid():
        raise WorkspaceUnusable(f"{root} has no commit yet.", f"Commit program.md and {file} first.")
    if not os.access(root, os.W_OK) or not os.access(str(repo.common_dir), os.W_OK):
        raise WorkspaceUnusable(f"{root} cannot be written to.", "Restore write access to it and to its .git.")
    _check_file(repo, root, file)


def check_new_tag(repo: Repo, tag: str, file: str) -> None:
    """What must hold besides when a tag is new: the night starts from HEAD. Raises WorkspaceUnusable."""
    if f"autoresearch/{tag}" in {head.name for head in repo.heads}:
        raise WorkspaceUnusable(
            f"The branch autoresearch/{tag} exists, but its history is not here.",
            f"Choose another --tag, or delete the branch with `git branch -D autoresearch/{tag}`.",
        )
    for name, what in _OPERATIONS.items():
        if (Path(str(repo.git_dir)) / name).exists():
            raise WorkspaceUnusable(f"The checkout is in the middle of {what}.", "Finish or abort it first.")
    if repo.head.is_detached:
        raise WorkspaceUnusable("The checkout's HEAD is detached.", "Check out a branch first: `git switch BRANCH`.")
    # program.md may differ: a human edits it while the server runs.
    changed = [line[3:] for line in repo.git.status("--porcelain", "--untracked-files=no").splitlines()]
    dirty = [name for name in changed if name != "program.md"]
    if dirty:
        shown = ", ".join(dirty[:3]) + (", ..." if len(dirty) > 3 else "")
        raise WorkspaceUnusable(
            f"The checkout has uncommitted changes: {shown}.",
            "Commit or stash them: a night starts from a commit.",
        )


def _check_file(repo: Repo, root: Path, file: str) -> None:
    try:
        entry = repo.head.commit.tree / file
    except KeyError:
        raise WorkspaceUnusable(f"There is no {file} in the last commit of {root}.", f"Commit {file}.") from None
    if entry.type != "blob" or entry.mode == 0o120000 or (root / file).is_symlink():
        raise WorkspaceUnusable(f"{file} is not a regular file.", "Commit a regular file in its place.")
    try:
        content(entry).decode("utf-8")
    except UnicodeDecodeError as error:
        raise WorkspaceUnusable(f"{file} is not UTF-8 (byte {error.start}).", "Commit it as UTF-8 text.") from None
