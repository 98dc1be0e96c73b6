"""A failure in one word: the same word for the same thing, whoever says it."""

import errno
import os
import signal

import pytest

from trainer.cause import kernel_kills, of_exception, of_exit


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ModuleNotFoundError("No module named 'flash_attn'"), "import_error"),
        (SyntaxError("invalid syntax"), "syntax_error"),
        (AssertionError("head width"), "assertion"),
        (MemoryError(), "oom"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "oom"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "cuda_oom"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "disk_full"),
        (SystemExit("the loss is not a number"), "nan"),
        (ValueError("shapes 3 and 4"), "exception"),
    ],
)
def test_an_exception_has_a_cause(error: BaseException, cause: str) -> None:
    assert of_exception(type(error).__name__, str(error)) == cause


def test_torchs_own_exception_is_known_by_its_name() -> None:
    assert of_exception("OutOfMemoryError", "HIP ran dry") == "cuda_oom"


def test_who_ended_a_process_is_told_apart() -> None:
    assert of_exit(-signal.SIGKILL, 1) == "kernel_oom"
    assert of_exit(-signal.SIGKILL, 0) == of_exit(-signal.SIGKILL, None) == "killed_from_outside"
    assert of_exit(-signal.SIGTERM, 0) == "killed_from_outside"
    assert of_exit(-signal.SIGSEGV, 0) == "signal"
    assert of_exit(3, 0) == "left_early"
    assert kernel_kills() is None or kernel_kills() == kernel_kills()
