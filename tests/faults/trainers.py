"""A train.py that hangs, hides, floods or lies about its end: its run gets an outcome, and the next run can start."""

import anyio
import pytest

from tests.faults.catalogue import fault
from tests.faults.night import Night, Refused
from tests.support.polling import stretched

_LOG_BYTES = 520 * 1024
_KILL_SECONDS = 5.0  # after the deadline nothing of a run may live for longer


async def _ends(night: Night, train: str, *statuses: str) -> None:
    """A candidate with `train` after its constant ends so, leaves nothing alive, and the night goes on."""
    night.write_program(f"setup_seconds: {120 if train is _FLOOD else 15}\n")
    async with night.agent() as agent:
        await agent.experiment()
        await agent.start(train)
        ended = await agent.finish()
        assert ended["status"] in statuses, (ended["status"], ended["why"])
        log = night.state / "runs" / f"{ended['experiment']:05d}" / "run.log"
        assert log.stat().st_size <= _LOG_BYTES
        with anyio.fail_after(stretched(_KILL_SECONDS)):
            while night.processes():  # noqa: ASYNC110  # of other processes: no event tells
                await anyio.sleep(0.05)
    await night.recover()


def _train(name: str, status: str, train: str) -> None:
    @fault(f"train.py {name}")
    async def ends(night: Night) -> None:
        await _ends(night, train, *status.split())


_DAEMON = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.execve("/bin/sleep", ["sleep", "86399"], {})  # without our mark in its environment
    os._exit(0)
"""
_COMET = """
import os, time
if os.fork() == 0:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if os.fork():
            os._exit(0)
    os._exit(0)
"""
_SHIELDED = """
import signal, time
for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(each, signal.SIG_IGN)
"""
_FLOOD = "import os\nfor _ in range(110_000):\n    os.write(1, b'\\x00\\xff\\x1b[31mred\\r' * 8192)\n"
for _name, _status, _text in (
    ("ignores every signal and sleeps for ever", "timeout", f"{_SHIELDED}time.sleep(600)"),
    ("hides a daemon: setsid, double fork, TERM ignored", "finished", _DAEMON),
    # Its CPU seconds may be seen, and then they use up the budget.
    ("leaves what forks and exits faster than it can be listed", "finished timeout", _COMET),
    ("writes 10 GB of bytes, escapes and carriage returns", "finished", _FLOOD),
    ("writes one line of 100 MB", "finished", "print('x' * 100_000_000)"),
    ("exits with 0 and submits nothing", "crashed", "import sys; sys.exit(0)"),
    ("kills itself with SIGKILL", "crashed oom", "import os; os.kill(os.getpid(), 9)"),
    ("kills itself with a segmentation fault", "crashed", "import ctypes; ctypes.string_at(0)"),
    ("raises MemoryError", "oom crashed", "raise MemoryError"),
    (
        "recurses without end",
        "crashed oom timeout",
        "import sys; sys.setrecursionlimit(10**9)\ndef f(): return f()\nf()",
    ),
    (
        "starts fifty sleepers",
        "finished",
        "import os, time\nfor _ in range(50):\n    if os.fork() == 0:\n        time.sleep(600)",
    ),
    ("spins in a signal-proof loop", "timeout", f"{_SHIELDED}while True:\n    pass"),
    ("imports what is not installed", "crashed", "import no_such_package"),
    (
        "deletes its own folder and file",
        "finished crashed",
        "import os, shutil\nshutil.rmtree(os.getcwd(), ignore_errors=True)",
    ),
):
    _train(_name, _status, _text)


@fault("train.py of bytes, without an end, of another file: patches that are refused")
async def patches(night: Night) -> None:
    async with night.agent() as agent:
        await agent.experiment()
        before = (await agent.call("read_train"))["sha256"]
        for text in (
            "*** Begin Patch\n*** Update File: prepare.py\n@@\n-a\n+b\n*** End Patch",
            "--- a/../x.py\n+++ b/../x.py\n@@ -1 +1 @@\n-a\n+b\n",
            "--- a/train.py\n+++ /dev/null\n@@ -1,3 +0,0 @@\n-a\n",
            "--- a/train.py\n+++ b/train.py\n@@ -1,400 +1 @@\n-a\n+b\n",
            "diff --git a/train.py b/evil.py\nrename from train.py\nrename to evil.py\n",
            "diff --git a/train.py b/train.py\nold mode 100644\nnew mode 100755\n",
            "<<<<<<< SEARCH\nRATE\n=======\nRATE RATE\n>>>>>>> REPLACE",
            "<<<<<<< SEARCH\n=======\n\x00\n>>>>>>> REPLACE",
            "<<<<<<< SEARCH\nRATE = 1e-6\n=======\n" + "x = 1\n" * 700 + ">>>>>>> REPLACE",
            "x" * 5_000_000,
            "",
            "no patch at all",
        ):
            with pytest.raises(Refused):
                await agent.call("apply_patch", patch=text)
        assert (await agent.call("read_train"))["sha256"] == before
    await night.recover()


@fault("a candidate that is out of memory again and again")
async def memory(night: Night) -> None:
    async with night.agent() as agent:
        await agent.experiment()
        for _ in range(3):
            await agent.start("raise torch.OutOfMemoryError('CUDA out of memory')")
            assert (await agent.finish())["status"] == "oom"
            await agent.call("discard", reason="too large")
    await night.recover()
