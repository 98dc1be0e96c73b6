"""What kind of failure it was, in one word that can be counted: from an exception's lineage, or an exit code.

Words decide only where nothing else can: torch raises RuntimeError for most of what goes wrong below it.
"""

import errno
import signal
from collections.abc import Sequence
from pathlib import Path

_BY_TYPE = {
    "torch.OutOfMemoryError": "cuda_oom",
    "torch.cuda.OutOfMemoryError": "cuda_oom",
    "builtins.MemoryError": "oom",
    "builtins.ImportError": "import_error",
    "builtins.SyntaxError": "syntax_error",
    "builtins.AssertionError": "assertion",
    "builtins.FloatingPointError": "nan",
    "torch._inductor.exc.InvalidCxxCompiler": "no_compiler",
    "torch._inductor.exc.CppCompileError": "no_compiler",
    "subprocess.CalledProcessError": "no_compiler",  # how Triton tells of it
}
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, this user's share of it, or the size of one file
BROKEN = (errno.EIO, errno.EROFS, errno.ESTALE, errno.ENODEV, errno.ENXIO)  # what a disk answers that fails
_BY_NUMBER = {**dict.fromkeys(FULL, "disk_full"), errno.ENOMEM: "oom"}  # of an OSError
_BY_WORDS = (  # of a RuntimeError, in lower case; the first that is found counts
    ("cuda out of memory", "cuda_oom"),
    ("cuda error: out of memory", "cuda_oom"),
    ("_status_alloc_failed", "cuda_oom"),  # cuBLAS and cuDNN
    ("out of memory", "oom"),
    ("can't allocate memory", "oom"),
    ("no space left on device", "disk_full"),
    ("disk quota exceeded", "disk_full"),
    ("file too large", "disk_full"),
    # Of no GPU only where the machine says so as well (trainer.run.compiler): one may be lost in the middle of a run.
    ("no cuda-capable device", "no_device"),
    ("device(s) is/are busy or unavailable", "no_device"),
    ("system not yet initialized", "no_device"),
    ("uncorrectable ecc error", "no_device"),
    ("gpu is lost", "no_device"),
    ("cuda error: unknown error", "no_device"),
    ("hip error: no rocm-capable device", "no_device"),
    # Of no compiler only where the machine says so as well (trainer.run.compiler).
    ("invalidcxxcompiler", "no_compiler"),
    ("no working c++ compiler", "no_compiler"),
    ("failed to find c compiler", "no_compiler"),
    ("c++ compile error", "no_compiler"),
    ("calledprocesserror: command", "no_compiler"),
    ("python.h: no such file", "no_compiler"),
    ("error building extension", "no_compiler"),
)
STARVED = {"cuda_oom", "oom", "kernel_oom"}
_GROUPS = Path("/sys/fs/cgroup")
_OURS = Path("/proc/self/cgroup")


def lineage(error: BaseException) -> list[str]:
    """The full names of its class and of all that this is derived from, nearest first."""
    return [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__]


def of_exception(names: Sequence[str], number: int | None, message: str) -> str:
    """The cause behind an exception; `exception` if it is none of the known ones.

    Args:
        names: its lineage. number: its errno, of an OSError.
    """
    if "builtins.OSError" in names and number in _BY_NUMBER:
        return _BY_NUMBER[number]
    if found := next((_BY_TYPE[name] for name in names if name in _BY_TYPE), ""):
        return found
    words = message.lower() if "builtins.RuntimeError" in names else ""
    return next((cause for part, cause in _BY_WORDS if part in words), "exception")


def of_error(error: BaseException) -> str:
    """The cause behind an exception of our own."""
    return of_exception(lineage(error), getattr(error, "errno", None), str(error))


def of_exit(code: int | None, kernel_kills: int | None) -> str:
    """The cause behind an exit code, negative for a signal, of a process that we did not end.

    Args:
        kernel_kills: how many processes the kernel has ended for lack of memory meanwhile; None where it does not tell.
    """
    if code is None or code >= 0:
        return "left_early"
    if code != -signal.SIGKILL:
        return "killed_from_outside" if code in (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP) else "signal"
    return "kernel_oom" if kernel_kills else "killed_from_outside"


def kernel_kills(groups: Path = _GROUPS, ours: Path = _OURS) -> int | None:
    """How many processes the kernel has ended for lack of memory so far (Linux; elsewhere None).

    Of our own control group where that is counted: /proc/vmstat counts for the whole machine.
    """
    for file in (*_counts(groups, ours), Path("/proc/vmstat")):
        try:
            lines = file.read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        if (count := next((line for line in lines if line.startswith("oom_kill ")), None)) is not None:
            return int(count.split()[1])
    return None


def _counts(groups: Path, ours: Path) -> list[Path]:
    """Where our control group counts, in version 2 and 1: at its path, or at the top as a container may see it."""
    try:
        lines = ours.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found: list[Path] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        own = path.lstrip("/")
        if not controllers:
            found += [groups / own / "memory.events.local", groups / own / "memory.events"]
        elif "memory" in controllers.split(","):
            found += [groups / "memory" / folder / "memory.oom_control" for folder in (own, "")]
    return found
