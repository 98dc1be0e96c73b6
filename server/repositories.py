"""Repositories made, cloned or looked into for a night, before there is a workspace in them."""

import os
from pathlib import Path
from typing import Any

from git import Repo

from server.git_environment import IDENTITY, configured, harden, open_repository, require_git, speaking


def initialise(folder: Path, message: str) -> str:
    """A repository in `folder` with one commit of everything that is not ignored. Returns the commit."""
    # Whatever the user's defaults are, a night needs these; git 2.45 is the first that has other refs.
    formats: dict[str, Any] = {"object_format": "sha1"}
    if require_git()[:2] >= (2, 45):
        formats["ref_format"] = "files"
    with speaking(f"Making a repository in {folder}"):
        with Repo.init(folder, initial_branch="main", **formats) as repo:
            harden(repo)
            known = len(configured(repo, r"^user\.(name|email)$")) == 2
            with repo.git.custom_environment(**({} if known else _ours())):
                repo.git.add("--all")
                repo.git.commit("--quiet", "--no-verify", "-m", message)
            return str(repo.head.commit.hexsha)


def _ours() -> dict[str, str]:
    """An author, where the environment names none."""
    who = {f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER")
           for part, value in zip(("NAME", "EMAIL"), IDENTITY, strict=True)}  # fmt: skip
    return {name: value for name, value in who.items() if name not in os.environ}


def clone(source: Path, target: Path) -> None:
    """A clone of the repository at `source`, sharing nothing with it."""
    with open_repository(source) as repo, speaking(f"Cloning {source}"):
        repo.git.clone("--quiet", "--no-local", "--", str(repo.working_tree_dir), str(target))


def submodules(folder: Path) -> list[str]:
    """Where other repositories are mounted in this one. Raises WorkspaceUnusable."""
    with open_repository(folder) as repo, speaking("Looking for submodules"):
        entries = repo.git.ls_files("--stage", "-z").split("\0")
    return [entry.partition("\t")[2] for entry in entries if entry.startswith("160000 ")]
