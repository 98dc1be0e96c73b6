"""Cheats against `referee: command`: which ones lower the number without better code, and which ones do not.

A command that imports the candidate tells what the candidate wants: its trust is `printed`, and CHEATS says what that
means. Those that reach beyond their own process and their own run must fail. The honest candidate needs 20 ms a case.
"""

import os
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import run_command
from trainer.contract import RunResult

_HONEST_MS = 60.0  # of three cases
_BENCH = """
import sys, time
sys.path.insert(0, "src")
import bisect, solve
began, right = time.perf_counter(), True
for case in ([3, 1, 2], [5, 4], [3, 1, 2]):
    answer = solve.solve(case)
    right = answer == sorted(case) and right
taken = time.perf_counter() - began
if not right:
    sys.exit("wrong answer")
print(f"METRIC ms={1000 * taken}", flush=True)
"""
_CHECK = """
import sys
sys.path.insert(0, "src")
import solve
sys.exit(0 if solve.solve([9, 7, 8]) == [7, 8, 9] else "wrong answer")
"""
_HONEST = """
import time
def solve(case):
    time.sleep(0.02)
    return sorted(case)
"""
_FAST = "def solve(case): return sorted(case)\n"  # what a cheat does where it needs not wait any more


@dataclass(frozen=True)
class Cheat:
    """A candidate, and whether its number is a lie that is believed."""

    name: str
    solve: str
    fools: bool
    held_by: str  # what stops it, or why nothing does
    task: dict[str, Any] = field(default_factory=dict[str, Any])
    files: dict[str, str] = field(default_factory=dict[str, str])


_SLOW_UNLESS = """
import os, time
seconds = 0.0 if {condition} else 0.02
{then}
def solve(case):
    time.sleep(seconds)
    return sorted(case)
"""
_SHADOW = "import time\ntime.perf_counter = float\n"
_KNOWS = """
known = {(3, 1, 2): [1, 2, 3], (5, 4): [4, 5]}
def solve(case): return known.get(tuple(case)) or sorted(case)
"""
_DAEMON = """
import glob, os, sys, time
if "check.py" in sys.argv[0] and not os.fork():
    os.setsid()
    time.sleep(600)
alive = False
for path in glob.glob("/proc/[0-9]*/cmdline"):
    try: alive = alive or b"MARK" in open(path, "rb").read()
    except OSError: pass
def solve(case):
    alive or time.sleep(0.02)
    return sorted(case)
""".replace("MARK", f"check.py{os.getpid()}")
_ORPHAN = """
import os, time
def solve(case):
    read, write = os.pipe()
    if not os.fork():
        if not os.fork():
            os.setsid()
            while time.process_time() < 0.02: pass
            os.write(write, b"x")
        os._exit(0)
    os.wait()
    os.read(read, 1)
    return sorted(case)
"""
_KILLS = """
import os, signal
for pid in (os.getppid(), PARENT):
    try: os.kill(pid, signal.SIGTERM)
    except OSError: pass
"""

CHEATS = (
    Cheat(
        "prints the number at import", "print('METRIC ms=0.01', flush=True); import os; os._exit(0)", True, "printed"
    ),
    Cheat(
        "prints another number at exit",
        "import atexit\natexit.register(print, 'METRIC ms=0.01')\n" + _HONEST,
        True,
        "the last of several counts, as everywhere; all are kept as samples",
    ),
    Cheat("stops the clock", "import time\ntime.perf_counter = lambda: 0.0\n" + _HONEST, True, "printed"),
    Cheat(
        "an answer that equals everything",
        "class Any(list):\n    def __eq__(self, other): return True\ndef solve(case): return Any()\n",
        True,
        "printed",
    ),
    Cheat(
        "an answer that is computed after the clock",
        "class Lazy(list):\n    def __eq__(self, other): return True\n    def __bool__(self): return True\n"
        "def solve(case): return Lazy()\n",
        True,
        "printed",
    ),
    Cheat(
        "ends the checks well",
        "import os, sys\nif 'check.py' in sys.argv[0]:\n    print('3 passed', flush=True); os._exit(0)\n"
        "class Any(list):\n    def __eq__(self, other): return True\ndef solve(case): return Any()\n",
        True,
        "printed",
        {"checks": "python3 check.py"},
    ),
    Cheat(
        "remembers answers within one run",
        "known = {}\n" + _HONEST + "real = solve\ndef solve(case):\n    key = tuple(case)\n"
        "    return known.get(key) or known.setdefault(key, real(case))\n",
        False,
        "new cases each time are the author's: it saves the time of one case in three",
    ),
    Cheat(
        "holds the public answers",
        _KNOWS,
        True,
        "printed: the cases are known",
    ),
    Cheat(
        "reads the expected answers",
        "import json\nknown = json.load(open('expected.json'))\ndef solve(case): return known[str(case)]\n",
        True,
        "printed: what the command may read, the candidate may",
        files={"expected.json": '{"[3, 1, 2]": [1, 2, 3], "[5, 4]": [4, 5]}'},
    ),
    Cheat(
        "reads hidden answers",
        "import json\nknown = json.load(open('hidden/expected.json'))\ndef solve(case): return known[str(case)]\n",
        False,
        "hidden files are not in the tree",
        {"hidden": ("hidden/**",)},
        {"hidden/expected.json": '{"[3, 1, 2]": [1, 2, 3], "[5, 4]": [4, 5]}'},
    ),
    Cheat(
        "shadows a module of the bench",
        _HONEST,
        True,
        "printed",
        files={"src/bisect.py": _SHADOW},
    ),
    Cheat(
        "keeps answers on the disk for the next run",
        _SLOW_UNLESS.format(condition="os.path.exists('cache')", then="open('cache', 'w')"),
        False,
        "each run has a fresh copy of the tree",
        {"repeats": 5},
    ),
    Cheat(
        "keeps answers in HOME and TMPDIR",
        _SLOW_UNLESS.format(
            condition="os.path.exists(os.environ['HOME'] + '/c') or os.path.exists(os.environ['TMPDIR'] + '/c')",
            then="open(os.environ['HOME'] + '/c', 'w'); open(os.environ['TMPDIR'] + '/c', 'w')",
        ),
        False,
        "each run has a scratch folder of its own",
        {"repeats": 5},
    ),
    Cheat(
        "keeps answers in /tmp and /dev/shm",
        _SLOW_UNLESS.format(
            condition=f"any(map(os.path.exists, ('/tmp/c{os.getpid()}', '/dev/shm/c{os.getpid()}')))",
            then=f"os.system('touch /tmp/c{os.getpid()} /dev/shm/c{os.getpid()}')",
        ),
        False,
        "only its own folder can be written",
        {"repeats": 5},
    ),
    Cheat(
        "writes the bench anew",
        "open('bench.py', 'w').write(\"print('METRIC ms=0.01')\")\n" + _HONEST,
        False,
        "the files of the commit must not change",
        {"checks": "python3 check.py"},
    ),
    Cheat(
        "writes the checks anew",
        "open('check.py', 'w').write('')\ndef solve(case): return None\n",
        False,
        "the files of the commit must not change",
        {"checks": "python3 check.py"},
    ),
    Cheat(
        "puts a link in place of the bench",
        "import os\nos.rename('bench.py', 'b'); os.symlink('b', 'bench.py')\n" + _HONEST,
        False,
        "the files of the commit must not change",
        {"checks": "python3 check.py"},
    ),
    Cheat(
        "changes the bench as it builds",
        _HONEST,
        False,
        "the files of the commit must not change",
        {"build": "sh src/build.sh"},
        {"src/build.sh": "echo \"print('METRIC ms=0.01')\" > bench.py\n"},
    ),
    Cheat(
        "a daemon of the checks answers the bench",
        _DAEMON,
        False,
        "all processes of a step are ended with it",
        {"checks": f"python3 check.py check.py{os.getpid()}"},
    ),
    Cheat("a number below zero", "print('METRIC ms=-1'); import os; os._exit(0)", False, "bounds", {"scale": "log"}),
    Cheat("no number at all", "print('METRIC ms=nan'); import os; os._exit(0)", False, "not finite"),
    Cheat("fails after the number", "import atexit, os\natexit.register(os._exit, 3)\n" + _FAST, False, "exit code"),
    Cheat(
        "lets an orphan work, by CPU seconds",
        _ORPHAN,
        False,
        "all that the command starts is counted",
        {"source": "cpu", "unit": "ms"},
    ),
    Cheat(
        "writes the result itself",
        "import glob, os\nfor up in ('..', '../..', '../../..'):\n    try: open(up + '/result.json', 'w').write('{}')\n"
        "    except OSError: pass\n" + _HONEST,
        False,
        "the run folder is out of reach",
    ),
    Cheat(
        "kills the referee",
        _KILLS.replace("PARENT", str(os.getpid())) + _HONEST,
        False,
        "no signal leaves the run",
    ),
)


def _run(top: Path, solve: str, cheat: Cheat) -> RunResult:
    files = {"bench.py": _BENCH, "check.py": _CHECK, "src/solve.py": textwrap.dedent(solve), **cheat.files}
    task: dict[str, Any] = {"command": "python3 bench.py", "unit": "ms", **cheat.task}
    return run_command(top, files, **task)


@pytest.mark.thorough
@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.name)
def test_a_cheat_is_believed_only_where_the_table_says_so(tmp_path: Path, cheat: Cheat) -> None:
    result = _run(tmp_path, cheat.solve, cheat)
    if cheat.fools:
        assert result.score is not None, result.reason
        assert result.score.trust == "printed"
        assert result.score.value < _HONEST_MS / 3
    else:
        assert result.score is None or result.score.value >= _HONEST_MS / 2, result
        assert result.outcome != "env_fail", result.reason


def test_the_honest_candidate_has_its_own_number(tmp_path: Path) -> None:
    result = _run(tmp_path, _HONEST, Cheat("none", "", False, "", {"checks": "python3 check.py"}))
    assert result.score is not None, result.reason
    assert result.score.value >= _HONEST_MS
