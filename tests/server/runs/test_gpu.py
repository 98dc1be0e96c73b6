"""A GPU seen through nvidia-ml-py, with a library in the driver's place that says what a file says, or hangs.

A library cannot be exchanged in a process that has it: each scene is a process of its own.
"""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from server.errors import GpuHeld
from server.runs import cleanup
from server.serve_options import ServeOptions
from server.study.phase import Phase
from server.study.study import Study
from tests.support.builders import only
from tests.support.fakes import driver
from tests.support.lifecycle import measured, ran
from tests.support.polling import stretched

_SCENE = """
import json, os, subprocess, sys, time
from pathlib import Path
from trainer.processes import gpu_monitor
from trainer.processes.gpu_monitor import GpuMonitor

gpu_monitor._LOOK_SECONDS, gpu_monitor._FIRST_LOOK_SECONDS = 0.1, 60.0

def gpu(*words):
    temporary = Path(os.environ["NVML_STATE"] + ".new")
    temporary.write_text(" ".join(map(str, words)))
    temporary.replace(os.environ["NVML_STATE"])

def looked():  # at all that is so by now: a look may have begun before
    seen = len(gauge._samples)
    while len(gauge._samples) < seen + 2:
        time.sleep(0.01)

ours = subprocess.Popen(["sleep", "600"])
stranger, told = os.getppid(), {}
try:
    gpu(stranger)
"""
_END = """
finally:
    ours.kill()
    ours.wait()
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of a process that meets the driver."""
    found = driver(tmp_path_factory.mktemp("driver"))
    if found is None:
        pytest.skip("no Linux, or no C compiler: the driver cannot be stood in for")
    return found


def scene(environment: dict[str, str], text: str) -> dict[str, Any]:
    """What a process tells that watches the GPU; `ours` is a process of its run."""
    body = "".join(f"    {line}\n" for line in text.strip().splitlines())
    done = subprocess.run(
        [sys.executable, "-c", _SCENE + body + _END],
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_who_was_there_before_is_named_before_the_run_and_recorded_with_it(environment: dict[str, str]) -> None:
    told = scene(
        environment,
        """
gauge = GpuMonitor()
told["before"] = gauge.strangers
gpu(stranger, ours.pid)
gauge.begin()
looked()
told["figures"] = gauge.end()
ours.kill(); ours.wait()
gpu(stranger)
begun = time.monotonic()
told["held"], told["seconds"] = gauge.held(unkillable=False, patience=1), time.monotonic() - begun
""",
    )
    stranger = f"{psutil.Process().name()} ({os.getpid()})"
    assert told["before"] == stranger and told["figures"]["gpu_strangers"] == stranger
    assert told["figures"]["driver"] == "1.2.3" and told["figures"]["gpu_celsius"] == 60
    assert told["held"] is None and told["seconds"] < stretched(2)


def test_a_crash_in_set_up_names_who_took_the_memory(environment: dict[str, str]) -> None:
    told = scene(environment, 'told["figures"] = GpuMonitor().end()')
    assert str(os.getpid()) in told["figures"]["gpu_strangers"]


def test_memory_that_the_driver_does_not_free_is_told_with_its_pid(environment: dict[str, str]) -> None:
    told = scene(
        environment,
        """
gauge = GpuMonitor()
gpu(stranger, ours.pid)
gauge.begin()
looked()
gauge.end()
told["ours"] = str(ours.pid)
told["held"] = gauge.held(unkillable=False, patience=3)
""",
    )
    assert told["held"] == told["ours"]


def test_what_a_driver_does_not_tell_ends_no_watch_and_a_helper_of_ours_is_no_stranger(
    environment: dict[str, str],
) -> None:
    told = scene(
        environment | {"NVML_PART": "yes"},
        """
gauge = GpuMonitor()
gpu("fail")
gauge.begin()
looked()
helper = subprocess.Popen(["sleep", "600"])
gpu(ours.pid, helper.pid)
looked()
helper.kill(); helper.wait()
gpu(ours.pid)
told["figures"] = gauge.end()
gpu("fail")
told["silent"] = gauge.held(unkillable=False, patience=0.3)
""",
    )
    figures = told["figures"]
    assert (figures["gpu_clock_mhz"], figures["gpu_celsius"], figures["gpu_strangers"]) == (1500, None, None)
    assert told["silent"] is None


@pytest.mark.parametrize("unkillable", [True, False])
def test_where_our_pids_have_other_numbers_it_depends_on_what_could_not_be_ended(
    environment: dict[str, str], unkillable: bool
) -> None:
    told = scene(
        environment,
        f"""
gauge = GpuMonitor()
gpu(stranger, 99999991)
gauge.begin()
looked()
gauge.end()
told["held"] = gauge.held(unkillable={unkillable}, patience={3 if unkillable else 1})
""",
    )
    assert told["held"] == ("99999991" if unkillable else None)


def test_a_driver_that_hangs_costs_seconds_and_no_run(environment: dict[str, str]) -> None:
    told = scene(
        environment,
        """
gpu("hang")
gpu_monitor._FIRST_LOOK_SECONDS = 1.0
begun = time.monotonic()
gauge = GpuMonitor()
gauge.begin()
told["figures"], told["held"] = gauge.end(), gauge.held(unkillable=True, patience=1)
told["seconds"] = time.monotonic() - begun
""",
    )
    assert told["figures"] == {} and told["held"] is None and told["seconds"] < stretched(5)


def test_a_driver_that_hangs_while_training_costs_seconds_and_no_run(environment: dict[str, str]) -> None:
    told = scene(
        environment,
        """
gauge = GpuMonitor()
gauge.begin()
looked()
gpu("hang")
time.sleep(0.5)  # a look has begun that does not end
begun = time.monotonic()
told["figures"], told["held"] = gauge.end(), gauge.held(unkillable=False, patience=1)
told["seconds"] = time.monotonic() - begun
""",
    )
    assert told["figures"]["driver"] == "1.2.3" and told["held"] is None and told["seconds"] < stretched(8)


@pytest.mark.slow
def test_doctor_names_who_is_on_the_gpu_and_outlives_a_driver_that_hangs(
    environment: dict[str, str], repository: Path
) -> None:
    command = [sys.executable, "-m", "server.cli", "doctor", "--workspace", str(repository)]
    state = Path(environment["NVML_STATE"])

    def told() -> str:
        done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
        return re.sub(r";\n +", "; ", done.stdout)  # long lines are folded

    state.write_text(str(os.getpid()), encoding="ascii")
    found = told()
    assert "stand-in, 40.0 GB, driver 1.2.3; profile gpu; in use by" in found and f"({os.getpid()})" in found
    lines = [line for line in found.splitlines() if "torch sees no GPU" in line]  # which is what a run would meet
    assert [line.split()[:2] for line in lines] == [["fix", "torch:"], ["fix", "device:"]]
    state.write_text("hang", encoding="ascii")
    found = told()
    assert "has a problem: its driver hangs" in found and "no NVIDIA GPU" not in found


def test_a_gpu_that_a_run_has_not_given_back_is_not_started_on(repository: Path) -> None:
    stuck = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    study = Study(repository, "t1", ServeOptions(profile="gpu"))
    try:
        now = datetime.now(UTC) + timedelta(seconds=1)
        left = measured(2.0, unkillable=f"{stuck.pid}, 99999991")
        ran(study, left.model_copy(update={"finished_at": now.isoformat(timespec="seconds")}))
        study.replace(only(study.incumbent().text + "\nprint('another')\n"))
        rows = list(study.ledger.all())
        with pytest.raises(GpuHeld, match=rf"experiment 1 left \S+ \({stuck.pid}\), which cannot be ended"):
            study.run("another")
        assert list(study.ledger.all()) == rows and study.phase() is Phase.PATCHED
        assert cleanup.gpu_holders(study.ledger.last())
    finally:
        stuck.kill()
        stuck.wait()
        study.close()
    assert cleanup.gpu_holders(rows[-1]) == ""


def test_a_pid_that_another_process_has_by_now_holds_nothing(repository: Path) -> None:
    study = Study(repository, "t1", ServeOptions(profile="gpu"))
    assert (
        cleanup.gpu_holders(ran(study, measured(2.0, unkillable=str(os.getpid())))) == ""
    )  # it ended long before we began
    study.close()
