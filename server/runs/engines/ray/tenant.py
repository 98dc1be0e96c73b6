"""A run's tenant on a node of a Ray cluster: it lays the run's folder out, ties the run to itself, and shows its files.

The class travels to the node by value, as an actor: standard library alone, and nothing of ours. Our own code comes
after it, as bytes. It decides nothing: clock, kill and result are the supervisor's, start and end the seat's.
"""

import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from compileall import compile_dir
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

from trainer.contract import Entry, RunFile

HOME_VARIABLE = "AUTORESEARCH_NODE_HOME"  # where a node keeps what is ours; default: ~/.cache/autoresearch/node
# Plain words: what travels by value must need nothing of ours on the node.
_JOB = str(RunFile.JOB)
_LEASE = str(RunFile.LEASE)
_CANCEL = str(RunFile.CANCEL)
_MODULES = str(RunFile.MODULES)
_TETHER = str(Entry.TETHER)
LAST = (str(RunFile.RESULT), str(RunFile.GONE))  # their presence means that the run is over
WHOLE = (*map(str, (RunFile.PROGRESS, RunFile.BEAT, RunFile.STARTED, RunFile.SIGNATURE)), *LAST)  # replaced whole
GROWING = tuple(map(str, (RunFile.SUPERVISOR_LOG, RunFile.LOG, RunFile.CURVE)))
_MOST = 1 << 20  # bytes of a growing file in one answer
# Without a word from a server: then a tenant whose run is over, or has not begun, gives its slot back.
_IDLE_SECONDS = 120.0
_TOLD_SECONDS = 5.0  # the same once somebody has been given the ending
_KEPT_SECONDS = 14 * 86400.0  # for which what nobody has fetched stays on the disk
_PAUSE = 0.05
_HERE = "@/"  # how paths begin that are below the node's home


def node_home() -> Path:
    """Where this node keeps what is ours."""
    return Path(os.environ.get(HOME_VARIABLE) or Path.home() / ".cache" / "autoresearch" / "node")


class Tenant:
    """One run on this node, and then another."""

    def __init__(self, name: str, leaves: bool = True) -> None:
        """`leaves`: end this process, an actor's worker, once nobody has asked for anything for a while."""
        self.home = node_home()
        self.folder = self.home / "runs" / name
        self._tether, self._told = -1, False  # told: somebody was given the run's ending
        self._heard, self._leaving = time.monotonic(), threading.Lock()
        for old in (self.home / "runs").glob("*/*"):
            if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
        if leaves:
            threading.Thread(target=self._leave_when_idle, daemon=True).start()

    def hello(self) -> dict[str, Any]:
        """Where this is."""
        self._heard = time.monotonic()
        context: Any = import_module("ray").get_runtime_context()
        return {"node": context.get_node_id(), "host": os.uname().nodename, "begun": self._begun()}

    def take(self, name: str) -> dict[str, Any]:
        """Have this run from here on: the one before is over, and its files have been fetched. Returns `hello`."""
        with self._leaving:
            folder = self.home / "runs" / name
            if folder != self.folder:
                old, self.folder, self._tether, self._told = self._tether, folder, -1, False
                if old >= 0:
                    os.close(old)
            return self.hello()

    def install(self, code: bytes, digest: str) -> None:
        """Unpack our own code, once for each version of it. Raises OSError."""
        self._heard = time.monotonic()
        install(self.home, code, digest)

    def claim_data(self, digest: str) -> str:
        """Whether the node has this data set, or who brings it: `have`, `bring` or `wait`. Raises OSError."""
        self._heard = time.monotonic()
        place = self.home / "data" / digest
        if place.exists():
            return "have"
        place.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(f"{place}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            return "wait"
        if place.exists():
            os.close(self._lock)
            return "have"
        shutil.rmtree(f"{place}.part", ignore_errors=True)
        Path(f"{place}.part").mkdir()
        return "bring"

    def receive(self, digest: str, name: str, part: bytes) -> None:
        """Add a part to a file of the data set. Raises OSError."""
        self._heard = time.monotonic()
        path = self.home / "data" / f"{digest}.part" / name
        with path.open("ab") as file:
            file.write(part)

    def seal_data(self, digest: str, sums: dict[str, str]) -> str:
        """Make the data set that has arrived the node's. Returns what is wrong with it; empty: nothing."""
        self._heard = time.monotonic()
        place = self.home / "data" / digest
        part = Path(f"{place}.part")
        wrong = [name for name, expected in sums.items() if _sum(part / name) != expected]
        if not wrong:
            _become(part, place)
        os.close(self._lock)
        return f"{', '.join(wrong)} arrived damaged" if wrong else ""

    def begin(self, files: bytes, order: str, digest: str) -> str:
        """Lay the run's folder out and start its seat, once. Returns why not; empty where it is started.

        Args:
            files: a tar of the folder. order: a SeatOrder as JSON, whose paths may begin with "@/". digest: the code's.

        Raises:
            OSError.
        """
        self._heard = time.monotonic()
        told, job = _here(json.loads(order), self.home, self.folder), self.folder / _JOB
        if job.exists() and json.loads(job.read_text(encoding="utf-8")).get("nonce") == told["nonce"]:
            return ""  # asked again, as the first answer was lost
        if _held(self.folder / _LEASE):
            return f"another run is active in {self.folder}"
        if lacks := _lacking(json.loads(told["order"])["spec"]):
            return f"{', '.join(lacks)} of program.md is not there"
        shutil.rmtree(self.folder, ignore_errors=True)
        fresh = self.folder.with_name(f".{self.folder.name}.{os.getpid()}")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        with tarfile.open(fileobj=io.BytesIO(files)) as tar:
            tar.extractall(fresh, filter="tar")  # our own server's: links of a task's tree may lead anywhere
        _become(fresh, self.folder)
        return self._start(json.dumps(told), self.home / "code" / digest)

    def look(self, seen: dict[str, int], seconds: float = 0.0) -> tuple[dict[str, tuple[int, bytes]], bool]:
        """What is new in the run's files, each with its offset, and whether the run goes on.

        Args:
            seen: bytes of the growing files that the caller has. seconds: for which the end of the run is waited for.
        """
        self._heard, deadline = time.monotonic(), time.monotonic() + seconds
        while not self._over() and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        alive = _held(self.folder / _LEASE) or (self._begun() and not self._over() and self._tied())
        found = read_files(self.folder, seen)
        self._told = self._told or any(name in found for name in LAST)
        return found, alive

    def cancel(self, reason: str) -> None:
        """Ask the supervisor for the end of the run. Raises OSError."""
        self._heard = time.monotonic()
        fresh = self.folder / f"{_CANCEL}.new"
        fresh.write_text(reason, encoding="utf-8")
        fresh.replace(self.folder / _CANCEL)

    def leave(self) -> None:
        """The run's files have been fetched: remove them."""
        self._heard = time.monotonic()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, order: str, packages: Path) -> str:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "PYTHONPATH"))}
        kept |= (
            {} if kept.get("CUDA_VISIBLE_DEVICES") else {"CUDA_VISIBLE_DEVICES": ""}
        )  # else it would see all of them
        reading, self._tether = os.pipe()
        with (self.folder / "tether.log").open("wb") as log:
            started = subprocess.run(
                [sys.executable, "-P", "-B", "-m", _TETHER, str(self.folder), *_usual()],
                stdin=reading,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**kept, "PYTHONPATH": str(packages)},
                check=False,
            )
        os.close(reading)
        if started.returncode:
            return f"the run cannot be started: {_tail(self.folder / 'tether.log')}"
        os.write(self._tether, order.encode() + b"\n")
        return ""

    def _begun(self) -> bool:
        return (self.folder / _JOB).exists()

    def _over(self) -> bool:
        return any((self.folder / name).exists() for name in LAST)

    def _tied(self) -> bool:
        """Whether somebody has the other end of the pipe: the tether, until the run is over."""
        try:
            os.write(self._tether, b".")
        except OSError:
            return False
        return True

    def _leave_when_idle(self) -> None:
        while True:
            time.sleep(1)
            with self._leaving:
                idle = time.monotonic() - self._heard > (_TOLD_SECONDS if self._told else _IDLE_SECONDS)
                if idle and not (self._begun() and not self._over()):
                    os._exit(0)  # what the run has left stays on the node's disk


def collect(name: str, seen: dict[str, int], seconds: float) -> dict[str, tuple[int, bytes]] | None:
    """What a run whose tenant is dead has left on this node; None: nothing was begun here.

    It is waited for the end of its tether, which ends the run.
    """
    folder, deadline = node_home() / "runs" / name, time.monotonic() + seconds
    while _held(folder / _LEASE) and time.monotonic() < deadline:
        time.sleep(0.1)
    return read_files(folder, seen) if (folder / _JOB).exists() else None


def read_files(folder: Path, seen: dict[str, int]) -> dict[str, tuple[int, bytes]]:
    """The files of a run: whole, or what comes after the bytes that are seen. Where a rest is left, no ending is."""
    found: dict[str, tuple[int, bytes]] = {}
    rest = False
    ending = {name: data for name in LAST if (data := _bytes(folder / name)) is not None}
    for name in GROWING:
        have = seen.get(name, 0)
        try:
            with (folder / name).open("rb") as file:
                file.seek(have)
                data = file.read(_MOST)
                rest = rest or bool(file.read(1))
        except OSError:
            continue
        if data:
            found[name] = have, data
    for name in WHOLE:
        if name not in LAST and (data := _bytes(folder / name)) is not None:
            found[name] = 0, data
    if not rest:
        found |= {name: (0, data) for name, data in ending.items()}
    return found


def install(home: Path, code: bytes, digest: str) -> None:
    """Unpack our own code below `home`, once for each version of it. Raises OSError."""
    place = home / "code" / digest
    if place.exists():
        return
    if sha256(code).hexdigest() != digest:
        raise OSError("the code that arrived differs from what was sent")
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".", dir=place.parent))
    try:
        with zipfile.ZipFile(io.BytesIO(code)) as archive:
            archive.extractall(fresh)
        compile_dir(fresh, quiet=2)  # else each process of each run would compile it
        _become(fresh, place)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _usual() -> list[str]:
    """How nice Ray's own process on this node is, and its oom_score_adj: it makes its workers worse."""
    ray = os.getppid()
    adjusted = (_bytes(Path(f"/proc/{ray}/oom_score_adj")) or b"0").decode().strip()
    return [str(os.getpriority(os.PRIO_PROCESS, ray)), adjusted]


def _here(told: dict[str, Any], home: Path, folder: Path) -> dict[str, Any]:
    """The order with the paths of this node."""
    order = json.loads(told["order"])
    spec = order["spec"]
    for name in ("data", "dataset", "kernels"):
        if spec[name].startswith(_HERE):
            spec[name] = str(home / spec[name].removeprefix(_HERE))
    spec |= {"cookie": str(folder), "imports": str(folder / _MODULES)}
    return {**told, "order": json.dumps(order)}


def _lacking(spec: dict[str, Any]) -> list[str]:
    """Files that a task shows its commands, and that this node does not have."""
    task: dict[str, Any] = spec.get("task") or {}
    links: list[list[str]] = [*task.get("links", ()), *task.get("home_links", ())]
    shown = [path for _, path in links]
    return sorted({path for path in shown if os.path.isabs(path) and not os.path.exists(path)})


def _become(fresh: Path, place: Path) -> None:
    """Rename into place what is whole; what somebody else has put there meanwhile stays."""
    try:
        fresh.rename(place)
    except OSError:
        if not place.exists():
            raise
        shutil.rmtree(fresh, ignore_errors=True)


def _held(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _sum(path: Path) -> str:
    found = sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(1 << 24):
                found.update(part)
    except OSError:
        return ""
    return found.hexdigest()


def _tail(path: Path) -> str:
    lines = (_bytes(path) or b"").decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no reason is known"


def remove(name: str) -> None:
    """Remove what a run whose tenant is dead has left on this node."""
    shutil.rmtree(node_home() / "runs" / name, ignore_errors=True)


_ASK = """
import json, sys
from importlib import metadata
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except Exception:
        found[name] = ""
print(json.dumps(found))
"""


def _versions() -> dict[str, str]:
    """Of the packages that a run finds here, as Ray's workers see some of Ray's own beside; "": it is not there."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "PYTHONPATH"))}
    names = ("ray", "torch", "numpy", "psutil")
    told = subprocess.run([sys.executable, "-P", "-c", _ASK, *names], env=kept, capture_output=True, check=True)
    return dict(json.loads(told.stdout))


def word(code: bytes, digest: str) -> dict[str, Any]:
    """What this node says of itself. Raises OSError: it has no place for what is ours."""
    found: dict[str, Any] = {"time": time.time(), "python": sys.version.split()[0], "packages": _versions()}
    home = node_home()
    try:
        install(home, code, digest)
        found["free_mb"] = shutil.disk_usage(home).free >> 20
        found["trouble_home"] = ""
    except OSError as error:
        found["trouble_home"] = f"{home} cannot be written: {error.strerror or error}"
    found["nice"], found["oom"] = os.nice(0), (_bytes(Path("/proc/self/oom_score_adj")) or b"0").decode().strip()
    found["root"] = os.geteuid() == 0
    found["token"] = os.environ.get("RAY_AUTH_MODE", "")
    return found
