"""Real git repositories as users have them, and the files that tests put into them."""

import atexit
import hashlib
import os
import shutil
import struct
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

PROGRAM = "---\nname: test\nbudget_seconds: 0.5\npreflight: false\nkeep_rule: any\n---\nDo research.\n"
ROOT = Path(__file__).parents[2]
STAND_INS = Path(__file__).parents[1] / "fixtures" / "stand_ins"
HARDLY_LEARNS = (STAND_INS / "honest.py").read_text(encoding="utf-8").replace("RATE = 0.03", "RATE = 1e-6")
# The baseline believes next to nothing of what it counted: what is better and what is worse is certain, and a run of it
# costs two fifths of one that trains with torch.
QUICK = (STAND_INS / "unigram.py").read_text(encoding="utf-8").replace("RATE = 0.03", "RATE = 1e-6")
# Options of `serve` where the guards are not what is tested: to look after all that train.py may read, 70,000 files,
# costs as much as all the rest of such a run.
UNGUARDED = ("--require", "nothing")
_WORD = 0xFFFFFFFF  # of an index
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
    """A user's repository with a program.md and a train.py: a copy of one that git has made."""
    shutil.copytree(_template(train), folder)
    _refresh_index(folder)
    return folder


@cache
def _template(train: str) -> Path:
    folder = Path(mkdtemp(prefix="autoresearch-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "program.md").write_text(PROGRAM, encoding="utf-8")
    (folder / "train.py").write_text(train, encoding="utf-8")
    # Whatever the test that comes first has done to the environment.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    clean |= {**IDENTITY, "GIT_CONFIG_GLOBAL": os.devnull}
    for words in ("init --quiet --initial-branch=main", "add .", "commit --quiet -m start"):
        subprocess.run(["git", *words.split()], cwd=folder, check=True, env=clean)
    for sample in (folder / ".git" / "hooks").iterdir():
        sample.unlink()
    return folder


def _refresh_index(folder: Path) -> None:
    """Note times and numbers of the copied files in git's index (version 2), as `git update-index --refresh` does."""
    index = folder / ".git" / "index"
    held, at = bytearray(index.read_bytes()), 12
    assert held[:8] == b"DIRC\0\0\0\2"
    for _ in range(int.from_bytes(held[8:12])):
        length = int.from_bytes(held[at + 60 : at + 62]) & 0xFFF
        found = (folder / held[at + 62 : at + 62 + length].decode()).lstat()
        times = (*divmod(found.st_ctime_ns, 10**9), *divmod(found.st_mtime_ns, 10**9))
        struct.pack_into(">6I", held, at, *times, found.st_dev & _WORD, found.st_ino & _WORD)
        struct.pack_into(">3I", held, at + 28, found.st_uid, found.st_gid, found.st_size)  # the mode is the same
        at += (62 + length + 8) & ~7
    held[-20:] = hashlib.sha1(held[:-20], usedforsecurity=False).digest()
    index.write_bytes(held)


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
