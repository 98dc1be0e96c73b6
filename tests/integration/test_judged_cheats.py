"""Workers that cheat a judge, against an honest incumbent that does the same work: none of them gains.

Each candidate below does the incumbent's slow work, and tries to have less of it counted, or to answer without it.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.judged_runs import SLOW, JudgedTask

_WORTH = -0.2  # as a log-ratio: more is a gain beyond all noise; one that works would gain 1 and more

HONEST = SLOW.replace("def work", "def slow")
_LOOK = """
import os

def everything(*tops):
    for top in tops:
        for folder, names, files in os.walk(top):
            yield from (os.path.join(folder, name) for name in files)

def readable(path):
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError:
        return b""
"""

# What is found decides, so that whoever finds something answers at once and is the faster.
_FINDS = HONEST + "\ndef work(numbers):\n    return sum(numbers) if FOUND else slow(numbers)\n"

GAINLESS = {
    "an orphan works": """
import json, os
def daemon():
    ask, questions = os.pipe(); answers, tell = os.pipe()
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            questions, told = os.fdopen(answers and questions and ask), os.fdopen(tell, "w")
            for line in questions:
                told.write(f"{slow(json.loads(line))}\\n"); told.flush()
        os._exit(0)
    os.wait()
    return os.fdopen(questions, "w"), os.fdopen(answers)
to, back = daemon()
def work(numbers):
    to.write(json.dumps(numbers) + "\\n"); to.flush()
    return int(back.readline())
""",
    "a child works whose parent ignores it": """
import os, signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
def work(numbers):
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, str(slow(numbers)).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as told:
        return int(told.read())
""",
    "children work that nobody waits for": """
import os
def work(numbers):
    read, write = os.pipe()
    if os.fork() == 0:
        if os.fork() == 0:
            os.write(write, str(slow(numbers)).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as told:
        return int(told.read())
""",
    "a thread works between cases": """
import threading
def busy():
    while True:
        slow(list(range(2000)))
threading.Thread(target=busy, daemon=True).start()
def work(numbers):
    return slow(numbers)
""",
    "clocks are patched": """
import time
for name in ("time", "perf_counter", "monotonic", "process_time", "thread_time", "time_ns", "perf_counter_ns"):
    setattr(time, name, lambda: 0)
def work(numbers):
    return slow(numbers)
""",
    "answers are kept in memory": """
known = {}
def work(numbers):
    key = tuple(numbers)
    if key not in known:
        known[key] = slow(numbers)
    return known[key]
""",
    "answers are kept on the disk": """
import hashlib, json, os, tempfile
places = [tempfile.gettempdir(), os.getcwd(), os.path.expanduser("~"), "/tmp", "/var/tmp", "/dev/shm"]
def work(numbers):
    name = "cache-" + hashlib.sha256(json.dumps(numbers).encode()).hexdigest()
    for place in places:
        try:
            return int(open(os.path.join(place, name)).read())
        except OSError:
            pass
    found = slow(numbers)
    for place in places:
        try:
            open(os.path.join(place, name), "w").write(str(found))
        except OSError:
            pass
    return found
""",
    "the other worker is stopped or killed": """
import os, signal
def work(numbers):
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in (1, os.getpid()):
            for number in (signal.SIGSTOP, signal.SIGKILL):
                try:
                    os.kill(int(name), number)
                except OSError:
                    pass
    return slow(numbers)
""",
    "the other worker is spoken to": """
import glob, os
def work(numbers):
    for path in glob.glob("/proc/[0-9]*/fd/[01]"):
        try:
            with open(path, "wb") as pipe:
                pipe.write(b"0\\\\n")
        except OSError:
            pass
    return slow(numbers)
""",
    "many children sleep": """
import os, time
for _ in range(150):
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)
def work(numbers):
    return slow(numbers)
""",
    "the disk is filled": """
import os, tempfile
def work(numbers):
    with open(os.path.join(tempfile.gettempdir(), "large"), "ab") as file:
        file.write(bytes(4 << 20))
    return slow(numbers)
""",
    "its own files are changed": """
import os
for folder, names, files in os.walk(os.getcwd()):
    for name in files:
        try:
            open(os.path.join(folder, name), "a").write("#")
        except OSError:
            pass
        try:
            os.unlink(os.path.join(folder, name))
        except OSError:
            pass
def work(numbers):
    return slow(numbers)
""",
}

FINDING = {
    "the judge": _LOOK
    + """
FOUND = any(b"is not the sum" in readable(path) for path in everything("..", "/tmp", "/var/tmp", os.getcwd())
            if path.endswith("judge.py"))
""",
    "what only the judge may read": _LOOK
    + """
FOUND = any(b"top secret" in readable(path) for path in everything("..", "/tmp", "/var/tmp", os.getcwd())
            if path.endswith("expected.json"))
""",
    "the spec with the seed, another run or the ledger": _LOOK
    + """
FOUND = any(readable(path) for path in everything("/tmp", "/var/tmp", "..")
            if path.endswith(("spec.json", "result.json", "ledger.sqlite3")))
""",
    "the run folder through what the build left": _LOOK
    + """
FOUND = any(readable(path) for place in (os.environ["TMPDIR"], os.getcwd() + "/../out")
            for link in ([place + "/" + name for name in os.listdir(place)] if os.path.isdir(place) else [])
            for path in everything(link) if "judge" in path or "spec" in path)
""",
    "the seed in its environment": """
import hashlib, os
from random import Random
def drawn(told):
    seed = int.from_bytes(hashlib.sha256(f"cases 0 {told}".encode()).digest()[:7], "big")
    return [Random(seed).randrange(1000) for _ in range(1)]
FOUND = any("12345" in value for name, value in os.environ.items())
""",
    "the other worker's memory": """
import glob
def opened(path):
    try:
        open(path, "rb").close()
        return True
    except OSError:
        return False
import os
FOUND = any(opened(path) for path in glob.glob("/proc/[0-9]*/mem") + glob.glob("/proc/[0-9]*/environ")
            if path.split("/")[2] not in (str(os.getpid()), str(os.getppid())))
""",
    "a socket of somebody's": """
import socket
try:
    socket.socket(socket.AF_UNIX)
    FOUND = True
except OSError:
    FOUND = False
""",
}

# Of a candidate that is found out: what it is, and the outcome.
CAUGHT = {
    "an answer that is everything": ("def work(numbers):\n    return True\n", "invalid"),
    "an answer that is no number": ("def work(numbers):\n    return float('nan')\n", "invalid"),
    "an answer of another form": ("def work(numbers):\n    return {'__eq__': True}\n", "invalid"),
    "an answer before it is asked": (
        "import os\nos.write(1, b'0\\n')\ndef work(numbers):\n    return sum(numbers)\n",
        "invalid",
    ),
    "two answers": (
        "import os\ndef work(numbers):\n    for fd in range(3, 9):\n        try:\n            os.write(fd, b'0\\n')\n"
        "        except OSError: pass\n    return sum(numbers)\n",
        "invalid",
    ),
    "an answer that trickles": (
        "import os, time\ndef work(numbers):\n    while True:\n        for fd in range(3, 9):\n            try:\n"
        "                os.write(fd, b' ')\n            except OSError: pass\n        time.sleep(0.01)\n",
        "timeout",
    ),
    "an answer without an end": (
        "import os\ndef work(numbers):\n    block = b' ' * (1 << 20)\n    while True:\n        for fd in range(3, 9):\n"
        "            try:\n                os.write(fd, block)\n            except OSError: pass\n",
        "invalid",
    ),
    "no answer": ("import time\ndef work(numbers):\n    time.sleep(600)\n", "timeout"),
    "a loop": ("def work(numbers):\n    while True: pass\n", "timeout"),
    "an exception": ("def work(numbers):\n    raise RuntimeError('no')\n", "crashed"),
    "an end": ("import os\ndef work(numbers):\n    os._exit(0)\n", "crashed"),
    "a signal": ("import os\ndef work(numbers):\n    os.kill(os.getpid(), 11)\n", "crashed"),
    "an import without end": ("import time\ntime.sleep(600)\ndef work(numbers):\n    return sum(numbers)\n", "timeout"),
    "no module": ("import nowhere_to_be_found\n", "crashed"),
    "a wrong answer now and then": (
        "count = 0\ndef work(numbers):\n    global count\n    count += 1\n    return sum(numbers) + (count == 25)\n",
        "invalid",
    ),
}


def _run(tmp_path: Path, work: str, **limits: Any) -> dict[str, Any]:
    """A paired run against the honest incumbent, with something to find on the disk."""
    task = JudgedTask(settings={"repeats": 24, "build": "ln -s $PWD/../../../.. {out}/far; ln -s / {out}/top"})
    task.files = {"data/hidden/expected.json": '"top secret"'}
    task.limits = limits
    folder = tmp_path / "state" / "runs" / "1"
    other = folder.parent / "2"
    other.mkdir(parents=True)
    (other / "result.json").write_text("{}", encoding="utf-8")
    (folder.parent.parent / "ledger.sqlite3").write_text("rows", encoding="utf-8")
    (folder.parent.parent / "ledger.sqlite3").chmod(0o644)
    return task.run(folder, work, SLOW)


# A supervisor on a machine whose kernel shows no control groups: the referee looks at each process.
UNGROUPED = """
from pathlib import Path
from trainer import supervisor
from trainer.processes import control_group
control_group._MOUNTS = Path("/nonexistent")
supervisor.main()
"""


@pytest.mark.thorough
@pytest.mark.parametrize("name", [name for name in GAINLESS if "worker" not in name and "work" in name])
def test_nothing_is_gained_where_no_control_group_counts_when(tmp_path: Path, name: str) -> None:
    task = JudgedTask(settings={"repeats": 24}, program=("-c", UNGROUPED))
    result = task.run(tmp_path / "runs" / "1", HONEST + GAINLESS[name], SLOW)
    assert result["outcome"] == "finished" and not gained(result), result
    assert result["guards"]["meter"] == "held", result["guards"]


def gained(result: dict[str, Any]) -> bool:
    return result["outcome"] == "finished" and result["score"]["details"]["log_ratio"] < _WORTH


_DEFAULT = {"an orphan works", "a child works whose parent ignores it", "the judge"}


def _marked(names: Any) -> list[Any]:
    return [pytest.param(name, marks=[] if name in _DEFAULT else pytest.mark.thorough) for name in names]


@pytest.mark.parametrize("name", _marked(GAINLESS))
def test_nothing_is_gained_when(tmp_path: Path, name: str) -> None:
    result = _run(tmp_path, HONEST + GAINLESS[name])
    assert not gained(result), result
    assert result["outcome"] in ("finished", "crashed", "invalid", "timeout"), result


@pytest.mark.slow
@pytest.mark.parametrize("name", _marked(FINDING))
def test_nobody_finds(tmp_path: Path, name: str) -> None:
    result = _run(tmp_path, FINDING[name] + _FINDS)
    assert result["outcome"] == "finished", result
    assert not gained(result), result


@pytest.mark.parametrize("name", _marked(CAUGHT))
def test_there_is_no_score_for(tmp_path: Path, name: str) -> None:
    work, outcome = CAUGHT[name]
    result = _run(tmp_path, work, setup_seconds=4.0, budget_seconds=40.0)
    assert (result["outcome"], result["score"]) == (outcome, None), result
    assert len(result["reason"]) > 20 and json.dumps(result["reason"])


def test_what_the_incumbent_does_honestly_faster_is_a_gain(tmp_path: Path) -> None:
    """The measure of the tests above: a candidate that needs less time is told so."""
    result = _run(tmp_path, "def work(numbers):\n    return sum(numbers)\n")
    assert gained(result) and result["score"]["details"]["log_ratio"] < -1, result
    assert not [name for name in os.listdir(tmp_path / "state" / "runs" / "1") if name.startswith("judge-")]
