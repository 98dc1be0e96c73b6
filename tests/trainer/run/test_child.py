"""What a process of train.py's said is known, also when it is gone before it is told anything."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from trainer.run.child import ChildProcess
from trainer.run.child_launch import LaunchedChild
from trainer.run.clock import RunEnded, StageClock
from trainer.run.protocol import Channel
from trainer.run.run_folder import RunFolder


@pytest.fixture
def gone(tmp_path: Path) -> Iterator[Callable[..., ChildProcess]]:
    """Makes a process that said hello, and perhaps which exception it met, and hung up."""
    with ExitStack() as stack:

        def one(**crash: Any) -> ChildProcess:
            ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
            channel = Channel(theirs)
            channel.send("hello")
            if crash:
                channel.send("crash", **crash)
            channel.close()
            words = [sys.executable, "-c", "raise SystemExit(1)"]
            process = stack.enter_context(subprocess.Popen(words, stdout=subprocess.PIPE))
            assert process.stdout
            launched = LaunchedChild(psutil.Process(process.pid), process.stdout, ours)
            child = ChildProcess(launched, StageClock(RunFolder(tmp_path)))
            child.expect("hello")
            return child

        yield one


def test_an_exception_is_told_of_a_process_that_is_gone_when_it_is_to_be_told_something(
    gone: Callable[..., ChildProcess],
) -> None:
    with pytest.raises(RunEnded, match="raised ValueError: no") as ended:
        gone(type="ValueError", message="no", traceback='File "train.py", line 3').tell("config")
    assert ended.value.outcome == "crashed" and "line 3" in ended.value.traceback
    seen = gone(type="ValueError", message="a secret", traceback="a secret")
    seen.redact_output()
    with pytest.raises(RunEnded, match="What it said is withheld") as ended:
        seen.tell("rows")
    assert "secret" not in str(ended.value) + ended.value.traceback
    with pytest.raises(RunEnded, match="ended with exit code 1 before"):
        gone().tell("config")
