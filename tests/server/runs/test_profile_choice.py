"""Which profile a machine gets: seen through nvidia-ml-py and a stand-in for the driver, and through AMD's files."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from server.runs.hardware import Hardware, Machine, amd_gpu
from server.runs.profile_choice import PLANS, default_profile, reason, trouble, why_no_gpu
from tests.support.fakes import driver
from trainer.contract import GPU_PROFILES, ProfileName

MACHINE = Machine(gpu=None, gpu_memory_gb=None, driver=None, cpu="x", cores=2, memory_gb=16.0, platform="Linux")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of a process that meets the driver."""
    found = driver(tmp_path_factory.mktemp("driver"))
    if found is None:
        pytest.skip("no Linux, or no C compiler: the driver cannot be stood in for")
    return found


def seen(environment: dict[str, str], **settings: str) -> tuple[Machine, str, str]:
    """The machine, its profile and the reason, in a process that meets a driver with these settings."""
    text = (
        "from server.runs.hardware import probe\n"
        "from server.runs.profile_choice import default_profile, reason\n"
        "machine = probe()\n"
        "profile = default_profile(machine)\n"
        "print(machine.model_dump_json(), profile, reason(machine, profile), sep='\\n')\n"
    )
    inherited = {name: value for name, value in os.environ.items() if not name.endswith("VISIBLE_DEVICES")}
    command = [sys.executable, "-c", text]
    done = subprocess.run(command, env={**inherited, **environment, **settings}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    machine, profile, why = done.stdout.decode().split("\n")[:3]
    return Machine.model_validate_json(machine), profile, why


def card(gigabytes: float | None, kind: str, **more: Any) -> Machine:
    facts = {"gpu": "one", "gpu_memory_gb": gigabytes, "gpu_kind": kind, "gpus": 1, **more}
    return MACHINE.model_copy(update=facts)


@pytest.mark.parametrize(
    ("gigabytes", "kind", "profile"),
    [
        (2.0, "8.6", "gpu-4gb"),
        (4.0, "8.6", "gpu-4gb"),
        (5.7, "7.5", "gpu-4gb"),
        (7.6, "8.6", "gpu-8gb"),
        (10.7, "7.5", "gpu-8gb"),  # RTX 2080 Ti
        (11.6, "8.9", "gpu-12gb"),
        (15.7, "8.9", "gpu-16gb"),
        (22.3, "8.9", "gpu-24gb"),  # L4
        (31.8, "12.0", "gpu-24gb"),  # RTX 5090
        (44.6, "8.6", "gpu-48gb"),  # A40
        (95.6, "12.0", "gpu-48gb"),  # RTX PRO 6000
        (39.5, "8.0", "gpu"),  # A100
        (79.6, "9.0", "gpu"),
        (139.8, "9.0", "gpu"),
        (178.0, "10.0", "gpu"),
        (119.0, "12.1", "gpu-12gb"),  # GB10
        (14.6, "7.5", "gpu-12gb"),  # Tesla T4
        (31.7, "7.0", "gpu-12gb"),  # V100
        (8.0, "6.1", "gpu-4gb"),  # GTX 1080
        (191.7, "gfx942", "gpu"),
        (64.0, "gfx90a", "gpu-48gb"),
        (24.0, "gfx1100", "gpu-24gb"),
        (16.0, "gfx1030", "gpu-8gb"),
        (96.0, "gfx1151", "gpu-12gb"),
        (80.0, "99.0", "gpu"),  # not known yet: memory alone says what fits
        (None, "8.6", "gpu-48gb"),
    ],
)
def test_a_gpu_gets_the_class_that_its_memory_holds_and_its_kind_can_train(
    gigabytes: float | None, kind: str, profile: str
) -> None:
    assert default_profile(card(gigabytes, kind)) == profile


def test_a_large_part_of_a_gpu_is_no_whole_one() -> None:
    assert default_profile(card(39.4, "8.0", gpu_slice=True)) == "gpu-48gb"
    assert default_profile(card(9.5, "9.0", gpu_slice=True)) == "gpu-8gb"


@pytest.mark.parametrize(("gigabytes", "profile"), [(8.0, "mps-8gb"), (16.0, "mps-16gb"), (64.0, "mps")])
def test_apples_chip_gets_a_class_by_its_memory(gigabytes: float, profile: str) -> None:
    mac = {"platform": "macOS-15.1", "cpu": "arm", "memory_gb": gigabytes}
    assert default_profile(MACHINE.model_copy(update=mac)) == profile
    assert default_profile(MACHINE.model_copy(update=mac | {"cpu": "i386"})) == "cpu"


def test_a_study_keeps_the_class_it_has_also_one_of_the_two_former_ones() -> None:
    machine = card(24.0, "8.9")
    assert default_profile(machine, last="gpu-small") == "gpu-small"
    assert default_profile(machine, last="gpu-24gb", train='"gpu-small"') == "gpu-24gb"
    assert default_profile(machine, last="cpu", train='{"cpu": 1, "gpu-small": 2}') == "gpu-small"
    assert default_profile(machine, last="cpu") == default_profile(machine, last="gpu") == "gpu-24gb"


def test_a_train_py_that_knows_the_two_former_classes_alone_gets_one_of_them() -> None:
    old = '{"mps": (4, 256), "gpu-small": (6, 384), "gpu": (9, 512)}'
    assert default_profile(card(24.0, "8.9"), train=old) == "gpu-small"
    assert default_profile(card(44.6, "8.6"), train=old) == "gpu"
    assert default_profile(card(24.0, "8.9"), train='{"gpu-small": 1, "gpu-24gb": 2}') == "gpu-24gb"
    assert default_profile(card(24.0, "8.9"), train="no table") == "gpu-24gb"


@pytest.mark.parametrize(("gigabytes", "kind"), [(24.0, "gfx1100"), (64.0, "12.1")])
def test_a_study_on_the_cpu_of_a_machine_whose_gpu_was_not_seen_stays_there(gigabytes: float, kind: str) -> None:
    machine, old = card(gigabytes, kind), "{'cpu': 1, 'gpu': 2}"
    assert default_profile(machine, last="cpu") == default_profile(machine, train=old) == "cpu"
    assert default_profile(machine).startswith("gpu")


def test_a_machine_of_which_less_is_known_gets_a_class_by_memory_alone() -> None:
    plain = Hardware.model_validate(MACHINE.model_dump(include=set(Hardware.model_fields)) | {"gpu": "one"})
    assert default_profile(plain) == "gpu"
    assert default_profile(plain.model_copy(update={"gpu_memory_gb": 12.0})) == "gpu-12gb"


def test_what_may_fail_is_told_before_it_does() -> None:
    machine = card(12.0, "8.6", gpu_free_gb=11.5, torch_build="cuda")
    assert trouble(machine, "gpu-12gb") == ""
    assert "1.5 GB are free" in trouble(machine.model_copy(update={"gpu_free_gb": 1.5}), "gpu-12gb")
    assert "built for the CPU" in trouble(machine.model_copy(update={"torch_build": "cpu"}), "gpu-12gb")
    assert "no kernels" in reason(card(8.0, "6.1"), "gpu-4gb") and "Turing" in reason(card(14.6, "7.5"), "gpu-12gb")
    assert "unknown" in reason(card(24.0, "gfx1100"), "gpu-24gb")
    assert "the first of 2 GPUs" in reason(card(24.0, "8.9", gpus=2), "gpu-24gb")


def test_every_class_has_a_plan() -> None:
    assert set(PLANS) == GPU_PROFILES | {ProfileName.MPS, ProfileName.MPS_8GB, ProfileName.MPS_16GB}


@pytest.mark.parametrize(
    ("settings", "profile", "words"),
    [
        ({"NVML_GPU": "Tesla T4|14.6|7|5"}, "gpu-12gb", "Turing"),
        ({"NVML_GPU": "GTX 1080|8|6|1"}, "gpu-4gb", "Pascal"),
        ({"NVML_GPU": "RTX 3060|12|8|6", "NVML_COUNT": "2"}, "gpu-12gb", "the first of 2 GPUs"),
        ({"NVML_GPU": "RTX 3060|12|8|6", "NVML_COUNT": "2", "CUDA_VISIBLE_DEVICES": "1"}, "gpu-12gb", "Ampere"),
        ({"NVML_GPU": "RTX 3060|12|8|6", "CUDA_VISIBLE_DEVICES": "GPU-stand"}, "gpu-12gb", "Ampere"),
        ({"NVML_GPU": "H100|79.6|9|0", "NVML_MIG": "9.5"}, "gpu-8gb", "a part of a GPU"),
        ({"NVML_GPU": "H100|79.6|9|0", "NVML_MIG": "19.5", "CUDA_VISIBLE_DEVICES": "MIG-1"}, "gpu-16gb", "Hopper"),
        ({"NVML_GPU": "H100|79.6|9|0"}, "gpu", "Hopper"),
    ],
)
def test_a_gpu_is_seen_as_it_is(
    environment: dict[str, str], settings: dict[str, str], profile: str, words: str
) -> None:
    machine, chosen, why = seen(environment, **settings)
    assert machine.gpu == settings["NVML_GPU"].partition("|")[0] and machine.driver == "1.2.3"
    assert chosen == profile and words in why


def test_a_gpu_with_the_machines_memory_is_one_though_its_driver_tells_none(environment: dict[str, str]) -> None:
    machine, profile, why = seen(environment, NVML_GPU="GB10|0|12|1")
    assert machine.gpu == "GB10" and machine.gpu_memory_gb == machine.memory_gb
    assert profile in ("gpu-4gb", "gpu-8gb", "gpu-12gb") and "the machine's memory" in why


@pytest.mark.parametrize("visible", ["", "-1", "7"])
def test_a_gpu_that_torch_will_not_see_is_none(environment: dict[str, str], visible: str) -> None:
    machine, profile, _ = seen(environment, CUDA_VISIBLE_DEVICES=visible)
    assert machine.gpu is None and machine.gpu_trouble == "" and profile in ("cpu", "mps")


def test_a_driver_in_trouble_is_told_from_none(environment: dict[str, str]) -> None:
    machine, profile, _ = seen(environment, NVML_LOST="yes")
    assert machine.gpu is None and "lost" in machine.gpu_trouble.lower() and profile == "cpu"
    assert "lost" in why_no_gpu(machine).lower() and not why_no_gpu(card(12.0, "8.6")) and not why_no_gpu(MACHINE)
    assert default_profile(machine, last="gpu-24gb") == "gpu-24gb"  # a night on a GPU does not go on without it
    assert default_profile(MACHINE, last="gpu-24gb") in ("cpu", "mps")


def test_a_name_that_cannot_be_read_costs_the_name_alone(environment: dict[str, str]) -> None:
    machine, profile, _ = seen(environment, NVML_GPU="\udcff\udcfe|14.6|7|5")
    assert (machine.gpu, machine.gpu_memory_gb, profile) == ("NVIDIA GPU", 14.6, "gpu-12gb")


@pytest.mark.parametrize(
    ("settings", "whole"), [({}, True), ({"NVML_MIG": "9.5"}, False), ({"CUDA_VISIBLE_DEVICES": "MIG-1"}, False)]
)
def test_a_run_is_watched_on_the_device_that_torch_will_take(
    environment: dict[str, str], settings: dict[str, str], whole: bool
) -> None:
    text = (
        "import pynvml; from trainer.processes import gpu_monitor; pynvml.nvmlInit()\n"
        "handle = gpu_monitor._device()\n"
        "try: pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle); print('slice')\n"
        "except pynvml.NVMLError: print('whole')\n"
    )
    merged = {**os.environ, **environment, "NVML_GPU": "H100|79.6|9|0", **settings}
    done = subprocess.run([sys.executable, "-c", text], env=merged, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ("whole" if whole else "slice")


def test_an_amd_gpu_is_found_in_the_kernels_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    assert amd_gpu(tmp_path) == {}
    for node, (version, minor) in enumerate([(0, 0), (110000, 128), (90010, 129)]):
        folder = tmp_path / f"class/kfd/kfd/topology/nodes/{node}"
        folder.mkdir(parents=True)
        text = f"simd_count 192\ngfx_target_version {version}\ndrm_render_minor {minor}\n"
        (folder / "properties").write_text(text, encoding="ascii")
    card_folder = tmp_path / "class/drm/renderD128/device"
    card_folder.mkdir(parents=True)
    (card_folder / "mem_info_vram_total").write_text(f"{24 << 30}\n", encoding="ascii")
    (card_folder / "mem_info_vram_used").write_text(f"{1 << 30}\n", encoding="ascii")
    found = amd_gpu(tmp_path)
    assert (found["gpu_kind"], found["gpu_memory_gb"], found["gpu_free_gb"], found["gpus"]) == ("gfx1100", 24, 23, 2)
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "1")
    found = amd_gpu(tmp_path)
    assert (found["gpu_kind"], found["gpu_memory_gb"], found["gpus"]) == ("gfx90a", None, 1)
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "")
    assert amd_gpu(tmp_path) == {}
