"""One run on one device: whoever else would start one is refused, and told who is there."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from server.errors import DeviceBusy
from server.records import Outcome
from server.runs import device_lock
from server.runs.cleanup import supervisors
from server.runs.local_executor import LocalExecutor
from server.runs.run_spec import RunLimits
from tests.support.builders import attempt
from tests.support.fakes import driver
from tests.support.polling import ended, is_gone, processes_of, until
from tests.support.repositories import STAND_INS
from tests.support.runs import local_executor, start_run

_TERMS = RunLimits(setup_seconds=300, evaluation_seconds=300, grace_seconds=0.5, preflight=False, confine=False)
_TWO_REPOSITORIES = """
import sys
from pathlib import Path
from server.runs.device_lock import device_leases
from server.errors import DeviceBusy

with device_leases(Path(sys.argv[1], "a"), "gpu") as ours, device_leases(Path(sys.argv[1], "a CPU"), "cpu"):
    ours[-1].sign(Path("/where/it/runs"))
    try:
        with device_leases(Path(sys.argv[1], "b"), "gpu"):
            print("beside another")
    except DeviceBusy as busy:
        print(busy)
with device_leases(Path(sys.argv[1], "b"), "gpu"):
    print("alone")
"""


@pytest.fixture
def executor(tmp_path: Path, data: Path) -> LocalExecutor:
    return local_executor(tmp_path / "a tag", data, tmp_path, tmp_path)


def test_a_run_of_another_tag_waits_for_the_end_of_the_first(
    executor: LocalExecutor, tmp_path: Path, data: Path
) -> None:
    started = attempt(1).model_copy(update={"profile": "smoke"})
    text = (STAND_INS / "hang.py").read_text(encoding="utf-8")
    start_run(executor, started, text, _TERMS)
    until(lambda: processes_of(executor))
    files = [os.readlink(file) for file in Path(f"/proc/{processes_of(executor)[0].pid}/fd").glob("*")]
    assert not [file for file in files if file.endswith("lease")], "train.py's process could hold the device for ever"
    other = local_executor(tmp_path / "another tag", data, tmp_path, tmp_path)
    (pid,) = supervisors(str(executor.runs.path(1)))
    for refused in (lambda: other.require_free("smoke", {}), lambda: start_run(other, started, text, _TERMS)):
        with pytest.raises(DeviceBusy, match=rf"supervisor {pid} of the run in .*a tag/runs/00001 is still active"):
            refused()
    assert not other.runs.path(1).exists()
    executor.handle(1).cancel("the other's turn")
    assert ended(executor).outcome is Outcome.CANCELLED
    other.require_free("smoke", {})


def test_what_a_killed_supervisor_left_is_ended_before_a_run_of_another_tag(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    left, folder = tmp_path / "left", str(executor.runs.path(1))
    with device_lock.device_leases(tmp_path, "cpu") as leases:
        leases[0].sign(executor.runs.path(1))
    with subprocess.Popen(["sleep", "600"], env={"AUTORESEARCH_RUN": folder}, start_new_session=True) as process:
        until(lambda: psutil.Process(process.pid).environ())  # exec(2) is over
        local_executor(left, left, left, tmp_path).require_free("cpu", {})
        assert is_gone(process.pid)


def test_one_gpu_has_one_run_whatever_the_repository(tmp_path: Path) -> None:
    if (environment := driver(tmp_path)) is None:
        pytest.skip("no Linux, or no C compiler: the driver cannot be stood in for")
    told = subprocess.run(
        [sys.executable, "-c", _TWO_REPOSITORIES, str(tmp_path)],
        env={**os.environ, **environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.startswith("Device busy: the run in /where/it/runs is still active.") and "alone" in told
    assert (tmp_path / ".cache" / "autoresearch" / "GPU-stand-in.lease").stat().st_mode & 0o777 == 0o600


def test_a_supervisor_about_to_exit_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "result.json").touch()
    first = device_lock.Lease(tmp_path / "lease")
    first.sign(tmp_path)
    held = subprocess.Popen(["sleep", "0.3"], pass_fds=[first.descriptor])
    first.close()
    with held:
        device_lock.Lease(tmp_path / "lease").close()
        until(lambda: held.poll() is not None)
