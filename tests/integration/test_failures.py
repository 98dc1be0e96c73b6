"""Whose failure it was: train.py's own is told in words that can be read, the machine's is not written against it."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from threading import Thread

import pytest

from server.records import Outcome, Result
from server.runs.local_executor import LocalExecutor
from server.runs.run_spec import RunLimits
from tests.support.builders import attempt
from tests.support.polling import ended
from tests.support.repositories import QUICK
from tests.support.runs import local_executor, start_run
from trainer.contract import RunResult, Spec
from trainer.run.run_folder import RunFolder

# Frames by hand: importing torch takes longer than all the rest of such a run.
_STARTED = """
import time
from trainer.run.protocol import inherited
channel = inherited()
channel.send("hello")
channel.receive("config")
channel.send("start")
channel.receive("tokens")
"""


@pytest.fixture
def executor(tmp_path: Path, data: Path) -> LocalExecutor:
    return local_executor(tmp_path / "a tag", data, tmp_path)


def run(executor: LocalExecutor, text: str, profile: str = "smoke", **terms: object) -> Result:
    """How a run of `text` ends; without preflight and guards unless they are asked for."""
    about = attempt(1).model_copy(update={"profile": profile, "budget_seconds": 0.5})
    limits = RunLimits(setup_seconds=300, evaluation_seconds=300, grace_seconds=5, preflight=False, confine=False)
    start_run(executor, about, text, limits.model_copy(update=terms))
    return ended(executor)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            r"raise ValueError('\udcff is half a letter, \x1b[31mred and \x00')",
            r"\udcff is half a letter, red and \x00",
        ),
        ("class Mute(Exception):\n    __str__ = None\nraise Mute", "raised Mute: its message cannot be read"),
        ("raise OSError('no number', 'at all')", "raised OSError: [Errno no number] at all"),
        ("raise KeyError('k' * 6000)", "raised KeyError: 'kkk"),
        ("raise KeyboardInterrupt", "raised KeyboardInterrupt: no message"),
    ],
)
def test_an_exception_is_told_whatever_it_is(executor: LocalExecutor, text: str, reason: str) -> None:
    result = run(executor, text)
    assert (result.outcome, result.cause) == (Outcome.CRASHED, "exception") and reason in result.reason, result
    assert 'File "train.py", line ' in result.traceback and len(result.traceback) <= 4000


def test_a_run_that_gives_up_because_its_loss_is_no_number_says_so_by_its_loss(executor: LocalExecutor) -> None:
    result = run(executor, _STARTED + 'channel.send("step", steps=1, loss=float("nan"))\nraise SystemExit("enough")')
    assert (result.outcome, result.cause) == (Outcome.CRASHED, "nan"), result


def test_a_loss_that_is_no_number_is_above_every_ceiling(executor: LocalExecutor) -> None:
    step = '    channel.send("step", steps=1, loss=float("nan"))\n    until = time.process_time() + 0.02\n'
    work = "    while time.process_time() < until:\n        pass\n"
    assert (
        run(executor, f"{_STARTED}while True:\n{step}{work}", ceiling=[(0.0, 100.0)]).outcome is Outcome.STOPPED_EARLY
    )


def test_who_has_seen_validation_text_brings_no_word_out_as_the_name_of_a_frame(executor: LocalExecutor) -> None:
    told = 'channel.send("submit")\nchannel.receive("rows", limit=1 << 20)\nchannel.send("a secret")\ntime.sleep(600)'
    result = run(executor, _STARTED + told)
    assert result.outcome is Outcome.INVALID and "broke the protocol in the evaluation" in result.reason
    assert "secret" not in result.reason


@pytest.mark.thorough
def test_a_missing_gpu_is_not_the_fault_of_train_py(executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    result = run(executor, "print('never run')", profile="gpu-small", preflight=True)
    assert (result.outcome, result.cause) == (Outcome.ENV_FAIL, "no_device"), result
    assert "torch sees no GPU" in result.reason and executor.runs.of(1).log_tail(100) == ""


def test_a_rehearsal_that_somebody_kills_proves_nothing(executor: LocalExecutor) -> None:
    result = run(executor, "import os\nos.kill(os.getpid(), 9)", preflight=True)
    assert (result.outcome, result.cause) == (Outcome.CRASHED, "killed_from_outside"), result


_FULL = """
import sys
from trainer import supervisor
from trainer.run import run_folder
run_folder._LEAST_SPACE = int(sys.argv.pop())
supervisor.main()
"""


@pytest.mark.parametrize(("least", "outcome"), [(0, "refused"), (1 << 60, "env_fail")])
def test_a_disk_that_is_full_also_without_train_pys_files_is_the_machines_fault(
    tmp_path: Path, data: Path, least: int, outcome: str
) -> None:
    spec = Spec(1, "smoke", 42, 1.0, 1.0, 300.0, 300.0, str(data), str(tmp_path), str(tmp_path), confine=False)
    (tmp_path / "spec.json").write_text(json.dumps(asdict(spec)), encoding="utf-8")
    (tmp_path / "train.py").write_text("raise OSError(28, 'No space left on device')", encoding="utf-8")
    subprocess.run([sys.executable, "-c", _FULL, str(tmp_path), str(least)], check=True)
    told = json.loads((tmp_path / "result.json").read_bytes())
    assert (told["outcome"], told["cause"]) == (outcome, "disk_full"), told


# What a replica does at its second probe; the next one as well, unless that is to happen once.
_FAILS = """
import os, sys
from pathlib import Path
from trainer.run import protocol
receive, asked, there = protocol.Channel.receive, [], Path({there!r})

def fails(channel, *kinds, **named):
    frame = receive(channel, *kinds, **named)
    asked.append(frame.kind)
    # Of two batches, the second replica has one left: it must fail at its first.
    if asked.count("probe") == (2 if {once} else 1) and not ({once} and there.exists()):
        there.touch()
        {what}
    return frame

protocol.Channel.receive = fails
"""


@pytest.mark.parametrize(
    ("what", "once", "outcome", "cause"),
    [
        ("os.kill(os.getpid(), 9)", True, Outcome.FINISHED, ""),
        ("os.kill(os.getpid(), 9)", False, Outcome.INVALID, ""),  # by somebody: no proof of anything
        ("raise OSError(5, 'Input/output error')", True, Outcome.FINISHED, ""),
        ("raise MemoryError", False, Outcome.INVALID, "audit"),
        ("os._exit(0)", False, Outcome.INVALID, "audit"),
    ],
)
def test_where_a_replica_fails_another_one_goes_on(
    executor: LocalExecutor, tmp_path: Path, what: str, once: bool, outcome: Outcome, cause: str
) -> None:
    text = _FAILS.format(what=what, once=once, there=str(tmp_path / "failed")) + QUICK
    result = run(executor, text)
    assert (result.outcome, result.cause) == (outcome, cause), result
    assert (tmp_path / "failed").exists()


@pytest.mark.parametrize(
    ("what", "outcome", "cause"),
    [("raise OSError(28, 'No space left on device')", "env_fail", "disk_full"), ("raise MemoryError", "oom", "oom")],
)
def test_a_replica_that_fails_on_a_machine_without_space_or_memory_refutes_nothing(
    tmp_path: Path, data: Path, what: str, outcome: str, cause: str
) -> None:
    spec = Spec(1, "smoke", 42, 0.5, 1.0, 300.0, 300.0, str(data), str(tmp_path), str(tmp_path), confine=False)
    (tmp_path / "spec.json").write_text(json.dumps(asdict(spec) | {"preflight": False}), encoding="utf-8")
    text = _FAILS.format(what=what, once=False, there=str(tmp_path / "failed")) + QUICK
    (tmp_path / "train.py").write_text(text, encoding="utf-8")
    lacks = _FULL if cause == "disk_full" else _NO_MEMORY
    subprocess.run([sys.executable, "-c", lacks, str(tmp_path), str(1 << 60)], check=True)
    told = json.loads((tmp_path / "result.json").read_bytes())
    assert (told["outcome"], told["cause"]) == (outcome, cause), told


_NO_MEMORY = """
import sys
from trainer import supervisor
from trainer.evaluators import trial
trial._GROWTH_MB = int(sys.argv.pop())
supervisor.main()
"""
_OLDER_KERNEL = """
from trainer import supervisor
from trainer.run import protocol
protocol.SO_PASSRIGHTS = 9999  # an option that no kernel has
supervisor.main()
"""
_WITH_DESCRIPTORS = """
import json, os, socket, time
from trainer.run.protocol import inherited
channel = inherited()
sock, descriptor = socket.socket(fileno=os.dup(channel._sock.fileno())), os.open("/dev/null", os.O_RDONLY)
sock.setblocking(True)
def send(kind, payload=b"", at=None, count=1, **fields):
    header = json.dumps({"kind": kind, "bytes": len(payload), **fields}).encode()
    data = len(header).to_bytes(4, "big") + header + payload
    if at is not None:
        sock.sendall(data[:at])
        socket.send_fds(sock, [data[at : at + 1]], [descriptor] * count)
        data = data[at + 1 :]
    sock.sendall(data)
def begun():
    send("hello"); channel.receive("config"); send("start"); channel.receive("tokens")
"""


_SENT = (
    "send('hello', at=0)",
    "begun(); send('step', at=9, steps=1)",
    "begun(); send('submit', b'weights', at=40)",
    "begun(); send('submit', b'w' * 9000, at=6000)",
    "begun()\nfor _ in range(200): send('step', at=0, count=50)",
    "begun(); send('submit'); channel.receive('rows', limit=1 << 20); send('claims', b'c' * 4096, at=900)",
)
_RARELY = [(text, True) for text in _SENT[1:-1]]  # by then the two differ no more


@pytest.mark.parametrize(
    ("text", "preflight"),
    [
        *((text, False) for text in _SENT),
        *((text, True) for text in (_SENT[0], _SENT[-1])),
        *(pytest.param(*rare, marks=pytest.mark.thorough) for rare in _RARELY),
    ],
)
def test_who_sends_descriptors_is_invalid_and_the_machine_is_not_blamed(
    tmp_path: Path, data: Path, text: str, preflight: bool
) -> None:
    where = " in the evaluation" if "claims" in text and not preflight else ""
    spec = Spec(
        1, "smoke", 42, 1.0, 1.0, 300.0, 300.0, str(data), str(tmp_path), str(tmp_path), preflight, confine=False
    )
    (tmp_path / "spec.json").write_text(json.dumps(asdict(spec)), encoding="utf-8")
    (tmp_path / "train.py").write_text(f"{_WITH_DESCRIPTORS}{text}\ntime.sleep(60)", encoding="utf-8")
    subprocess.run([sys.executable, "-c", _OLDER_KERNEL, str(tmp_path)], check=True)
    told = json.loads((tmp_path / "result.json").read_bytes())
    assert told["outcome"] == ("refused" if preflight else "invalid"), told
    assert f"broke the protocol{where}: it sent file descriptors" in told["reason"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full")
def test_a_score_waits_for_space_on_the_disk(tmp_path: Path) -> None:
    box, ending = RunFolder(tmp_path), RunResult("cancelled", "half a letter: \udcff")
    for name in ("result.json.new", "progress.json.new", "curve.jsonl"):
        (tmp_path / name).symlink_to("/dev/full")
    box.report({"stage": "training"})
    box.plot({"step": 1})
    with pytest.raises(OSError, match="No space left"):
        box.end(ending, patience=0)
    writing = Thread(target=box.end, args=(ending,))
    writing.start()
    (tmp_path / "result.json.new").unlink()
    writing.join()
    assert Result.model_validate_json((tmp_path / "result.json").read_bytes()).reason == "half a letter: ?"
