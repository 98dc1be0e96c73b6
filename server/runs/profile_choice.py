"""Which profile a machine gets: by the memory of its GPU, and by what the GPU is built for.

Memory says what fits, the kind says what can be trained in five minutes: a chip for servers computes more for each GB
than a card for desktops, and a chip that shares the machine's memory far less. docs/hardware.md has the figures.
"""

import re
from contextlib import suppress
from typing import NamedTuple

from server.errors import RunnerUnavailable
from server.runs.hardware import HANGS, UNIFIED, Hardware, Machine
from server.runs.spawn import torch_view
from trainer.contract import GPU_PROFILES, ProfileName

_FORMERLY_LARGE_GB = 36.0  # of the time when GPUs had two classes
_BY_MEMORY = (  # GiB as drivers report them: a little less than the card's name says
    (36.0, ProfileName.GPU),
    (21.5, ProfileName.GPU_24GB),
    (14.4, ProfileName.GPU_16GB),
    (11.0, ProfileName.GPU_12GB),
    (7.4, ProfileName.GPU_8GB),
    (0.0, ProfileName.GPU_4GB),
)
_BY_UNIFIED_MEMORY = ((48.0, ProfileName.MPS), (12.0, ProfileName.MPS_16GB), (0.0, ProfileName.MPS_8GB))
_ASCENDING = (
    ProfileName.GPU_4GB,
    ProfileName.GPU_8GB,
    ProfileName.GPU_12GB,
    ProfileName.GPU_16GB,
    ProfileName.GPU_24GB,
    ProfileName.GPU_48GB,
    ProfileName.GPU,
)


class Kind(NamedTuple):
    """Of GPUs: how its number begins, what it is, and the largest class that it can train in five minutes."""

    prefix: str
    name: str
    most: ProfileName = ProfileName.GPU


_OLD = "float32 and no compiler; torch's wheels for CUDA 12.8 and later have no kernels for it, those for 12.6 have"
_KINDS = (  # the first whose prefix fits
    Kind("8.0", "Ampere"),
    Kind("8.7", "Ampere, with the machine's memory", ProfileName.GPU_12GB),
    Kind("8.9", "Ada", ProfileName.GPU_48GB),
    Kind("8.", "Ampere", ProfileName.GPU_48GB),
    Kind("9.", "Hopper"),
    Kind("10.", "Blackwell"),
    Kind("11.", "Blackwell, with the machine's memory", ProfileName.GPU_12GB),
    Kind("12.1", "Blackwell, with the machine's memory", ProfileName.GPU_12GB),
    Kind("12.", "Blackwell", ProfileName.GPU_48GB),
    Kind("7.5", "Turing: float16, no flash attention", ProfileName.GPU_12GB),
    Kind("7.", "Volta: float16, no flash attention; torch's newest wheels may have no kernels", ProfileName.GPU_12GB),
    Kind("6.", f"Pascal: {_OLD}", ProfileName.GPU_4GB),
    Kind("5.", f"Maxwell: {_OLD}", ProfileName.GPU_4GB),
    Kind("gfx94", "CDNA 3"),
    Kind("gfx95", "CDNA 4"),
    Kind("gfx9", "CDNA or Vega", ProfileName.GPU_48GB),
    Kind("gfx115", "RDNA 3, with the machine's memory", ProfileName.GPU_12GB),
    Kind("gfx11", "RDNA 3", ProfileName.GPU_24GB),
    Kind("gfx12", "RDNA 4", ProfileName.GPU_24GB),
    Kind("gfx", "older than RDNA 3", ProfileName.GPU_8GB),
)


class Plan(NamedTuple):
    """What train.py does with a profile; `steps` is what the slowest usual card is computed to make in five minutes."""

    depth: int
    width: int
    steps: int
    needed_gb: float  # GiB of the GPU


PLANS: dict[str, Plan] = {
    ProfileName.GPU_4GB: Plan(4, 192, 1220, 2.8),
    ProfileName.GPU_8GB: Plan(5, 256, 1030, 4.7),
    ProfileName.GPU_12GB: Plan(6, 256, 1270, 8.6),
    ProfileName.GPU_16GB: Plan(6, 320, 760, 9.6),
    ProfileName.GPU_24GB: Plan(7, 320, 490, 10.2),
    ProfileName.GPU_48GB: Plan(8, 384, 690, 22.2),
    ProfileName.GPU_SMALL: Plan(6, 384, 650, 6.0),
    ProfileName.GPU: Plan(9, 512, 1260, 28.3),
    ProfileName.MPS_8GB: Plan(3, 128, 3450, 1.6),
    ProfileName.MPS_16GB: Plan(4, 128, 1510, 2.5),
    ProfileName.MPS: Plan(4, 256, 3890, 3.0),
}


def default_profile(hardware: Hardware, last: str = "", train: str = "") -> str:
    """The trainer's profile for this machine.

    Args:
        last: the profile of the study's incumbent. Scores of two profiles do not compare: a study keeps the one that it
            has, also one from the time when GPUs had two classes, while the machine is one that can have it.
        train: the text of train.py. One from that time knows only their two names.
    """
    chosen, former = _class_of(hardware), _former_class_of(hardware)
    if last in (chosen, former):
        return last
    if last in GPU_PROFILES and why_no_gpu(hardware):  # a night on a GPU does not go on without one unasked
        return last
    return (former if _names(train, former) and not _names(train, chosen) else chosen).value


def as_torch_sees_it(machine: Machine) -> Machine:
    """The machine, with the GPU that torch sees where the driver answers no question about it. Takes seconds there."""
    if machine.gpu_trouble in ("", HANGS) or machine.torch_build != "cuda":
        return machine
    with suppress(RunnerUnavailable):
        if (view := torch_view(ProfileName.GPU)).gpu:
            return machine.model_copy(update=view.model_dump(exclude={"problem", "slow"}))
    return machine


def why_no_gpu(hardware: Hardware) -> str:
    """Why no run uses a GPU that may be here; empty if there is none, or runs do."""
    if hardware.gpu is not None or not isinstance(hardware, Machine) or not hardware.gpu_trouble:
        return ""
    return f"the driver of the GPU has a problem: {hardware.gpu_trouble}"


def reason(machine: Machine, profile: str) -> str:
    """What an operator should know of the choice."""
    told = [kind.name] if (kind := _kind(machine)) else []
    if machine.gpu_slice:
        told.append("a part of a GPU (MIG)")
    if machine.gpus > 1:
        which = "CUDA_VISIBLE_DEVICES chooses another GPU; serve --slots auto runs one experiment on each"
        told.append(f"the first of {machine.gpus} GPUs that are visible: {which}")
    if machine.gpu_kind.startswith("gfx"):
        told.append("heat, power and other processes on it are unknown: only NVIDIA's driver reports them")
    if plan := PLANS.get(profile):
        told.append(f"depth {plan.depth}, width {plan.width}; about {plan.steps} steps in five minutes, by calculation")
    return "; ".join(told)


def trouble(machine: Machine, profile: str) -> str:
    """Why runs may fail on this GPU, and what to do; empty if nothing is known."""
    if machine.torch_build == "cpu":
        return "this torch is built for the CPU and sees no GPU: install a build for the GPU (pytorch.org)"
    plan, free = PLANS.get(profile), machine.gpu_free_gb
    if profile in GPU_PROFILES and plan and free is not None and free < plan.needed_gb:
        return (
            f"{free} GB are free, {plan.needed_gb} GB are needed: end the processes that hold the rest, or "
            "micro-batches are halved"
        )
    return ""


def _class_of(hardware: Hardware) -> ProfileName:
    if hardware.gpu is None:
        return _by(_BY_UNIFIED_MEMORY, hardware.memory_gb) if _has_metal(hardware) else ProfileName.CPU
    known = hardware.gpu_memory_gb
    fits = ProfileName.GPU if known is None else _by(_BY_MEMORY, known)
    kind, part = _kind(hardware), isinstance(hardware, Machine) and hardware.gpu_slice
    most = [kind.most if kind else ProfileName.GPU, ProfileName.GPU_48GB if part else ProfileName.GPU]
    return min(fits, *most, key=_ASCENDING.index)


def _former_class_of(hardware: Hardware) -> ProfileName:
    if hardware.gpu is None:
        return ProfileName.MPS if _has_metal(hardware) else ProfileName.CPU
    if isinstance(hardware, Machine) and (hardware.gpu_kind.startswith("gfx") or hardware.gpu_kind in UNIFIED):
        return ProfileName.CPU  # such a GPU was not seen
    known = hardware.gpu_memory_gb
    return ProfileName.GPU if known is None or known >= _FORMERLY_LARGE_GB else ProfileName.GPU_SMALL


def _names(train: str, profile: str) -> bool:
    return re.search(rf"""["']{profile}["']""", train) is not None


def _by(classes: tuple[tuple[float, ProfileName], ...], gigabytes: float) -> ProfileName:
    return next(name for least, name in classes if gigabytes >= least)


def _kind(hardware: Hardware) -> Kind | None:
    told = hardware.gpu_kind if isinstance(hardware, Machine) else ""
    return next((kind for kind in _KINDS if told and told.startswith(kind.prefix)), None)


def _has_metal(hardware: Hardware) -> bool:
    """Whether this is Apple's chip."""
    return hardware.platform.startswith(("macOS", "Darwin")) and hardware.cpu.startswith("arm")
