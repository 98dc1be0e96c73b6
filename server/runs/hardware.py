"""The machine as the server sees it, without torch."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
# (nvidia-ml-py has no types)

import os
import platform
import re
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import psutil
import pynvml

from server.records import Value

_Told = TypeVar("_Told")
_SYSTEM = Path("/sys")
_GROUPS = Path("/sys/fs/cgroup")
_CAPABILITIES = Path("/proc/driver/nvidia-caps/mig-minors")  # which file opens which part of which GPU
HANGS = "its driver hangs"
UNIFIED = ("8.7", "11.0", "12.1")  # Orin, Thor, GB10: the GPU has the machine's memory
_NO_GPU = (  # that NVML can mean by an error; every other one is trouble
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_NOT_FOUND,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
)


class Hardware(Value):
    """What runs are run on."""

    gpu: str | None
    gpu_memory_gb: float | None
    driver: str | None
    cpu: str
    cores: int
    memory_gb: float
    platform: str


class Machine(Hardware):
    """What a profile is chosen by, too; status does not show it."""

    gpu_kind: str = ""  # CUDA's compute capability (8.6) or AMD's architecture (gfx942); empty: not told
    gpu_free_gb: float | None = None
    gpu_slice: bool = False  # a part of a GPU (MIG)
    gpus: int = 0  # that torch will see
    gpu_trouble: str = ""  # why a GPU that may be here cannot be asked
    torch_build: str = ""  # cuda, rocm or cpu; empty: not told


def probe(timeout: float = 3.0) -> Machine:
    """Look at the machine.

    Args:
        timeout: seconds NVML may take; a driver in trouble can hang for ever, and then there is no GPU for us.
    """
    build, memory = torch_build(), psutil.virtual_memory().total / 2**30
    gpu: dict[str, Any] = _ask(_nvidia, timeout) or {"gpu_trouble": HANGS}
    if "gpu" not in gpu and build == "rocm":
        gpu = amd_gpu() or gpu
    if "gpu" in gpu and gpu.get("gpu_memory_gb") is None and gpu.get("gpu_kind") in UNIFIED:
        gpu["gpu_memory_gb"] = round(memory, 1)
    unknown: dict[str, Any] = {"gpu": None, "gpu_memory_gb": None, "driver": None}
    return Machine(
        **unknown | gpu,
        torch_build=build,
        cpu=platform.processor() or platform.machine(),
        cores=os.cpu_count() or 1,
        memory_gb=round(memory, 1),
        platform=platform.platform(terse=True),
    )


def torch_build() -> str:
    """What the installed torch was built for, without importing it: cuda, rocm or cpu; empty if it does not tell."""
    try:
        told = Path(str(metadata.distribution("torch").locate_file("torch/version.py"))).read_text(encoding="utf-8")
    except (metadata.PackageNotFoundError, OSError):
        return ""
    for name, build in (("hip", "rocm"), ("cuda", "cuda")):
        if re.search(rf"(?m)^{name}\b.*= *['\"]", told):
            return build
    return "cpu"


def amd_gpu(system: Path = _SYSTEM) -> dict[str, Any]:
    """The first GPU that AMD's kernel driver shows below `system` and that torch will see; nothing if there is none."""
    nodes = sorted((system / "class/kfd/kfd/topology/nodes").glob("[0-9]*"), key=lambda node: int(node.name))
    found = [facts for node in nodes if int((facts := _facts(node / "properties")).get("gfx_target_version", 0))]
    variables = ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")
    told = next((os.environ[name] for name in variables if name in os.environ), None)
    if told is not None:
        chosen = [int(word) for word in told.split(",") if word.strip().isdecimal()]
        found = [found[index] for index in chosen if index < len(found)]
    if not found:
        return {}
    version = int(found[0]["gfx_target_version"])
    kind = f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"
    card = system / "class/drm" / f"renderD{found[0].get('drm_render_minor')}" / "device"
    total, used = (_number(card / f"mem_info_vram_{name}") for name in ("total", "used"))
    return {
        "gpu": f"AMD GPU ({kind})",
        "gpu_kind": kind,
        "gpu_memory_gb": None if total is None else round(total / 2**30, 1),
        "gpu_free_gb": None if total is None or used is None else round((total - used) / 2**30, 1),
        "gpus": len(found),
    }


def _facts(path: Path) -> dict[str, str]:
    """Names and values of a file with a pair a line; nothing of one that cannot be read."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return {}
    return {name: value for name, _, value in (line.partition(" ") for line in lines)}


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def file_system(path: Path) -> str:
    """The kind of the one that holds `path`, as the system names it: ext4, apfs, nfs4; empty if it does not tell."""
    mounts = {mount.mountpoint: mount.fstype for mount in psutil.disk_partitions(all=True)}
    return next((mounts[str(folder)] for folder in (path, *path.parents) if str(folder) in mounts), "")


def gpu_pids(timeout: float = 3.0, uuid: str = "") -> set[int] | None:
    """Who computes on a GPU, as the driver numbers them: nobody where there is no driver, None where it hangs.

    Args:
        uuid: the GPU's; empty: the first that torch will see.
    """
    return _ask(lambda: _pids(_device(uuid)), timeout, silent=set())


def gpu_name(timeout: float = 3.0) -> str | None:
    """The GPU's name among all GPUs of the world; None where the driver does not tell."""
    return _ask(lambda: str(pynvml.nvmlDeviceGetUUID(_device())), timeout)


def visible_gpus(timeout: float = 3.0) -> list[str] | None:
    """UUIDs of the GPUs that torch may see, in its order: those of the first one's kind, a part of one (MIG) as one.

    Empty where no driver tells; None where it hangs.
    """
    return _ask(_uuids, timeout, silent=[])


def gpu_silence(uuid: str, timeout: float = 3.0) -> str:
    """Why a GPU does not answer; empty if it does."""
    told = _ask(lambda: _silence(uuid), timeout, silent="there is no driver")
    return HANGS if told is None else told


def gpu_nodes(uuid: str, timeout: float = 3.0, capabilities: Path = _CAPABILITIES) -> tuple[str, ...]:
    """The files below /dev through which this GPU is used, and no other; none where the driver does not number it."""
    return _ask(lambda: _nodes(_device(uuid), capabilities), timeout, silent=()) or ()


def cores() -> int:
    """How many cores our processes can keep busy at once: a container may have fewer than its machine."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _quota()))


def _quota() -> int:
    """The cores that control groups of version 2 leave to this process, rounded up; very many where none says."""
    least = 1 << 16
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
        own = _GROUPS / next(line[4:] for line in lines if line.startswith("0::/"))
        for folder in (own, *own.parents[: len(own.parts) - len(_GROUPS.parts)]):
            with suppress(OSError, ValueError):  # "max"
                quota, period = map(int, (folder / "cpu.max").read_text(encoding="ascii").split())
                least = min(least, -(-quota // period))
    return least


def _ask(question: Callable[[], _Told], timeout: float, silent: _Told | None = None) -> _Told | None:
    """What the driver says of our GPU; `silent` if it says nothing, None if it hangs: it may do so for ever."""
    found: list[_Told | None] = []

    def ask() -> None:
        try:
            found.append(question())
        except Exception:  # NVMLError, or what the binding cannot read: a name that is no UTF-8
            found.append(silent)

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    return found[0] if found else None


def _device(uuid: str = "") -> Any:
    """The GPU with this UUID, or else the first that torch will see: of one that is divided, its first part (MIG).

    Raises:
        NVMLError: there is none.
    """
    pynvml.nvmlInit()
    return _parts(_named(uuid or os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0].strip()))[0]


def _named(word: str) -> Any:
    """By number in the order of the bus, or by UUID. Raises NVMLError."""
    if word.startswith("MIG-"):
        return pynvml.nvmlDeviceGetHandleByUUID(word)
    if word.startswith("GPU-"):
        found = next((one for one in _devices() if str(_told(pynvml.nvmlDeviceGetUUID, one)).startswith(word)), None)
    else:
        found = pynvml.nvmlDeviceGetHandleByIndex(int(word)) if word.isdecimal() else None
    if found is None:
        for number in range(pynvml.nvmlDeviceGetCount()):
            pynvml.nvmlDeviceGetHandleByIndex(number)  # one that is lost says so: it may be this one
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
    return found


def _parts(whole: Any) -> list[Any]:
    """Those of a GPU that is divided, which does no work as a whole; of any other, itself."""
    if (_told(pynvml.nvmlDeviceGetMigMode, whole) or [0])[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
        return [whole]
    slices = range(_told(pynvml.nvmlDeviceGetMaxMigDeviceCount, whole) or 0)
    handles = (_told(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, whole, number) for number in slices)
    return [handle for handle in handles if handle is not None] or [whole]


def _devices() -> list[Any]:
    """Those that answer, in the order of the bus."""
    numbers = range(pynvml.nvmlDeviceGetCount())
    found = (_told(pynvml.nvmlDeviceGetHandleByIndex, number) for number in numbers)
    return [device for device in found if device is not None]


def _uuids() -> list[str]:
    pynvml.nvmlInit()
    words = os.environ.get("CUDA_VISIBLE_DEVICES")
    wholes = _devices() if words is None else []
    with suppress(pynvml.NVMLError):  # the first word that names no GPU ends the list
        for word in [] if words is None else words.split(","):
            wholes.append(_named(word.strip()))
    every = [part for whole in wholes for part in ([whole] if _is_part(whole) else _parts(whole))]
    kinds = [_told(pynvml.nvmlDeviceGetName, device) for device in every]
    alike = [device for device, kind in zip(every, kinds, strict=True) if kind == kinds[0]]
    return list(dict.fromkeys(str(uuid) for one in alike if (uuid := _told(pynvml.nvmlDeviceGetUUID, one))))


def _is_part(device: Any) -> bool:
    return _told(pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle, device) is not None


def _silence(uuid: str) -> str:
    try:
        pynvml.nvmlDeviceGetMemoryInfo(_device(uuid))
    except pynvml.NVMLError as error:
        kind = getattr(error, "value", None)
        if kind in (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NO_PERMISSION):
            return ""
        return "the driver no longer lists it" if kind == pynvml.NVML_ERROR_NOT_FOUND else str(error)
    return ""


def _nodes(device: Any, capabilities: Path) -> tuple[str, ...]:
    whole = _told(pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle, device)
    minor = _told(pynvml.nvmlDeviceGetMinorNumber, device if whole is None else whole)
    if minor is None:
        return ()
    nodes = ("nvidiactl", "nvidia-uvm", f"nvidia{minor}")
    if whole is None:
        return nodes
    part, known = f"gpu{minor}/gi{_told(pynvml.nvmlDeviceGetGpuInstanceId, device)}", _facts(capabilities)
    names = (f"{part}/access", f"{part}/ci{_told(pynvml.nvmlDeviceGetComputeInstanceId, device)}/access")
    needed = [f"nvidia-caps/nvidia-cap{known[name]}" for name in names if name in known]
    return (*nodes, *needed) if len(needed) == len(names) else ()


def _nvidia() -> dict[str, Any]:
    """What the driver says, each answer by itself: a part of a GPU or a GPU without memory of its own refuses some."""
    try:
        device = _device()
    except Exception as error:
        return {"gpu_trouble": "" if getattr(error, "value", None) in _NO_GPU else str(error) or type(error).__name__}
    memory = _told(pynvml.nvmlDeviceGetMemoryInfo, device)
    whole = _told(pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle, device)
    kind = _told(pynvml.nvmlDeviceGetCudaComputeCapability, device)
    if kind is None and whole is not None:
        kind = _told(pynvml.nvmlDeviceGetCudaComputeCapability, whole)
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    return {
        "driver": _told(pynvml.nvmlSystemGetDriverVersion),
        "gpu_memory_gb": None if memory is None else round(int(memory.total) / 2**30, 1),
        "gpu": _told(pynvml.nvmlDeviceGetName, device) or "NVIDIA GPU",
        "gpu_kind": ".".join(map(str, kind or ())),
        "gpu_free_gb": None if memory is None else round(int(memory.free) / 2**30, 1),
        "gpu_slice": whole is not None,
        "gpus": (_told(pynvml.nvmlDeviceGetCount) or 1) if chosen is None else len(chosen.split(",")),
    }


def _told(query: Callable[..., Any], *words: Any) -> Any:
    """One answer; None where the driver does not tell."""
    try:
        return query(*words)
    except Exception:  # NVMLError, or what the binding cannot read
        return None


def _pids(device: Any) -> set[int]:
    return {int(process.pid) for process in pynvml.nvmlDeviceGetComputeRunningProcesses(device)}
