"""What a commit changed, for whoever looks at a repository that a server may be working in: nothing is written."""

from pathlib import Path

from server.vcs.git_environment import open_repository, translating_git_errors
from server.vcs.objects import NO_FETCH

_MOST = 1 << 20  # characters


def commit_diff(root: Path, before: str, after: str) -> str:
    """The unified diff between two commits, its first million characters; empty if they have the same files.

    Raises:
        WorkspaceUnusable: git has lost one of them.
    """
    with open_repository(root) as repo, translating_git_errors("Comparing two commits"):
        with repo.git.custom_environment(**NO_FETCH):
            told = repo.git(c="core.quotePath=false").diff_tree(
                *("-p", "-r", "--no-ext-diff", "--no-textconv", "--no-renames", "--no-color"),
                *("--end-of-options", before, after),
                strip_newline_in_stdout=False,
            )
    return str(told)[:_MOST].encode("utf-8", "replace").decode()  # of bytes that are no text
