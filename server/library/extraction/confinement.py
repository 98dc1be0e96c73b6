"""A program of ours started in the confinement of the trainer: no network, no file but code, bounded in all it takes.

On Linux Landlock and a filter of system calls hold it, on macOS Seatbelt. A machine that has none of them still bounds
memory, CPU seconds and wall time.
"""

import json
import os
import selectors
import shlex
import site
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from trainer.contract import Entry

_PACKAGES = Path(__file__).resolve().parents[3]
_OURS = ("server", "trainer/__init__.py", "trainer/contract.py", "trainer/text.py")
_SYSTEM = (
    *("/bin", "/usr/bin", "/usr/local/bin", "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/usr/share/zoneinfo"),
    *("/nix/store", "/opt/homebrew", "/proc/self", "/proc/meminfo", "/proc/cpuinfo"),
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_START_SECONDS = 60.0  # for the guards; a tenth of one on an idle machine
_BLOCK = 1 << 16
_MOST_ERRORS = 1 << 14  # bytes
_NAMES = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TZ", "SYSTEMROOT")


class Ended(NamedTuple):
    """How a confined program has ended."""

    code: int | None  # negative: the signal; None: it was ended, as its time was up or it printed too much
    output: bytes
    errors: bytes
    guards: dict[str, str]  # `held`, or why not
    problem: str = ""  # `time` or `output`, where it was ended for that


def run_confined(program: Sequence[str], data: bytes, seconds: float, most_output: int, head: bytes = b"") -> Ended:
    """Run Python with these arguments, such as `-m` and a module, on these bytes, and wait for its end.

    Args:
        seconds: of the clock, from where the guards are on. most_output: bytes. head: what comes before the bytes,
            which may be many: they are not copied.

    Raises:
        OSError: nothing can be started.
    """
    told, theirs = socket.socketpair()
    with tempfile.TemporaryDirectory(prefix="autoresearch-") as folder, tempfile.TemporaryFile() as source, told:
        source.write(head)
        source.write(data)
        source.seek(0)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-S", "-P", "-B", "-m", Entry.CONFINED, str(theirs.fileno()), str(source.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder,
                env={**_environment(folder), "PYTHONPATH": str(_PACKAGES)},
                pass_fds=(theirs.fileno(), source.fileno()),
                start_new_session=True,
            )
        try:
            assert process.stdin is not None
            with suppress(BrokenPipeError), process.stdin as pipe:
                pipe.write(_order(program, folder))
            guards = _guards(told)
            return _listen(process, time.monotonic() + seconds, most_output)._replace(guards=guards)
        finally:
            _end(process)


def _order(program: Sequence[str], folder: str) -> bytes:
    """What trainer.confined reads: CommandOrder as JSON."""
    command = " ".join(map(shlex.quote, [sys.executable, "-P", "-B", *program]))
    allowed = {
        "readable": [str(path) for path in dict.fromkeys(_readable())],
        "listed": [str(_PACKAGES), str(_PACKAGES / "server"), str(_PACKAGES / "trainer")],
        "devices": list(_DEVICES),
        "writable": folder,
    }
    environment = {**_environment(folder), "PYTHONPATH": str(_PACKAGES), "PYTHONIOENCODING": "utf-8"}
    return json.dumps({"command": f"exec {command}", "environment": environment, "allowed": allowed}).encode()


def _readable() -> Iterator[Path]:
    """The interpreter, its packages, the system's libraries, and of ours the code that reads pages."""
    yield from (_PACKAGES / name for name in _OURS)
    yield from map(Path, _SYSTEM)
    known = sysconfig.get_paths()
    packages = [known[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    packages += [*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_config_var("LIBDIR") or ""]
    packages += [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    yield from (Path(name).resolve() for name in packages if name and Path(name).resolve() not in _PACKAGES.parents)
    for prefix in (sys.prefix, sys.base_prefix):
        yield from (Path(prefix) / name for name in ("bin", "lib", "lib64", "pyvenv.cfg"))
    yield Path(sys.executable)
    yield Path(sys.executable).resolve()


def _environment(folder: str) -> dict[str, str]:
    """Without the operator's keys, and with a home that is empty."""
    kept = {name: os.environ[name] for name in _NAMES if name in os.environ}
    return {**kept, "HOME": folder, "TMPDIR": folder, "PYTHONNOUSERSITE": "" if site.ENABLE_USER_SITE else "1"}


def _guards(told: socket.socket) -> dict[str, str]:
    """What trainer.confined reports before the program begins; nothing where it has died."""
    told.settimeout(_START_SECONDS)
    line = b""
    with suppress(OSError):
        while block := told.recv(_BLOCK):
            line += block
    with suppress(ValueError, KeyError):
        return dict(json.loads(line.partition(b"\n")[0])["guards"])
    return {}


def _listen(process: subprocess.Popen[bytes], deadline: float, most: int) -> Ended:
    assert process.stdout is not None and process.stderr is not None
    taken = {"output": bytearray(), "errors": bytearray()}
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, "output")
        selector.register(process.stderr, selectors.EVENT_READ, "errors")
        while selector.get_map():
            if (left := deadline - time.monotonic()) <= 0:
                return Ended(None, b"", bytes(taken["errors"]), {}, "time")
            for key, _ in selector.select(left):
                block = os.read(key.fd, _BLOCK)
                taken[key.data] += block
                if not block:
                    selector.unregister(key.fileobj)
            if len(taken["output"]) > most:
                return Ended(None, b"", b"", {}, "output")
            del taken["errors"][:-_MOST_ERRORS]
    with suppress(subprocess.TimeoutExpired):
        process.wait(max(0.1, deadline - time.monotonic()))
    return Ended(process.returncode, bytes(taken["output"]), bytes(taken["errors"]), {})


def _end(process: subprocess.Popen[bytes]) -> None:
    """Whatever it has started is in its session, and it can leave none: the group is the whole of it."""
    if process.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, 9)
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe:
            pipe.close()
