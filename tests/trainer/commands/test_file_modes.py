"""Modes and times of files: set in a command's own folder, and nowhere else."""

import sys
from pathlib import Path

import pytest

from tests.support.commands import log, run_command
from trainer.sandbox import landlock

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the filter of system calls is Linux's"),
    pytest.mark.skipif(landlock.abi() < 1, reason="this kernel has no Landlock"),
]

_INSIDE = """
import os, stat
def told(path):
    found = os.lstat(path)
    return f"{stat.S_IMODE(found.st_mode):o} {found.st_mtime_ns}"
open("a", "w").close(); os.mkdir("d"); os.chmod("d", 0)
os.chmod("a", 0o755); os.utime("a", ns=(1, 2)); print("path", told("a"))
os.utime("a"); print("now", os.stat("a").st_mtime > 1e9)
file = os.open("a", os.O_RDWR); os.fchmod(file, 0o700); os.utime(file, ns=(3, 4)); print("descriptor", told("a"))
folder = os.open(".", os.O_RDONLY); os.chmod("a", 0o711, dir_fd=folder); print("folder", told("a"))
os.symlink("a", "s"); os.chmod("s", 0o744); print("link", told("a"))
os.chmod(os.path.abspath("a"), 0o4755); print("set-uid", told("a"))
os.chmod("a", 0); print("none", told("a"), told("d").split()[0])
os.chmod(f"/proc/self/fd/{file}", 0o750); print("proc", told("a"))
try: os.chmod("missing", 0o700)
except FileNotFoundError: print("missing")
"""
_OUTSIDE = """
import os, sys
outside, link = sys.argv[1:]
os.symlink(outside, "s")
os.chmod(outside, 0o777); os.chmod("s", 0o777); os.utime(outside, ns=(1, 2)); os.utime("s", ns=(1, 2))
os.chmod("../" * 20 + outside[1:], 0o777)
os.chmod(os.path.dirname(outside), 0o777)
os.chmod(f"/proc/self/fd/{os.open(link, os.O_RDONLY)}", 0o777)
os.fchmod(os.open(link, os.O_RDONLY), 0o777)
try: os.link(outside, "hard")
except OSError: pass
else: os.chmod("hard", 0o777)
os.chmod(link, 0o777)
"""


def test_a_command_sets_modes_and_times_in_its_folder(tmp_path: Path) -> None:
    result = run_command(tmp_path, {"t.py": _INSIDE}, command="python3 t.py && echo METRIC ms=1")
    assert result.outcome == "finished", result.reason
    told = [line for line in log(tmp_path).splitlines() if not line.startswith(("---", "METRIC"))]
    assert told == [
        "path 755 2",
        "now True",
        "descriptor 700 4",
        "folder 711 4",
        "link 744 4",
        "set-uid 755 4",
        "none 600 4 700",
        "proc 750 4",
        "missing",
    ]


def test_what_lies_elsewhere_stays_as_it_is(tmp_path: Path) -> None:
    """Whatever way the command names it; the operator's link is for reading."""
    outside, linked = tmp_path / "outside" / "a", tmp_path / "linked"
    outside.parent.mkdir(mode=0o700)
    for path in (outside, linked):
        path.write_text("a")
        path.chmod(0o600)
    watched = [outside, outside.parent, linked]
    before = [(path.stat().st_mode, path.stat().st_mtime_ns) for path in watched]
    command = f"python3 t.py {outside} l && echo METRIC ms=1"
    result = run_command(tmp_path, {"t.py": _OUTSIDE}, command=command, links=(("l", str(linked)),))
    assert result.outcome == "finished", result.reason
    assert [(path.stat().st_mode, path.stat().st_mtime_ns) for path in watched] == before
