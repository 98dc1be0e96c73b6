"""What keeps a shell of the agent's from the server's files: another account, or nothing.

The guards hold train.py, not a shell. Who has one under the server's account can write what the server writes.
"""

import os
import pwd
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import psutil

from server.paths import Home

ANOTHER = "another account"
SAME = "same account"
UNKNOWN = "unknown"
_NO_SHELLS = ("nologin", "false", "")
_PACKAGES = Path(__file__).resolve().parents[2]


class Boundary(NamedTuple):
    """What holds, and why."""

    word: str  # ANOTHER, SAME or UNKNOWN
    detail: str


@lru_cache(maxsize=8)  # whoever started a process stays who it was, also where it has ended by now
def boundary(root: Path, pid: int = 0) -> Boundary:
    """What is between a shell of an agent's and the server of the repository at `root`.

    Args:
        pid: the server's; 0: this process.
    """
    try:
        server = psutil.Process(pid or os.getpid())
        account, starter = server.uids().effective, _account(server.ppid())
    except psutil.Error as error:
        return Boundary(UNKNOWN, f"the server's process cannot be inspected: {error}")
    name = _name(account)
    if starter == account:
        return Boundary(
            SAME, f"{name} started the server and has a shell: anyone with that shell can forge every result"
        )
    if not _closed(account):
        return Boundary(UNKNOWN, f"the server runs as {name}, who can log in: is that the agent's account?")
    if loose := [str(path) for path in _files(root) if _loose(path, account)]:
        return Boundary(UNKNOWN, f"the server runs as {name}, but others can change {', '.join(loose)}")
    return Boundary(ANOTHER, f"the server runs as {name}, an account without a login, and only it can change its files")


def _account(pid: int) -> int | None:
    with suppress(psutil.Error):
        return psutil.Process(pid).uids().effective
    return None  # of a container's first process


def _name(account: int) -> str:
    with suppress(KeyError):
        return pwd.getpwuid(account).pw_name
    return f"uid {account}"


def _closed(account: int) -> bool:
    """Whether nobody logs in as this account."""
    try:
        return Path(pwd.getpwuid(account).pw_shell).name in _NO_SHELLS
    except KeyError:
        return True


def _files(root: Path) -> list[Path]:
    return [root, root / ".git", Home(root).folder, _PACKAGES, Path(sys.prefix)]


def _loose(path: Path, account: int) -> bool:
    """Whether an account beside the server's and root's can change what is at `path`."""
    try:
        found = path.stat()
    except OSError:
        return False
    return found.st_uid not in (account, 0) or bool(found.st_mode & 0o022)
