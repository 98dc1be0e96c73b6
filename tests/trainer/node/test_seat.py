"""A run's seat: real processes on this machine, in the place of a node."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import psutil
import pytest

from server.runs.run_folder import RunFolder
from server.runs.spawn import trainer_hash
from tests.support.polling import is_gone, until
from trainer.contract import (
    SEAT_VARIABLE,
    Order,
    RunFile,
    SeatOrder,
    Spec,
    TaskSpec,
    is_signed,
    public_half,
)
from trainer.node import begin

ROOT = Path(__file__).parents[3]
KEY = "k" * 64
SERIES = f"{sys.version_info.major}.{sys.version_info.minor}"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="engines have Linux on their nodes")


def spec(folder: Path, command: str) -> Spec:
    task = TaskSpec("cost", command=command, editable=("value",))
    return Spec(
        1, "cpu", 1, 60, 5, 60, 60, str(folder / "data"), str(folder), str(folder), referee="command", task=task
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "runs" / "00001"
    (made / RunFile.TREE).mkdir(parents=True)
    (made / RunFile.TREE / "value").write_text("1\n", encoding="ascii")
    (made / RunFile.JOB).write_text(json.dumps({"nonce": "abc"}), encoding="utf-8")
    return made


def take(folder: Path, command: str = "true", node: str = "n7", **told: str) -> "subprocess.Popen[bytes]":
    """Start a seat as a job's script does."""
    given = spec(folder, command)
    (folder / RunFile.SPEC).write_text(given.to_json(), encoding="utf-8")
    terms = {"nonce": "abc", "trainer": trainer_hash(), **told}
    order = SeatOrder(Order(given, KEY).to_json(), **terms).to_json()
    return subprocess.Popen(
        [sys.executable, "-I", "-S", begin.__file__, SERIES, "trainer.node.seat", str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT), SEAT_VARIABLE: order, "SLURMD_NODENAME": node},
        start_new_session=True,
    )


def supervisor(seat: "subprocess.Popen[bytes]") -> psutil.Process:
    """The seat's child, once it is the supervisor."""
    found: list[psutil.Process] = []

    def there() -> bool:
        found[:] = [one for one in psutil.Process(seat.pid).children() if "trainer.supervisor" in one.cmdline()]
        return bool(found)

    until(there)
    return found[0]


def test_a_run_is_carried_out_once_and_its_key_is_in_no_environment(folder: Path) -> None:
    seat = take(folder, "sleep 2; echo METRIC cost=1")
    child = supervisor(seat)
    for process in (psutil.Process(seat.pid), child):
        assert KEY not in "".join(process.environ().values()) and KEY not in " ".join(process.cmdline())
    again = take(folder, node="n8")
    assert again.wait(60) == 75, "a folder that was started is not started again"
    assert json.loads((folder / RunFile.STARTED).read_text())["node"] == "n7"
    assert seat.wait(120) == 0 and is_gone(child.pid)
    told, signature = (folder / RunFile.RESULT).read_bytes(), (folder / RunFile.SIGNATURE).read_text()
    result = json.loads(told)
    assert result["outcome"] == "finished" and result["figures"]["node_name"] == "n7", result
    assert is_signed(public_half(KEY), 1, "", told, signature)
    assert not (folder / RunFile.GONE).exists() and (folder / RunFile.BEAT).read_text().strip().isdecimal()


@pytest.mark.thorough
@pytest.mark.parametrize("lacks", ["nonce", "gone"])
def test_a_folder_of_another_start_is_not_touched(folder: Path, lacks: str) -> None:
    if lacks == "gone":
        (folder / RunFile.GONE).write_text("{}", encoding="ascii")
    before = sorted(path.name for path in folder.iterdir())
    told = {"nonce": "other"} if lacks == "nonce" else {}
    assert take(folder, **told).wait(60) == 75
    assert sorted(path.name for path in folder.iterdir()) == sorted([*before, RunFile.SPEC])


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"trainer": "another"}, "another version of autoresearch"),
        ({"torch": "0.1"}, f"it has torch {metadata.version('torch')}, the server has 0.1"),
    ],
)
def test_a_machine_that_is_not_fit_says_why(folder: Path, told: dict[str, str], why: str) -> None:
    assert take(folder, **told).wait(60) == 0
    gone = RunFolder(folder).gone()
    assert gone and gone.outcome == "env_fail" and why in gone.reason and gone.figures.node_name == "n7"


def test_a_supervisor_that_is_killed_leaves_a_word_and_no_process(folder: Path) -> None:
    seat = take(folder, "sleep 1000")
    child = supervisor(seat)
    until(lambda: any("sleep" in one.name() for one in child.children(recursive=True)))
    family = child.children(recursive=True)
    child.kill()
    assert seat.wait(120) == 0
    gone = RunFolder(folder).gone()
    assert gone and gone.outcome == "lost" and "died on n7 without a result (signal 9)" in gone.reason
    until(lambda: all(is_gone(one.pid) for one in family))


@pytest.mark.thorough
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_seat_that_is_ended_ends_its_run(folder: Path, end: int) -> None:
    """SIGTERM as of a time limit; SIGKILL as of a job's processes that are killed one by one."""
    seat = take(folder, "sleep 1000")
    child = supervisor(seat)
    until(lambda: any("sleep" in one.name() for one in child.children(recursive=True)))
    family = child.children(recursive=True)
    seat.send_signal(end)
    until(lambda: (folder / RunFile.RESULT).exists())
    result = json.loads((folder / RunFile.RESULT).read_text())
    assert result["outcome"] == "cancelled" and "SIGTERM" in result["reason"], result
    until(lambda: all(is_gone(one.pid) for one in [child, *family]))
    seat.wait(120)


def test_a_signal_that_hits_every_process_of_the_run_is_a_cancel_and_no_crash(folder: Path) -> None:
    """As scancel sends it to a job's processes."""
    seat = take(folder, "sleep 1000")
    child = supervisor(seat)
    until(lambda: any("sleep" in one.name() for one in child.children(recursive=True)))
    for process in [*child.children(recursive=True)[::-1], child, psutil.Process(seat.pid)]:
        with suppress(psutil.NoSuchProcess):  # it has ended with the one that was met before it
            process.send_signal(signal.SIGTERM)
    assert seat.wait(120) == 0
    result = json.loads((folder / RunFile.RESULT).read_text())
    assert result["outcome"] == "cancelled", result


@pytest.mark.thorough
def test_a_run_that_was_given_up_is_ended_where_it_goes_on(folder: Path) -> None:
    seat = take(folder, "sleep 1000")
    child = supervisor(seat)
    until(lambda: any("sleep" in one.name() for one in child.children(recursive=True)))
    (folder / RunFile.GONE).write_text(json.dumps({"outcome": "lost", "why": "It was silent."}), encoding="utf-8")
    assert seat.wait(120) == 0 and is_gone(child.pid)
