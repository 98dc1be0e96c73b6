"""What an operator should know before the night: one line a check, and what to do about it."""

import os
import shutil
import socket
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from importlib import metadata
from pathlib import Path
from typing import Literal

from server.clients import client_config
from server.errors import Unavailable
from server.history.ledger import Ledger
from server.paths import Home
from server.records import Value
from server.runs.cleanup import process_name
from server.runs.hardware import Hardware, Machine, file_system, gpu_pids, probe
from server.runs.profile_choice import default_profile, reason, trouble
from server.runs.spawn import compiler, probe_guards
from server.serve_options import DEFAULT_PORT
from server.study.find_study import tag_to_serve
from server.study.git_repair import lost
from server.task.dataset import EMBEDDED, find, prepared
from server.task.program import load
from server.vcs.git_environment import submodules
from server.vcs.workspace import Workspace

_WARN_GB = 10
_STOP_GB = 2
_REMOTE = ("nfs", "cifs", "smb", "afpfs", "9p", "fuse.sshfs", "ceph", "lustre", "gpfs", "beegfs")  # file systems
State = Literal["ok", "warning", "fix"]


class Check(Value):
    """One line."""

    name: str
    state: State
    detail: str
    remedy: str = ""


def examine(workspace: Path, data: str = EMBEDDED) -> list[Check]:
    """Look at the machine and the workspace; nothing is changed."""
    hardware = probe()
    profile = _profile(hardware, workspace)
    checks: list[Callable[[], Check]] = [
        _python,
        _torch,
        lambda: _device(hardware, profile),
        lambda: _compiler(profile, workspace),
        lambda: _workspace(workspace),
        lambda: _program(workspace),
        lambda: _data(Home(workspace).data, data, hardware),
        lambda: _disk(workspace),
        _confinement,
        _port,
        lambda: _client(workspace),
    ]
    return [check() for check in checks]


def _python() -> Check:
    return Check(name="python", state="ok", detail=sys.version.split()[0])  # an older one cannot install this package


def _torch() -> Check:
    try:
        return Check(name="torch", state="ok", detail=metadata.version("torch"))
    except metadata.PackageNotFoundError:
        return Check(name="torch", state="fix", detail="not installed", remedy="pip install torch")


def _profile(machine: Machine, workspace: Path) -> str:
    """The one that the server would choose: by the study that it would go on with, and by train.py."""
    last, train = "", ""
    with suppress(OSError, ValueError):
        train = (workspace / "train.py").read_text(encoding="utf-8")
    path = Home(workspace).study(tag_to_serve(workspace)).ledger
    with suppress(Unavailable):
        if path.exists():
            with closing(Ledger(path, read_only=True)) as ledger:
                known = ledger.incumbent() or ledger.last()
                last = known.attempt.profile if known else ""
    return default_profile(machine, last, train)


def _device(machine: Machine, profile: str) -> Check:
    why = f" ({found})" if (found := reason(machine, profile)) else ""
    if machine.gpu is None:
        gone = f"no NVIDIA GPU{f' that can be asked: {machine.gpu_trouble}' if machine.gpu_trouble else ''}"
        detail = f"{gone}; {machine.cores} cores of {machine.cpu}, {machine.memory_gb} GB; profile {profile}{why}"
        remedy = "restart the machine or its driver" if machine.gpu_trouble else "fine for a try; research wants a GPU"
        return Check(name="device", state="warning", detail=detail, remedy=remedy)
    detail = f"{machine.gpu}, {machine.gpu_memory_gb} GB, driver {machine.driver}; profile {profile}"
    if others := gpu_pids():
        detail += f"; in use by {', '.join(map(process_name, sorted(others)))}"
    remedy = "runs beside others are run again: end them" if others else trouble(machine, profile)
    return Check(name="device", state="warning" if remedy else "ok", detail=f"{detail}{why}", remedy=remedy)


def _compiler(profile: str, workspace: Path) -> Check:
    try:
        why = compiler(profile, workspace)
    except Unavailable as error:
        return Check(name="compiler", state="fix", detail=error.problem, remedy=error.next_step)
    if not why:
        return Check(name="compiler", state="ok", detail="torch.compile works")
    remedy = "runs are eager, and slower: install gcc, g++ and the headers of Python (python3-dev)"
    if "in its path" in why:
        remedy = "runs are eager, and slower: move the workspace to a path without them"
    return Check(name="compiler", state="warning", detail=why, remedy=remedy)


def _workspace(path: Path) -> Check:
    with suppress(Unavailable):  # told by the next check
        return _night(path, load(path / "program.md").task.editable)
    return _night(path, "train.py")


def _night(path: Path, file: str) -> Check:
    try:
        with Workspace.open(path, tag_to_serve(path), (file,)) as workspace:
            if gone := lost(workspace.state):
                return Check(name="workspace", state="warning", detail=gone, remedy="the night goes on without them")
            if folders := submodules(workspace.root):
                detail = f"{workspace.root}; {file} cannot import from {', '.join(folders)}"
                remedy = "a night's worktree has no submodules: copy what is needed into the repository"
                return Check(name="workspace", state="warning", detail=detail, remedy=remedy)
            return Check(name="workspace", state="ok", detail=str(workspace.root))
    except Unavailable as error:
        return Check(name="workspace", state="fix", detail=error.problem, remedy=error.next_step)


def _program(path: Path) -> Check:
    try:
        program = load(path / "program.md", Home(path).study(tag_to_serve(path)).state)
    except Unavailable as error:
        return Check(name="program.md", state="fix", detail=error.problem, remedy=error.next_step)
    told = "; no front matter, so all of this is defaults" if program.bare else ""
    detail = f"{program.task.name}; {program.task.budget_seconds:g} s a run{told}"
    return Check(name="program.md", state="ok", detail=detail)


def _data(folder: Path, told: str, hardware: Hardware) -> Check:
    try:
        found = find(told, folder)
    except Unavailable as error:
        return Check(name="data", state="fix", detail=error.problem, remedy=error.next_step)
    others = [name for name in prepared(folder) if name != found.name]
    detail = f"{found}; also prepared: {', '.join(others)}" if others else str(found)
    if found.name == EMBEDDED and hardware.gpu is not None:
        remedy = "too small for a GPU: autoresearch prepare climbmix, then serve --data climbmix"
        return Check(name="data", state="warning", detail=f"a smoke test only: {detail}", remedy=remedy)
    return Check(name="data", state="ok", detail=detail)


def _disk(path: Path) -> Check:
    existing = next(folder for folder in (path.resolve(), *path.resolve().parents) if folder.exists())
    free, kind = shutil.disk_usage(existing).free / 2**30, file_system(existing)
    state: State = "ok" if free >= _WARN_GB else "warning" if free >= _STOP_GB else "fix"
    remedy = "" if state == "ok" else "free some space: a night writes a few hundred MB"
    if state == "ok" and kind.startswith(_REMOTE):
        state, remedy = "warning", "keep the workspace on a local disk: locks and fsync may not hold on this one"
    return Check(name="disk", state=state, detail=f"{free:.1f} GB free, {kind}", remedy=remedy)


def _confinement() -> Check:
    try:
        found = probe_guards()
    except Unavailable as error:
        return Check(name="confinement", state="fix", detail=error.problem, remedy=error.next_step)
    detail = "; ".join(f"{name}: {state}" for name, state in found.items())
    if all(state == "held" for state in found.values()):
        return Check(name="confinement", state="ok", detail=f"sealed ({detail})")
    remedy = "runs are still scored by the referee; run agents you do not trust in a container"
    return Check(name="confinement", state="warning", detail=detail, remedy=remedy)


def _port() -> Check:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", DEFAULT_PORT))
        except OSError as error:
            detail = f"port {DEFAULT_PORT} is taken: {os.strerror(error.errno or 0)}"
            return Check(name="port", state="warning", detail=detail, remedy="only matters for serving over HTTP")
    return Check(name="port", state="ok", detail=f"{DEFAULT_PORT} is free")


def _client(workspace: Path) -> Check:
    found = [
        client for client in client_config.CLIENTS if client_config.installed(client, workspace.resolve(), Path.home())
    ]
    if found:
        return Check(name="client", state="ok", detail=f"configured: {', '.join(found)}")
    remedy = "autoresearch connect claude-code --write (or another client)"
    return Check(name="client", state="warning", detail="no client is configured for autoresearch", remedy=remedy)
