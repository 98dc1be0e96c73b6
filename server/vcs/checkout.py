"""A user's checkout before there is a study in it: what is committed, what is not, and a commit of program.md."""

import os
from pathlib import Path
from types import TracebackType

from git import Repo

from server.errors import WorkspaceUnusable
from server.source.editable import Editable
from server.vcs import repository_checks
from server.vcs.git_environment import author, open_repository, translating_git_errors
from server.vcs.trees import Trees

_TAG = "adopt"  # of no study: what is asked of a new one is asked of any
_BEGIN = "git init && git add -A && git commit -m Start"


class Checkout:
    """The files of the commit that is checked out, at the top of a repository."""

    def __init__(self, repo: Repo, root: Path, commit: str) -> None:
        self._repo, self.root, self.commit = repo, root, commit
        self._trees = Trees(repo)

    @classmethod
    def open(cls, path: Path) -> "Checkout":
        """Look at the repository whose top is `path`, and change nothing.

        Raises:
            WorkspaceUnusable: no study could begin there: one sentence, and the next step.
        """
        if not path.is_dir():
            raise WorkspaceUnusable(f"{path} is not a directory.", "Name the folder of your project.")
        repo = open_repository(path, f"Make it a repository: run `{_BEGIN}` there, then call again.")
        try:
            with translating_git_errors("Looking at the repository"):
                return cls(repo, *_usable(repo, path))
        except BaseException:
            repo.close()
            raise

    @property
    def files(self) -> list[str]:
        """The paths of the commit's plain files. Raises WorkspaceUnusable."""
        return [path for path, entry in self._trees.entries(self.commit).items() if entry.plain]

    @property
    def submodules(self) -> list[str]:
        """Where other repositories are mounted. Raises WorkspaceUnusable."""
        return [path for path, entry in self._trees.entries(self.commit).items() if entry.submodule]

    def new_files(self) -> list[str]:
        """Files that git does not have and does not ignore. Raises WorkspaceUnusable."""
        with translating_git_errors("Looking for new files"):
            told = self._repo.git.ls_files("-z", "--others", "--exclude-standard")
        return [name for name in str(told).split("\0") if name]

    def require_usable(self, editable: Editable) -> None:
        """Refuse globs of which no candidate can be made here. Raises WorkspaceUnusable."""
        self._trees.require_usable(self.commit, editable)

    def lay_out(self, folder: Path) -> None:
        """Write the commit's files into a new folder. Raises WorkspaceUnusable."""
        self._trees.lay_out(self.commit, folder)

    def add(self, name: str, message: str) -> str:
        """Commit one file, and nothing else that is staged. Returns the commit. Raises WorkspaceUnusable."""
        with translating_git_errors(f"Committing {name}"), author(self._repo):
            self._repo.git.add("--", name)
            self._repo.git.commit("--quiet", "--no-verify", "-m", message, "--only", "--", name)
            return str(self._repo.git.rev_parse("HEAD"))

    def close(self) -> None:
        """End the git processes that serve this object."""
        self._repo.close()

    def __enter__(self) -> "Checkout":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _usable(repo: Repo, path: Path) -> tuple[Path, str]:
    """The top and the commit. Raises WorkspaceUnusable, git's errors."""
    if repo.bare or repo.working_tree_dir is None:
        raise WorkspaceUnusable(f"{path.resolve()} is a bare repository.", "Clone it, and name the clone.")
    root = Path(str(repo.working_tree_dir))
    if root.resolve() != path.resolve():
        raise WorkspaceUnusable(
            f"{path.resolve()} is a folder of the repository {root}, and paths in program.md begin at its top.",
            f"Call `autoresearch adopt {root}`; or give the folder a repository of its own: `{_BEGIN}` there.",
        )
    if not repo.head.is_valid():
        raise WorkspaceUnusable(
            f"{root} has no commit yet.", "Make a commit: run `git add -A && git commit -m Start` there."
        )
    if not os.access(root, os.W_OK):
        raise WorkspaceUnusable(f"{root} cannot be written to.", "Restore write access to it.")
    repository_checks.check_new_tag(repo, _TAG)
    return root, str(repo.head.commit.hexsha)
