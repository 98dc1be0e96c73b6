"""A control group for the processes of one train.py: the kernel counts its CPU seconds to the last one, dead or alive.

Version 2 (cgroups(7)), which every kernel has, also beside version 1. Root may make one nearly everywhere, but in most
containers; another user where a service manager has left them a part of the tree. Whoever is confined cannot leave it:
that takes writing into the tree of groups.
"""

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

import psutil

_MOUNTS = Path("/proc/self/mountinfo")
_OURS = Path("/proc/self/cgroup")
_NAME = "autoresearch-{pid}-{token}"
_LEFT = re.compile(r"autoresearch-(\d+)-[0-9a-f]+")


class ControlGroup:
    """One group. Whoever makes it closes it once its processes are dead."""

    def __init__(self, pid: int) -> None:
        """Make one below that of this process, and put process `pid` into it. Raises OSError: none can be made here."""
        parent = _own()
        _clear(parent)
        self._folder = parent / _NAME.format(pid=os.getpid(), token=secrets.token_hex(8))
        self._folder.mkdir()
        try:
            (self._folder / "cgroup.procs").write_text(str(pid), encoding="ascii")
            self.seconds()
        except (OSError, ValueError) as error:
            self.close()
            raise OSError(f"a control group does not count: {error}") from error

    def seconds(self) -> float:
        """CPU seconds of all processes that were ever in it, since it was made. Raises OSError, ValueError."""
        lines = (self._folder / "cpu.stat").read_text(encoding="ascii").splitlines()
        used = next((line for line in lines if line.startswith("usage_usec ")), "")
        return int(used.removeprefix("usage_usec ")) / 1e6

    def close(self) -> bool:
        """Remove it; while processes are in it, it stays, and a later run removes it. Returns whether it is gone."""
        with suppress(OSError):
            self._folder.rmdir()
        return not self._folder.exists()


def _own() -> Path:
    """The folder of this process's group. Raises OSError: the kernel shows none."""
    for line in _MOUNTS.read_text(encoding="utf-8").splitlines():
        fields, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            root, place = fields.split()[3:5]
            for ours in _OURS.read_text(encoding="utf-8").splitlines():
                if ours.startswith("0::"):
                    return Path(place) / ours[3:].removeprefix(root.rstrip("/")).lstrip("/")
    raise FileNotFoundError("no control groups of version 2 are mounted")


def _clear(parent: Path) -> None:
    """Remove the groups of supervisors that were killed."""
    for folder in parent.glob("autoresearch-*"):
        found = _LEFT.fullmatch(folder.name)
        if found and not psutil.pid_exists(int(found[1])):
            with suppress(OSError):  # what cannot be killed is in it
                folder.rmdir()
