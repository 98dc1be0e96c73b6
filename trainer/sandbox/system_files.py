"""Which of the system's files train.py's process needs: libraries, a compiler, facts about processors.

All else below /usr, /proc and /sys stays out of reach: what can be read can also carry bits to a later process, by
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
_COMPILERS = (
    "lib/gcc",
    "lib64/gcc",
    "libexec/gcc",
    "include",
    "lib/clang",
    "lib64/clang",
    "lib/llvm*",
    "lib/compat-ld",
)
_PROGRAMS = (
    *("sh", "bash", "dash", "env", "uname", "ldconfig", "getconf", "nproc", "lscpu", "hostname", "which", "tr"),
    *("cat", "cp", "mv", "rm", "ls", "ln", "mkdir", "echo", "true", "false", "sleep", "date", "head", "tail", "sed"),
    *("grep", "sort", "wc", "basename", "dirname", "touch", "test", "yes", "timeout", "python3*", "make", "ninja"),
    *("gcc*", "g++*", "cc", "c++", "c89*", "c99*", "cpp*", "clang*", "ccache", "as", "ld", "ld.*", "lld*", "gold"),
    *("ar", "nm", "ranlib", "strip", "objdump", "objcopy", "readelf", "lto*", "nvidia-smi", "rocm*", "ptxas", "nvcc*"),
)
_FILES = (
    "/bin/sh",
    "/sbin/ldconfig",
    "/sbin/ldconfig.real",
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
    beside = (folder / name for folder, name in product(folders, _BESIDE))
    compilers = chain.from_iterable(prefix.glob(name) for prefix, name in product(PREFIXES, _COMPILERS))
    found = [*_matching(_FILES), *_named(folders, _BINARIES), *filter(Path.is_dir, beside), *compilers, *_programs()]
    return (*found, *_matching(_ON_GPU * gpu))


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
    return {*library_folders(), *PREFIXES, *(prefix / "bin" for prefix in PREFIXES), Path("/bin")}


def _programs() -> Iterator[Path]:
    """What a build runs, by the names on the PATH; a compiler's may begin with the machine's."""
    folders = {Path(name) for name in os.environ.get("PATH", os.defpath).split(os.pathsep) if name.startswith("/")}
    yield from _named({folder.resolve() for folder in folders}, (*_PROGRAMS, *[f"{_MULTIARCH}-*"] * bool(_MULTIARCH)))
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
