"""Which of the system's files train.py's process needs: libraries, a compiler, facts about processors.

Most else below /usr, /proc and /sys stays out of reach: what can be read can also carry bits to a later process, by
whether it is in memory and by when it was read last.
"""

import os
import re
import shlex
import shutil
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fnmatch import translate
from functools import cache
from itertools import chain, product
from pathlib import Path

PREFIXES = (Path("/usr"), Path("/usr/local"))  # shared by everything that is installed
_MULTIARCH = sysconfig.get_config_var("MULTIARCH") or ""
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64")
_BINARIES = ("*.so", "*.so.*", "*.a", "*.o", "*.spec")  # in these folders themselves
_BESIDE = ("gconv", "ossl-modules", "ldscripts", "bfd-plugins", "nvidia")  # below the folders of libraries, whole
_PARTS = (  # below each of PREFIXES, for a compiler
    "lib/gcc",
    "lib64/gcc",
    "libexec/gcc",
    "include",
    "lib/clang",
    "lib64/clang",
    "lib/llvm*",
    "lib/compat-ld",
)
# Whole: what a build runs is found out when it runs (torch's asks openssl for a checksum).
_PROGRAMS = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")
_FILES = (
    "/usr/lib/locale",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/group",
    "/nix/store",
    "/opt/homebrew",
)
_ON_GPU = ("/usr/local/cuda*", "/opt/cuda", "/opt/rocm*", "/usr/lib/wsl", "/usr/share/nvidia", "/usr/share/libdrm")
_GPU_FACTS = (
    *("/proc/driver/nvidia*", "/proc/devices", "/proc/modules", "/proc/sys/kernel/random/boot_id"),
    *("/sys/bus/pci", "/sys/devices/pci*", "/sys/devices/virtual/kfd", "/sys/devices/system/node"),
    *("/sys/class/drm", "/sys/class/kfd", "/sys/class/nvidia*", "/sys/module/nvidia*", "/sys/module/amdgpu"),
)
# The process's own folder, and what does not change with what processes do; the amounts of memory are in sysinfo(2).
_FACTS = (
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/version", "/proc/filesystems"),
    *("/proc/sys/vm/overcommit_memory", "/proc/sys/vm/max_map_count", "/proc/sys/kernel/osrelease"),
    *(f"/sys/devices/system/cpu/{name}" for name in ("online", "possible", "present", "kernel_max")),
    *(f"/sys/devices/system/cpu/cpu[0-9]*/{name}" for name in ("topology", "cache", "regs")),
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_*_freq",
    *(f"/sys/devices/system/node/{name}" for name in ("online", "possible", "has_cpu")),
    *(f"/sys/devices/system/node/node[0-9]*/{name}" for name in ("cpulist", "cpumap", "distance")),
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size",
)


@cache
def needed(gpu: bool) -> tuple[Path, ...]:
    """Files, and folders with all that is below them. Of the kernel's own there are `facts`."""
    folders = library_folders()
    beside = filter(Path.is_dir, (folder / name for folder, name in product(folders, _BESIDE)))
    parts = chain.from_iterable(prefix.glob(name) for prefix, name in product(PREFIXES, _PARTS))
    whole = _matching(_FILES + _PROGRAMS + _ON_GPU * gpu)
    return (*whole, *_named(folders, _BINARIES), *beside, *parts, *_compilers())


def facts(gpu: bool) -> Iterator[Path]:
    """What the kernel tells in files of its own: of this process alone, and of the machine."""
    yield from _matching(_FACTS + _GPU_FACTS * gpu)


def library_folders() -> set[Path]:
    """Where the linker looks."""
    named = [*_LIBRARIES, *(f"{folder}/{_MULTIARCH}" for folder in _LIBRARIES if _MULTIARCH)]
    for file in (Path("/etc/ld.so.conf"), *Path("/etc/ld.so.conf.d").glob("*.conf")):
        with suppress(OSError):
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            named += [line.strip() for line in lines if line.startswith("/")]
    found = {Path(name).resolve() for name in named}
    return {folder for folder in found if folder.is_dir()}


def shared_folders() -> set[Path]:
    """Folders that hold far more than an interpreter, also where they are its own or on a path of libraries."""
    return {*library_folders(), *PREFIXES}


def _compilers() -> Iterator[Path]:
    """What CC and CXX name, wherever it is."""
    for told in filter(None, map(os.environ.get, ("CC", "CXX"))):
        with suppress(ValueError):  # a quote that is not closed
            yield from (Path(found) for word in shlex.split(told) if (found := shutil.which(word)))


def _named(folders: Iterable[Path], patterns: Iterable[str]) -> Iterator[Path]:
    """What is in these folders under such a name."""
    wanted = re.compile("|".join(map(translate, patterns)))
    for folder in folders:
        with suppress(OSError):  # it is not there, or not ours to see
            yield from (folder / name for name in os.listdir(folder) if wanted.match(name))


def _matching(patterns: Iterable[str]) -> Iterator[Path]:
    for pattern in patterns:
        yield from Path("/").glob(pattern[1:])
