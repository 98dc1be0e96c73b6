"""Several runs at once: which GPUs get a slot, what is in the way of each slot, and who shares the machine."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from server.errors import DeviceBusy, RunnerUnavailable
from server.records import Experiment
from server.runs.device_lock import LEASE, device_leases, last_runs
from server.runs.executor import Slot, SlotRequest, lasts_of
from server.runs.slots import SlotTable
from tests.support.builders import attempt
from tests.support.fakes import driver
from tests.support.polling import PATIENCE

_SCENE = """
import json, os, sys, time
from contextlib import suppress
from pathlib import Path
from server.errors import AutoresearchError
from server.runs import hardware, slots
from server.runs.executor import RunSite, Slot, SlotRequest
from server.runs.slots import SlotTable
told = {}
for ask in (hardware.gpu_pids, hardware.visible_gpus, hardware.gpu_silence, hardware.gpu_nodes):
    ask.__defaults__ = (60.0, *ask.__defaults__[1:])  # seconds, where the stand-in answers as soon as it gets a core

def gpu(*words):
    Path(os.environ["NVML_STATE"]).write_text(" ".join(map(str, words)))

def refused(call, *words):
    try:
        call(*words)
    except AutoresearchError as error:
        return error.problem
    return ""

def asked(slots, profile="gpu"):
    return [[one.id, one.device] for one in SlotTable(SlotRequest(slots, profile)).all()]

"""
_FREE = """
from server.records import Experiment, Outcome
from server.runs.device_lock import device_leases
from server.runs.spawn import TorchView
from server.runs.local_executor import LocalExecutor
from tests.support.builders import attempt
from tests.support.lifecycle import measured
from tests.support.polling import until
place = Path(os.environ["HOME"])
executor = LocalExecutor(RunSite(place, place, place, place, place / "home", SlotRequest(2, "gpu")))

def free(lasts={}):
    with suppress(AutoresearchError):
        return executor.require_free("gpu", lasts).device
    return refused(executor.require_free, "gpu", lasts)

run = attempt(6).model_copy(update={"profile": "gpu", "slot": "0", "concurrency": 2})
held = Experiment(attempt=run, result=measured(2.0, gpu_held="99999991"))
told["both"] = free()
gpu("99999991")
told["held"] = free({"0": held})
gpu("1:99999991")
told["held elsewhere"] = free({"0": held})
gpu("lost 1:lost")
told["none"], told["left out"] = free(), dict(executor.left_out)
gpu("")
executor = LocalExecutor(RunSite(place, place, place, place, place / "home", SlotRequest(2, "gpu")))
with device_leases(place / "another repository", "gpu", "0", "GPU-stand-in") as leases:
    leases[-1].sign(Path("/where/it/runs"))
    told["taken"] = free()
no_device = {"outcome": Outcome.ENV_FAIL, "score": None, "cause": "no_device"}
failed = {"0": Experiment(attempt=run, result=held.result.model_copy(update=no_device))}
asked = []
def trial(profile, gpu):
    asked.append(gpu)
    return TorchView(problem="no kernels for it" if len(asked) == 1 else "")
slots.torch_view, slots._TRY_SECONDS = trial, 0
told["tried"] = free(failed)
until(lambda: free(failed) == "GPU-stand-in")
told["asked"] = asked
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a process that meets a driver with three GPUs."""
    found = driver(tmp_path)
    if found is None:
        pytest.skip("no Linux, or no C compiler: the driver cannot be stood in for")
    return found | {"NVML_COUNT": "3", "HOME": str(tmp_path)}


def scene(environment: dict[str, str], text: str) -> dict[str, Any]:
    """What a process tells that meets the driver."""
    inherited = {name: value for name, value in os.environ.items() if not name.endswith("VISIBLE_DEVICES")}
    command = [sys.executable, "-c", f"{_SCENE}{text}\nprint(json.dumps(told))"]
    done = subprocess.run(command, env=inherited | environment, capture_output=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_torch_sees_these_gpus_and_each_has_files_of_its_own(environment: dict[str, str], tmp_path: Path) -> None:
    minors = tmp_path / "mig-minors"
    minors.write_text("config 1\ngpu9/gi3/access 30\ngpu9/gi3/ci0/access 31\ngpu9/gi4/access 39\n", encoding="ascii")
    told = scene(
        environment,
        f"""
for words in ("2,0", "GPU-1-stand-in", "0,7,1", "0,0", "", "-1", "NoDevFiles"):
    os.environ["CUDA_VISIBLE_DEVICES"] = words
    told[words] = hardware.visible_gpus()
del os.environ["CUDA_VISIBLE_DEVICES"]
told["all"] = hardware.visible_gpus()
told["nodes"] = hardware.gpu_nodes("GPU-2-stand-in")
gpu("7 2:8 2:9")
told["pids"] = [sorted(hardware.gpu_pids(uuid=uuid)) for uuid in ("", "GPU-1-stand-in", "GPU-2-stand-in")]
os.environ["NVML_KINDS"] = "aba"
told["of a kind"] = hardware.visible_gpus()
del os.environ["NVML_KINDS"]
os.environ["NVML_MIG"] = "9.5"
os.environ["CUDA_VISIBLE_DEVICES"] = "0"
told["parts"] = hardware.visible_gpus()
told["of a part"] = hardware.gpu_nodes("MIG-stand-in", capabilities=Path({str(minors)!r}))
told["of an unknown part"] = hardware.gpu_nodes("MIG-stand-in", capabilities=Path("/nonexistent"))
""",
    )
    first, second, third = "GPU-stand-in", "GPU-1-stand-in", "GPU-2-stand-in"
    assert (
        told["2,0"] == [third, first] and told["GPU-1-stand-in"] == [second] and told["all"] == [first, second, third]
    )
    assert told["0,7,1"] == told["0,0"] == [first] and told[""] == told["-1"] == told["NoDevFiles"] == []
    assert told["pids"] == [[7], [], [8, 9]]
    assert told["of a kind"] == [first, third], "scores of two kinds do not compare"
    assert told["nodes"] == ["nvidiactl", "nvidia-uvm", "nvidia7"]
    assert told["parts"] == ["MIG-stand-in"] and told["of an unknown part"] == []
    parts = ["nvidia-caps/nvidia-cap30", "nvidia-caps/nvidia-cap31"]
    assert told["of a part"] == ["nvidiactl", "nvidia-uvm", "nvidia9", *parts]


def test_slots_follow_what_is_asked_and_ids_stay_when_gpus_come_and_go(environment: dict[str, str]) -> None:
    told = scene(
        environment,
        """
told["default"], told["two"], told["auto"], told["one"] = (asked(words) for words in (None, 2, "auto", 1))
told["four"], told["on a CPU"] = refused(asked, 4), asked("auto", "cpu")
many, one = SlotTable(SlotRequest("auto", "gpu")), Slot("1", "GPU-1-stand-in")
slots._LIST_SECONDS = slots._ASK_SECONDS = 0
told["well"] = refused(many.require, one, "gpu", None)
gpu("1:lost")
told["lost"] = refused(many.require, one, "gpu", None)
told["beside it"] = refused(many.require, Slot("2", "GPU-2-stand-in"), "gpu", None)
told["still"] = [[one.id, one.device] for one in many.all()]
gpu("count:1")
told["gone"] = refused(many.require, one, "gpu", None)
gpu("count:4")
told["back"] = refused(many.require, one, "gpu", None)
told["added"] = [[one.id, one.device] for one in many.all()]
gpu("1:hang")
slots.gpu_silence.__defaults__ = (0.3,)  # seconds
told["hangs"] = refused(many.require, one, "gpu", None)
""",
    )
    every = [["0", "GPU-stand-in"], ["1", "GPU-1-stand-in"], ["2", "GPU-2-stand-in"]]
    assert told["default"] == told["on a CPU"] == [["0", ""]] and told["one"] == every[:1], "as before where none asks"
    assert told["two"] == every[:2] and told["auto"] == told["still"] == every
    assert told["four"] == "4 slots are asked for, and torch may see 3 GPUs of one kind."
    assert told["well"] == told["beside it"] == told["back"] == ""
    assert told["lost"] == "Slot 1 (GPU-1-stand-in) is not used: GPU is lost."
    assert told["gone"] == "Slot 1 (GPU-1-stand-in) is not used: the driver no longer lists it."
    assert told["hangs"] == "Slot 1 (GPU-1-stand-in) is not used: its driver hangs."
    assert told["added"] == [*every, ["3", "GPU-3-stand-in"]]


def test_a_run_gets_the_first_slot_whose_gpu_answers_and_is_free(environment: dict[str, str]) -> None:
    told = scene(environment, _FREE)
    first, second = "GPU-stand-in", "GPU-1-stand-in"
    assert told["both"] == told["held elsewhere"] == first
    assert told["held"] == told["taken"] == told["tried"] == second
    assert told["asked"] == [first, first], "it is tried again until torch can use it"
    assert told["left out"] == {"0": "GPU is lost", "1": "GPU is lost"}
    assert told["none"] == (
        "None of the 2 slots is free. Slot 0 (GPU-stand-in) is not used: GPU is lost. "
        "Slot 1 (GPU-1-stand-in) is not used: GPU is lost."
    )


@pytest.mark.parametrize(
    ("asked", "profile", "problem"),
    [
        (10_000, "cpu", r"10000 slots are asked for, and \d+ cores? can be used: a run needs one"),
        (2, "mps", "2 slots are asked for, and this machine has only one GPU, and one run at a time can use it"),
    ],
)
def test_more_slots_than_the_machine_has_are_refused(asked: int, profile: str, problem: str) -> None:
    with pytest.raises(RunnerUnavailable, match=problem):
        SlotTable(SlotRequest(asked, profile))


def test_runs_in_slots_share_the_machine_and_whoever_wants_it_alone_waits(tmp_path: Path) -> None:
    with device_leases(tmp_path, "cpu", "0") as first, device_leases(tmp_path, "cpu", "1") as second:
        first[-1].sign(tmp_path / "runs/00001")
        second[0].sign(tmp_path / "of all")
        second[-1].sign(tmp_path / "runs/00002")
        for slot, holder in (("0", "00001"), ("1", "00002"), ("", "00001")):
            busy = pytest.raises(DeviceBusy, match=f"Device busy: the run in .*runs/{holder} is still active")
            with busy, device_leases(tmp_path, "cpu", slot):
                pass
        second[-1].close()
        with device_leases(tmp_path, "cpu", "1") as again:
            assert last_runs(tmp_path, again) == {str(tmp_path / "runs/00002")}
            second[-1].descriptor = os.dup(again[-1].descriptor)  # closed at the end
    with device_leases(tmp_path, "cpu") as alone:
        assert alone[0].path.name == LEASE, "the name that earlier versions lock"
        assert last_runs(tmp_path, alone) == {str(tmp_path / f"runs/0000{number}") for number in (1, 2)}
        with pytest.raises(DeviceBusy), device_leases(tmp_path, "cpu", "2"):
            pass


def test_the_last_run_of_each_slot_is_found_and_rows_without_one_are_of_the_first() -> None:
    rows = [Experiment(attempt=attempt(number)) for number in (4, 3, 2, 1)]
    slots = {4: "1", 3: None, 2: "0", 1: "2"}
    rows = [
        row.model_copy(update={"attempt": row.attempt.model_copy(update={"slot": slots[row.number]})}) for row in rows
    ]
    assert {slot: row.number for slot, row in lasts_of(rows).items()} == {"1": 4, "0": 3, "2": 1}
    assert Slot() == Slot("0", "")
