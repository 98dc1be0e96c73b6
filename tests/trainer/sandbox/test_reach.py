"""What is left in reach of train.py's process, and what reading leaves behind."""

import ast
import ctypes
import errno
import json
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.polling import until
from trainer.contract import Spec
from trainer.evaluators.file_traces import FileTraces
from trainer.run.child_launch import Launcher
from trainer.run.run_folder import RunFolder
from trainer.sandbox import allowlist, landlock, lookups, seccomp, system_files, traces
from trainer.sandbox.allowlist import PACKAGES, SESSION, build_allowlist, on_own_gpu
from trainer.sandbox.reach import Allowlist
from trainer.sandbox.traces import Traces

linux = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux's")
confining = pytest.mark.skipif(landlock.abi() < 1, reason="this kernel has no Landlock")

# Confined, it tries each file of argv and prints a JSON object: file, or call, and the errno or 0.
PROBE = """
import ctypes, errno, json, mmap, os, subprocess, sys
from pathlib import Path
from trainer.sandbox.allowlist import build_allowlist
from trainer.sandbox.guards import confine
nowhere = Path("/nonexistent")
confine(build_allowlist(nowhere, nowhere, nowhere, [], gpu=False))
found = {}
for name in sys.argv[1:]:
    try:
        os.close(os.open(name, os.O_RDONLY))
        found[name] = 0
    except OSError as error:
        found[name] = error.errno
libc = ctypes.CDLL(None, use_errno=True)
page = mmap.mmap(-1, mmap.PAGESIZE)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
for advice in (4, 20, 21):
    found[f"madvise {advice}"] = libc.madvise(ctypes.c_void_p(address), mmap.PAGESIZE, advice) and ctypes.get_errno()
for call, arguments in (("klogctl", (10, None, 0)), ("inotify_init1", (0,)), ("getpid", ())):
    ctypes.set_errno(0)
    found[call] = getattr(libc, call)(*arguments) < 0 and ctypes.get_errno()
told = subprocess.run("cat /proc/cpuinfo | wc -l", shell=True, capture_output=True, check=True).stdout
found["shell"] = 0 if int(told) else 1
print(json.dumps(found))
"""


def probe(*files: str) -> dict[str, int]:
    """The errno of opening each of `files` to read, and of some calls; 0: it went well."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PACKAGES)}
    command = [sys.executable, "-P", "-B", "-c", PROBE, *files]
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@linux
@confining
def test_only_code_and_facts_about_the_machine_are_in_reach() -> None:
    """Of /proc the process's own folder; of the trainer's code what Session needs."""
    code = [str(PACKAGES / "trainer" / name) for name in ("session.py", "evaluators/audit.py", "launch.py")]
    others = [f"/proc/{os.getpid()}/{name}" for name in ("cmdline", "stat", "status")]
    counters = ["/proc/stat", "/proc/loadavg", "/proc/vmstat", "/proc/locks", "/proc/uptime"]
    found = probe("/proc/self/maps", "/proc/cpuinfo", "/etc/ld.so.cache", "/usr/share", *code, *others, *counters)
    reached = {name for name, answer in found.items() if name.startswith("/") and not answer}
    assert reached == {"/proc/self/maps", "/proc/cpuinfo", "/etc/ld.so.cache", code[0]}
    assert found["shell"] == 0  # a child lists its descriptors and runs programs
    assert (found["madvise 4"], found["getpid"]) == (0, 0)
    assert found["madvise 20"] and found["madvise 21"] and found["klogctl"] and found["inotify_init1"]


def test_of_the_trainer_those_modules_are_in_reach_that_session_imports() -> None:
    imported = {"trainer.session"}
    for file in SESSION:
        for node in ast.walk(ast.parse((PACKAGES / "trainer" / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("trainer."):
                imported.add(node.module or "")
    files = {f"{name.removeprefix('trainer.').replace('.', '/')}.py" for name in imported}
    packages = {f"{Path(file).parent}/__init__.py".removeprefix("./") for file in files}
    assert set(SESSION) == files | packages


@linux
def test_the_reach_is_a_part_of_usr_and_has_what_a_compiler_needs() -> None:
    nowhere = Path("/nonexistent")
    readable = set(build_allowlist(nowhere, nowhere, nowhere, [], gpu=False).readable)
    shared = {Path("/"), Path("/usr"), Path("/usr/share"), Path("/usr/lib"), Path("/proc"), Path("/sys")}
    assert not readable & (shared | system_files.library_folders())
    assert {Path("/etc/ld.so.cache"), Path("/proc/self")} <= readable
    if Path("/usr/include").is_dir():
        assert Path("/usr/include") in readable


def test_a_run_in_a_slot_reaches_its_own_gpu_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "dri").mkdir()
    (tmp_path / "nvidia-caps").mkdir()
    own, shared = ["nvidiactl", "nvidia-uvm", "nvidia1", "nvidia-caps/nvidia-cap30"], ["null", "dxg"]
    others = ["nvidia0", "nvidia11", "nvidia-uvm-tools", "nvidia-modeset", "dri/renderD128", "kfd"]
    for name in (*own, *shared, *others, "nvidia-caps/nvidia-cap31"):
        (tmp_path / name).touch()
    every = [tmp_path / name for name in (*shared, *own[:3], *others, "nvidia-caps")]
    allowed = Allowlist([], [], every, tmp_path)
    found = on_own_gpu(allowed, [*own, "nvidia-not-there"], tmp_path)
    assert set(found.devices) == {tmp_path / name for name in (*own, *shared)}
    assert on_own_gpu(allowed, [], tmp_path) == allowed, "what the driver does not number stays as it was"


def resident(file: Path) -> int:
    """How many pages of a file of ours are in memory."""
    with (
        file.open("rb") as opened,
        mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE) as memory,
    ):
        pages = ctypes.create_string_buffer(-(-len(memory) // mmap.PAGESIZE))
        libc = ctypes.CDLL(None)
        libc.mmap.restype = ctypes.c_void_p
        at = libc.mmap(
            None, ctypes.c_size_t(len(memory)), mmap.PROT_READ, mmap.MAP_PRIVATE, opened.fileno(), ctypes.c_long(0)
        )
        assert libc.mincore(ctypes.c_void_p(at), ctypes.c_size_t(len(memory)), pages) == 0
        libc.munmap(ctypes.c_void_p(at), ctypes.c_size_t(len(memory)))
    return sum(state & 1 for state in pages.raw)


def evict(file: Path) -> None:
    """Put all of a file out of memory."""
    descriptor = os.open(file, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


@linux
def test_names_are_resolved_as_the_system_does(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "way").symlink_to("folder")
    (tmp_path / "folder" / "file").touch()
    links = {"next": "file", "far": "../way/next", "whole": str(tmp_path / "way"), "up": "..", "lost": "gone"}
    links |= {"self": "self", "second": "next", "here": "."}
    for name, target in links.items():
        (tmp_path / "folder" / name).symlink_to(target)
    names = [tmp_path / above / name for above in ("folder", "way", "folder/..") for name in ("file", *links, "no")]
    found = [allowlist._resolved([name]) for name in names]  # pyright: ignore[reportPrivateUsage]
    assert found == [{Path(os.path.realpath(name))} for name in names]
    assert allowlist._resolved([Path("/")]) == {Path("/")}  # pyright: ignore[reportPrivateUsage]


def test_a_page_that_was_read_looks_like_one_that_was_not(tmp_path: Path) -> None:
    code, data, run = tmp_path / "code", tmp_path / "data", tmp_path / "run"
    for folder in (code, data, run):
        folder.mkdir()
    file = code / "module.py"
    file.write_bytes(bytes(64 * mmap.PAGESIZE))
    evict(file)
    if resident(file):
        pytest.skip("files are in memory alone here")
    assert Traces([code], run, data).erase() == ""
    assert resident(file) == 64
    evict(file)
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as memory:
        memory.madvise(mmap.MADV_RANDOM)
        assert memory[10 * mmap.PAGESIZE] == 0  # from the disk: the kernel counts it
    assert 0 < resident(file) < 64
    assert Traces([code], run, data).erase() == ""
    assert resident(file) == 64


@pytest.mark.thorough  # it lists all that train.py may read
@linux
def test_the_file_of_training_tokens_leaves_no_trace_either(tmp_path: Path) -> None:
    tokens, run = tmp_path / "train.bin", tmp_path / "run"
    run.mkdir()
    tokens.write_bytes(bytes(64 * mmap.PAGESIZE))
    evict(tokens)
    if resident(tokens):
        pytest.skip("files are in memory alone here")
    spec = Spec(1, "smoke", 42, 1.0, 1.0, 60.0, 60.0, str(tmp_path / "data"), "", str(run))
    launcher = Launcher(run, "a cookie", {}, forks=False, given=b"nothing")
    assert FileTraces(RunFolder(run), spec, launcher, tokens).erase(lambda: None) == {}
    assert resident(tokens) == 64


@linux
def test_sets_of_files_that_take_turns_are_brought_in_once_and_nobody_waits_for_it(tmp_path: Path) -> None:
    if traces._counters() is None:  # pyright: ignore[reportPrivateUsage]
        pytest.skip("here are files without a disk: they are brought in each time")
    data, run, sets = tmp_path / "data", tmp_path / "run", (tmp_path / "one", tmp_path / "other")
    for folder in (data, run, *sets):
        folder.mkdir()
    for folder in sets:
        (folder / "module.py").write_text("x = 1\n", encoding="utf-8")
    (data / "traces.json").write_text(json.dumps({"key": "of an earlier version", "counters": []}), encoding="utf-8")

    def looks() -> int:
        found: list[Path] = []
        for folder in sets:
            assert Traces([folder], run, data).erase(lambda: found.append(data)) == ""
        return len(found)

    assert looks() == 2
    until(lambda: looks() == 0)  # unless something else on the machine was read from a disk meanwhile

    def cancelled() -> None:
        raise KeyboardInterrupt

    (data / "traces.json").write_text("[]", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        Traces([sets[0]], run, data).erase(cancelled)


@linux
def test_no_time_of_access_is_so_old_that_a_read_would_renew_it(tmp_path: Path) -> None:
    code, data, run = tmp_path / "code", tmp_path / "data", tmp_path / "run"
    for folder in (code, data, run):
        folder.mkdir()
    old, fresh = code / "old.py", run / "train.py"
    for file in (old, fresh):
        file.write_text("x = 1\n", encoding="utf-8")
    now = time.time()
    os.utime(old, (now - 23 * 3600, now - 50 * 3600))  # read long ago, and again in an hour it would show
    assert Traces([code, fresh], run, data).erase() == ""
    assert old.stat().st_atime > now - 3600 and old.stat().st_mtime == pytest.approx(now - 50 * 3600)
    before = [file.stat().st_atime_ns for file in (old, fresh)]
    for file in (old, fresh):
        file.read_bytes()
    strict = not (os.statvfs(tmp_path).f_flag & (os.ST_RELATIME | os.ST_NOATIME))
    assert strict or [file.stat().st_atime_ns for file in (old, fresh)] == before


# It puts the second filter on as train.py's process does, with a thread beside it, and tries what that forbids.
CLOSED = """
import ctypes, json, os, socket, sys, threading
from pathlib import Path
from trainer.contract import CLOSE_VARIABLE
from trainer.sandbox import lookups
from trainer.sandbox.allowlist import build_allowlist
from trainer.sandbox.guards import confine
nowhere = Path("/nonexistent")
guards = confine(build_allowlist(nowhere, nowhere, nowhere, [], gpu=False))
call, address = map(int, os.environ[CLOSE_VARIABLE].split())
libc = ctypes.CDLL(None, use_errno=True)
at, size = ctypes.c_void_p(address), ctypes.c_size_t(4096)
before = lookups.filters(os.getpid())
wrong = [
    libc.munmap(at, size), libc.mprotect(at, size, 3), libc.madvise(at, size, 4), libc.prctl(22, 2, at),
    libc.prctl(36, 1, 0, 0, 0), libc.syscall(call, 1, 0, at), libc.syscall(call, 1, 1, ctypes.c_void_p(address + 8)),
]
status = os.open("/proc/self/status", os.O_RDONLY)
image, end = lookups.image(os.getpid()), threading.Event()
found = []
worker = threading.Thread(target=lambda: end.wait() and look())


def look():
    for use in (os.stat, os.lstat, os.readlink, os.listdir, os.chdir, os.statvfs, os.unlink, open, os.mkdir):
        try:
            use("/etc/passwd")
        except OSError as error:
            found.append(error.errno)
    for number in (0, os.getpid()):
        try:
            os.kill(number, 0)
        except OSError as error:
            found.append(error.errno)
    try:
        socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b"x", "/nowhere")
    except OSError as error:
        found.append(error.errno)


worker.start()
done = libc.syscall(call, 1, 1, at)
look()
end.set()
worker.join()
one, other = socket.socketpair()
one.send(b"x")
after = [int(line.split()[1]) for line in os.read(status, 1 << 16).decode().splitlines() if "Seccomp_filters" in line]
print(json.dumps([guards, before, after[0], wrong, done, found, other.recv(1).decode(), image]))
"""


@linux
@pytest.mark.skipif(landlock.abi() < 6, reason="guards are not held before Linux 6.12, nor sealed memory before 6.10")
def test_a_process_that_is_closed_names_no_file_in_any_thread_and_had_no_other_way() -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PACKAGES)}
    command = [sys.executable, "-P", "-B", "-c", CLOSED]
    told = subprocess.run(command, env=environment, cwd="/", capture_output=True, check=False)
    assert told.returncode == 0, told.stderr
    guards, before, after, wrong, done, found, sent, image = json.loads(told.stdout)
    assert set(guards.values()) == {"held"}
    assert wrong == [-1] * len(wrong) and done == 0
    assert after == before + 1 and sent == "x" and len(image) == 3
    assert found == [errno.EACCES] * 24  # twelve ways, in two threads


@linux
def test_the_second_filter_names_each_call_once() -> None:
    for column, architecture in seccomp.MACHINES.values():
        numbers = [number for pair in lookups.TABLES[0].values() if (number := pair[column]) is not None]
        assert len(numbers) == len(set(numbers))
        program = lookups.program(column, architecture)
        jumps = [(at, *program[8 * at + 2 : 8 * at + 4]) for at in range(len(program) // 8 - 1)]
        assert all(at + 1 + max(yes, no) < len(program) // 8 for at, yes, no in jumps)


# In a process of its own: what it has orphaned would be ended.
STOPPING = """
import os, subprocess, sys, time
import psutil
from trainer.processes.process_tree import stop_descendants, used
mine, other = "import os, time; os.fork(); [time.sleep(0.01) for _ in range(6000)]", "while True: pass"
main = subprocess.Popen([sys.executable, "-c", mine], env={"AUTORESEARCH_RUN": "x"})
busy = subprocess.Popen([sys.executable, "-c", other])
while not (children := psutil.Process(main.pid).children()):
    time.sleep(0.01)
stopped = stop_descendants("x", main.pid, frozenset({busy.pid}))
assert set(stopped) == {children[0].pid} and children[0].status() == psutil.STATUS_STOPPED, stopped
assert psutil.Process(busy.pid).status() != psutil.STATUS_STOPPED and used(stopped) == stopped
children[0].resume()
until = time.monotonic() + 60
while used(stopped) == stopped:
    assert time.monotonic() < until
for process in (children[0], main, busy):
    process.kill()
"""


@linux
def test_stopped_processes_are_seen_when_they_work_on() -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PACKAGES)}
    command = [sys.executable, "-P", "-B", "-c", STOPPING]
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
