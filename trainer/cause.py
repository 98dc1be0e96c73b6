"""What kind of failure it was, in one word that can be counted: from an exception's type and words, or an exit code."""

import signal
from pathlib import Path

_BY_TYPE = {
    "OutOfMemoryError": "cuda_oom",
    "MemoryError": "oom",
    "ModuleNotFoundError": "import_error",
    "ImportError": "import_error",
    "SyntaxError": "syntax_error",
    "IndentationError": "syntax_error",
    "TabError": "syntax_error",
    "AssertionError": "assertion",
    "FloatingPointError": "nan",
}
_BY_WORDS = (  # in lower case; the first that is found counts
    ("cuda out of memory", "cuda_oom"),
    ("out of memory", "oom"),
    ("can't allocate memory", "oom"),
    ("no space left on device", "disk_full"),
    ("is not a number", "nan"),
    ("is nan", "nan"),
)
STARVED = {"cuda_oom", "oom", "kernel_oom"}


def of_exception(kind: str, message: str) -> str:
    """The cause behind an exception; `exception` if it is none of the known ones."""
    words = message.lower()
    found = next((cause for part, cause in _BY_WORDS if part in words), None)
    return _BY_TYPE.get(kind) or found or "exception"


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


def kernel_kills() -> int | None:
    """How many processes the kernel has ended for lack of memory since it started (Linux; elsewhere None)."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)
