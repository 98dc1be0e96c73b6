"""Workers that work where nobody counts, or before the guards are on: none of them gains."""

import shutil
from pathlib import Path

import pytest

from tests.integration.test_judged_cheats import HONEST, UNGROUPED, gained
from tests.support.judged_runs import SLOW, JudgedTask
from trainer.contract import MetricSource

# Each takes work out of the tree below the worker's first process, in which it is counted.
UNCOUNTED = {
    "a sibling works": """
import ctypes, json, os, platform
clone = {"x86_64": 56, "aarch64": 220}[platform.machine()]
ask, questions = os.pipe(); answers, tell = os.pipe()
made = ctypes.CDLL(None).syscall(clone, 0x8000 | 17, 0, 0, 0, 0)
if made == 0:
    with os.fdopen(ask) as lines, os.fdopen(tell, "w") as told:
        for line in lines:
            told.write(f"{slow(json.loads(line))}\\n"); told.flush()
    os._exit(0)
to, back = os.fdopen(questions, "w"), os.fdopen(answers)
def work(numbers):
    if made < 0:
        return slow(numbers)
    to.write(json.dumps(numbers) + "\\n"); to.flush()
    return int(back.readline())
""",
    "a child works whose parent has ended": """
import os
if os.fork():
    os._exit(0)
def work(numbers):
    return slow(numbers)
""",
}


@pytest.mark.parametrize("name", UNCOUNTED)
def test_no_work_is_uncounted_where_no_control_group_counts_when(tmp_path: Path, name: str) -> None:
    settings = {"repeats": 24, "worker": "exec {python} judge/worker.py"}
    task = JudgedTask(settings=settings, program=("-c", UNGROUPED))
    result = task.run(tmp_path / "runs" / "1", HONEST + UNCOUNTED[name], SLOW)
    assert not gained(result) and result["outcome"] in ("finished", "crashed"), result


@pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")
def test_no_library_of_the_candidate_is_loaded_before_the_guards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty word in LD_LIBRARY_PATH is the current folder: that of a command is the candidate's."""
    mark, names = tmp_path / "loaded", "libffi.so.8 libffi.so.7 libz.so.1 libm.so.6 libutil.so.1"
    text = f'#include <stdio.h>\n__attribute__((constructor)) void f(void) {{ fopen("{mark}", "w"); }}\n'
    build = f"cc -shared -fPIC -o all.so src/f.c && for name in {names}; do cp all.so $name; done"
    monkeypatch.setenv("LD_LIBRARY_PATH", ":/nonexistent")
    task = JudgedTask(settings={"build": build, "repeats": 12}, files={"src/f.c": text})
    task.run(tmp_path / "runs" / "1", SLOW)
    assert not mark.exists()


# A child that a timer of the kernel's continues whenever it is stopped.
_RESTLESS = """
import ctypes, os, struct
libc = ctypes.CDLL(None)
class Event(ctypes.Structure):
    _fields_ = [("value", ctypes.c_void_p), ("signal", ctypes.c_int), ("how", ctypes.c_int), ("_", ctypes.c_char * 48)]
if os.fork() == 0:
    timer = ctypes.c_void_p()
    libc.timer_create(1, ctypes.byref(Event(None, 18, 0, b"")), ctypes.byref(timer))
    libc.timer_settime(timer, 0, struct.pack("qqqq", 0, 10**6, 0, 10**6), None)
    while True:
        slow(list(range(1000)))
work = slow
"""


@pytest.mark.thorough
def test_work_in_the_turn_of_the_other_worker_counts_on_the_wall_as_well(tmp_path: Path) -> None:
    """It takes time from the other one, or it prepares later answers."""
    task = JudgedTask(source=MetricSource.WALL, settings={"repeats": 24})
    result = task.run(tmp_path / "runs" / "1", HONEST + _RESTLESS, SLOW)
    assert result["outcome"] == "finished" and result["score"]["details"]["log_ratio"] > 0.5, result
