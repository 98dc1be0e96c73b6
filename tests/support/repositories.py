"""Real git repositories as users have them, and the files that tests put into them."""

import os
import shutil
import subprocess
from pathlib import Path

PROGRAM = "---\nname: test\nbudget_seconds: 0.5\npreflight: false\nkeep_rule: any\n---\nDo research.\n"
ROOT = Path(__file__).parents[2]
STAND_INS = Path(__file__).parents[1] / "fixtures" / "stand_ins"
HARDLY_LEARNS = (STAND_INS / "honest.py").read_text(encoding="utf-8").replace("RATE = 0.03", "RATE = 1e-6")
# The baseline believes next to nothing of what it counted: what is better and what is worse is certain, and a run of it
# costs two fifths of one that trains with torch.
QUICK = (STAND_INS / "unigram.py").read_text(encoding="utf-8").replace("RATE = 0.03", "RATE = 1e-6")
IDENTITY = {f"GIT_{role}_{part}": "user@example.org" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}


def git(folder: Path, *arguments: str) -> str:
    """Plain git, as the user runs it."""
    return subprocess.run(
        ["git", *arguments],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        check=True,
        env={**os.environ, **IDENTITY},
    ).stdout.strip()


def make_repository(folder: Path, train: str) -> Path:
    """A user's repository with a program.md and a train.py."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "program.md").write_text(PROGRAM, encoding="utf-8")
    (folder / "train.py").write_text(train, encoding="utf-8")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "start")
    return folder


def make_quick(folder: Path, data: Path, train: str = QUICK) -> Path:
    """The same with a train.py that costs little, and `data` as the folder of tokenised data."""
    made = make_repository(folder, train)
    link_data(made, data)
    return made


def link_data(repository: Path, data: Path) -> None:
    """Let runs in the repository find the data built already."""
    (repository / ".autoresearch").mkdir()
    (repository / ".autoresearch" / "data").symlink_to(data)


def copy_repository(made: Path, folder: Path) -> Path:
    """A copy in `folder` of a repository with a study, as if the study had happened there."""
    shutil.copytree(made, folder, symlinks=True, dirs_exist_ok=True)
    for link in (*folder.glob(".git/worktrees/*/gitdir"), *folder.glob(".autoresearch/*/worktree/.git")):
        link.write_text(link.read_text(encoding="utf-8").replace(str(made), str(folder)), encoding="utf-8")
    return folder
