"""Repositories made or cloned for a night, before there is a workspace in them."""

from pathlib import Path

from git import Repo

from server.git_environment import IDENTITY, harden, open_repository, speaking


def initialise(folder: Path, message: str) -> str:
    """A repository in `folder` with one commit of everything that is not ignored. Returns the commit."""
    with speaking(f"Making a repository in {folder}"), Repo.init(folder, initial_branch="main") as repo:
        harden(repo)
        with repo.config_reader() as config:
            known = config.has_option("user", "email")
        who = {} if known else {f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER")
                                for part, value in zip(("NAME", "EMAIL"), IDENTITY, strict=True)}  # fmt: skip
        with repo.git.custom_environment(**who):
            repo.git.add("--all")
            repo.git.commit("--quiet", "--no-verify", "-m", message)
        return str(repo.head.commit.hexsha)


def clone(source: Path, target: Path) -> None:
    """A clone of the repository at `source`, sharing nothing with it."""
    with open_repository(source) as repo, speaking(f"Cloning {source}"):
        repo.git.clone("--quiet", "--no-local", "--", str(repo.working_tree_dir), str(target))
