"""A failure in one word: the same word for the same thing, whoever says it."""

import errno
import os
import signal
from pathlib import Path

import pytest

from trainer.run.failure_cause import kernel_kills, of_error, of_exception, of_exit


class TooLong(MemoryError):
    """As numpy's own."""


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ModuleNotFoundError("No module named 'flash_attn'"), "import_error"),
        (IndentationError("unexpected indent"), "syntax_error"),
        (AssertionError("loss is nan"), "assertion"),
        (MemoryError(), "oom"),
        (TooLong(), "oom"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "oom"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "oom"),
        (RuntimeError("CUDA error: no CUDA-capable device is detected"), "no_device"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "cuda_oom"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "cuda_oom"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "disk_full"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), "disk_full"),
        (OSError(errno.EFBIG, os.strerror(errno.EFBIG)), "disk_full"),
        (RuntimeError("[enforce fail at inline_container.cc] write failed: Disk quota exceeded"), "disk_full"),
        (PermissionError(errno.EACCES, "no space left on device"), "exception"),
        (FloatingPointError("overflow"), "nan"),
        (SystemExit("the loss is not a number"), "exception"),
        (ValueError("CUDA out of memory"), "exception"),
        (RuntimeError("the unit is nanoseconds"), "exception"),
        (ValueError("shapes 3 and 4"), "exception"),
    ],
)
def test_an_exception_has_a_cause(error: BaseException, cause: str) -> None:
    assert of_error(error) == cause


def test_torchs_own_exception_is_known_by_its_full_name() -> None:
    assert of_exception(["__main__.Mine", "torch.OutOfMemoryError"], None, "HIP ran dry") == "cuda_oom"
    assert of_exception(["__main__.OutOfMemoryError", "builtins.Exception"], None, "") == "exception"


def test_a_compile_that_fails_is_asked_of_the_machine() -> None:
    wrapped = ["torch._inductor.exc.InductorError", "builtins.RuntimeError", "builtins.Exception"]
    for message in ("InvalidCxxCompiler: No working C++ compiler found in torch", "CppCompileError: C++ compile error"):
        assert of_exception(wrapped, None, message) == "no_compiler"
    assert of_exception(["builtins.RuntimeError"], None, "Failed to find C compiler. Please specify") == "no_compiler"
    assert of_exception(["subprocess.CalledProcessError"], None, "") == "no_compiler"


def test_who_ended_a_process_is_told_apart() -> None:
    assert of_exit(-signal.SIGKILL, 1) == "kernel_oom"
    assert of_exit(-signal.SIGKILL, 0) == of_exit(-signal.SIGKILL, None) == "killed_from_outside"
    assert of_exit(-signal.SIGTERM, 0) == "killed_from_outside"
    assert of_exit(-signal.SIGSEGV, 0) == "signal"
    assert of_exit(3, 0) == "left_early"


@pytest.mark.parametrize(
    ("ours", "file", "words"),
    [
        ("0::/a night\n", "a night/memory.events.local", "low 0\noom 2\noom_kill 7\noom_group_kill 0\n"),
        ("8:pids:/\n4:memory:/box\n0::/\n", "memory/box/memory.oom_control", "under_oom 0\noom_kill 7\n"),
        ("4:memory:/not/seen/here\n", "memory/memory.oom_control", "oom_kill_disable 0\noom_kill 7\n"),
    ],
)
def test_the_control_groups_own_count_comes_before_the_machines(
    tmp_path: Path, ours: str, file: str, words: str
) -> None:
    (tmp_path / "ours").write_text(ours, encoding="utf-8")
    machine = kernel_kills(tmp_path, tmp_path / "ours")
    assert machine is None or machine == kernel_kills(tmp_path, tmp_path / "nothing")
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(words, encoding="ascii")
    assert kernel_kills(tmp_path, tmp_path / "ours") == 7
