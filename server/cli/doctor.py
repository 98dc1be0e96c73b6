"""What an operator should check before a study: one line per check, with the remedy."""

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, suppress
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Literal

from pydantic import field_validator

from server.clients import client_config
from server.errors import PatchRefused, Unavailable, WorkspaceUnusable
from server.foreign.load import is_defined, load, load_valid
from server.history.chain import Mark, numbers_in_words
from server.history.ledger import Ledger
from server.locks import lock_holder
from server.paths import HOME, Home
from server.records import Value
from server.runs.boundary import UNKNOWN, boundary
from server.runs.cleanup import process_name
from server.runs.hardware import Hardware, Machine, file_system, gpu_pids, probe
from server.runs.profile_choice import as_torch_sees_it, default_profile, reason, trouble, why_no_gpu
from server.runs.spawn import TorchView, compiler, probe_guards, torch_view
from server.serve_words import DEFAULT_PORT
from server.source import patch
from server.source.editable import Editable
from server.study.find_study import tag_to_serve
from server.study.git_repair import lost
from server.study.lane import what_may_change
from server.study.ledger_rebuild import edited, edited_now
from server.study.phase import NO_SESSION, SESSION_STEP
from server.task import requirements
from server.task.dataset import EMBEDDED, find, prepared
from server.task.definition import Task
from server.task.task_words import describe_metric, words_of
from server.text import printable
from server.vcs.git_environment import submodules, tracked
from server.vcs.workspace import Workspace
from trainer.contract import CPU_PROFILES, GPU_PROFILES, Referee

_WARN_GB = 10
_STOP_GB = 2
_LEAST_FILES = 10_000  # of a night
_TRIED_BYTES = 1 << 20
_OF_MODELS = ("data", "torch", "device", "compiler")  # checks of what only training needs
_REMOTE = ("nfs", "cifs", "smb", "afpfs", "9p", "fuse.sshfs", "ceph", "lustre", "gpfs", "beegfs")  # file systems
State = Literal["ok", "warning", "fix"]


class Check(Value):
    """One line."""

    name: str
    state: State
    detail: str
    remedy: str = ""

    @field_validator("detail", "remedy")
    @classmethod
    def _is_one_line(cls, told: str) -> str:
        return printable(told)


def examine(workspace: Path, data: str = EMBEDDED, profile: str = "", without: Collection[str] = ()) -> Iterator[Check]:
    """Check the workspace and the machine, for a profile, one check after the other, `without` some."""
    machine = _Machine(workspace)
    if profile:
        machine.profile = profile
    checks: dict[str, Callable[[], Check]] = {
        "python": lambda: Check(name="python", state="ok", detail=sys.version.split()[0]),  # no older one installs us
        "workspace": lambda: _workspace(workspace),
        "program.md": lambda: _program(workspace),
        "referee": lambda: _referee(workspace),
        "data": lambda: _data(Home(workspace).data, data, machine.hardware),
        "disk": lambda: _disk(workspace),
        "client": lambda: _client(workspace),
        "account": lambda: _account(workspace),
        "ledger": lambda: _ledger(workspace),
        "port": _port,
        "confinement": lambda: _confinement(machine.profile),
        "torch": lambda: _torch(machine),
        "device": lambda: _device(machine),
        "compiler": lambda: _compiler(machine.profile, workspace),
    }
    task = _task(workspace)
    unasked = (*without, *(_OF_MODELS if task is not None and task.kind is not Referee.SEALED else ()))
    for name, check in checks.items():
        try:
            if name not in unasked:
                yield check()
        except Exception as error:  # what no check foresees costs its own line, and no other
            why = f"cannot be checked: {error or type(error).__name__}"
            yield Check(name=name, state="fix", detail=why, remedy="restore access there, or report this line as a bug")


class _Machine:
    """Facts about the machine that several checks need, each found once."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace

    @cached_property
    def driver(self) -> Machine:
        """As its drivers tell it."""
        return probe()

    @cached_property
    def hardware(self) -> Machine:
        """As a server sees it."""
        return as_torch_sees_it(self.driver)

    @cached_property
    def profile(self) -> str:
        """The profile that a server would choose, by the study that it would continue and by train.py."""
        last, train = "", ""
        with suppress(OSError, ValueError):
            train = (self._workspace / "train.py").read_text(encoding="utf-8")
        path = Home(self._workspace).study(tag_to_serve(self._workspace)).ledger
        with suppress(Unavailable, OSError):
            if path.exists():
                with closing(Ledger(path, read_only=True)) as ledger:
                    known = ledger.incumbent() or ledger.last()
                    last = known.attempt.profile if known else ""
        return default_profile(self.hardware, last, train)

    @cached_property
    def torch(self) -> TorchView:
        """As the torch of a run sees it. Raises Unavailable."""
        return torch_view(self.profile)


def _torch(machine: _Machine) -> Check:
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return Check(name="torch", state="fix", detail="not installed", remedy="pip install torch")
    try:
        problem = machine.torch.problem
    except Unavailable as error:
        return Check(name="torch", state="fix", detail=f"{version}; {error.problem}", remedy=error.next_step)
    if problem:
        remedy = "install a torch for this machine (pytorch.org), or serve --profile cpu"
        return Check(name="torch", state="fix", detail=f"{version}; {problem}", remedy=remedy)
    return Check(name="torch", state="ok", detail=version)


def _device(machine: _Machine) -> Check:
    found, profile = machine.hardware, machine.profile
    why = f" ({told})" if (told := reason(found, profile)) else ""
    if found.gpu is None:
        gone, remedy = why_no_gpu(found), "restart the machine or its driver"
        if not gone:
            hides = os.environ.get("CUDA_VISIBLE_DEVICES")
            gone = "no NVIDIA GPU" if hides is None else f"no NVIDIA GPU is visible with CUDA_VISIBLE_DEVICES={hides}"
            remedy = "good enough to try it out; for research use a GPU"
            with suppress(Unavailable):
                if seen := machine.torch.gpu:
                    gone = f"no driver lists a GPU, but torch sees {seen}"
                    remedy = "to use it, serve --profile gpu-8gb, or another profile of docs/hardware.md"
        detail = f"{gone}; {found.cores} cores of {found.cpu}, {found.memory_gb} GB; profile {profile}{why}"
        state: State = "fix" if profile in GPU_PROFILES else "warning"
        return Check(name="device", state=state, detail=detail, remedy=remedy)
    driver = found.driver or (f"with a problem: {found.gpu_trouble}" if found.gpu_trouble else "unknown")
    detail = f"{found.gpu}, {found.gpu_memory_gb} GB, driver {driver}; profile {profile}"
    if others := gpu_pids():
        detail += f"; in use by {', '.join(map(process_name, sorted(others)))}"
    remedy = "runs that share the GPU are repeated: end those processes" if others else trouble(found, profile)
    state = "warning" if remedy else "ok"
    with suppress(Unavailable):
        if problem := machine.torch.problem:
            state, why, remedy = "fix", f"{why}; {problem}", "see torch, above"
    return Check(name="device", state=state, detail=f"{detail}{why}", remedy=remedy)


def _compiler(profile: str, workspace: Path) -> Check:
    try:
        why = compiler(profile, workspace)
    except Unavailable as error:
        return Check(name="compiler", state="fix", detail=error.problem, remedy=error.next_step)
    if not why:
        return Check(name="compiler", state="ok", detail="torch.compile works")
    remedy = "runs are eager, and slower. To compile, install gcc, g++ and the headers of Python (python3-dev)"
    if "in its path" in why:
        remedy = "runs are eager, and slower. To compile, move the workspace to a path without these characters"
    elif "failed to map segment" in why:
        remedy = "runs are eager, and slower. To compile, move the workspace to a disk that is mounted without noexec"
    return Check(name="compiler", state="warning", detail=why, remedy=remedy)


def _task(path: Path) -> Task | None:
    """What defines the task; None where it cannot be read: its own check says why."""
    return found.task if (found := load_valid(path)) else None


def _workspace(path: Path) -> Check:
    found = _night(path, what_may_change(task) if (task := _task(path)) else Editable(("train.py",)), task)
    if task is None and found.state == "fix" and is_defined(path) and not (path / "train.py").exists():
        return Check(name="workspace", state="warning", detail="not known", remedy="see program.md, below")
    return found


def _night(path: Path, editable: Editable, task: Task | None) -> Check:
    try:
        with Workspace.open(path, tag_to_serve(path), editable) as workspace:
            if task is not None and task.kind is not Referee.SEALED:
                return _state(workspace, words_of(task).candidate)
            return _code(workspace, workspace.file) or _state(workspace, workspace.file)
    except Unavailable as error:
        return Check(name="workspace", state="fix", detail=error.problem, remedy=error.next_step)


def _code(workspace: Workspace, file: str) -> Check | None:
    """Why the baseline cannot work, if that can be told from its text."""
    with suppress(WorkspaceUnusable):  # git has lost the commit: the server looks for it
        try:
            files = workspace.files(workspace.base())
            patch.check(files, workspace.editable.limits, None if workspace.editable.plain else files)
        except PatchRefused as error:
            return Check(name="workspace", state="fix", detail=error.problem, remedy=f"repair {file} and commit it")
        if workspace.editable.plain and not workspace.trains_here():
            known = requirements.other_workspaces(workspace.root, tracked(workspace.root, "."))
            detail = f"{workspace.root}: {NO_SESSION}{f'; {known}' if known else ''}"
            return Check(name="workspace", state="fix", detail=detail, remedy=SESSION_STEP)
    return None


def _state(workspace: Workspace, file: str) -> Check:
    if gone := lost(workspace.state):
        return Check(name="workspace", state="warning", detail=gone, remedy="the study goes on without them")
    if ours := tracked(workspace.root, HOME):
        detail = f"git tracks {ours[0]}: a checkout or a stash would change the history of the study"
        return Check(name="workspace", state="warning", detail=detail, remedy=f"git rm --cached -r {HOME}")
    if doubts := workspace.doubts():
        remedy = "commit what a run needs as plain files, and name in `editable` what the agent may change"
        return Check(name="workspace", state="warning", detail=" ".join(doubts), remedy=remedy)
    if folders := submodules(workspace.root):
        detail = f"{workspace.root}; {file} cannot import from {', '.join(folders)}"
        remedy = "a study's worktree has no submodules: copy what is needed into the repository"
        return Check(name="workspace", state="warning", detail=detail, remedy=remedy)
    return Check(name="workspace", state="ok", detail=str(workspace.root))


def _program(path: Path) -> Check:
    try:
        program = load(path / "program.md", Home(path).study(tag_to_serve(path)).state)
    except Unavailable as error:
        return Check(name="program.md", state="fix", detail=error.problem, remedy=error.next_step)
    told = "; no front matter, so these are the defaults" if program.bare and not program.task.referee else ""
    told = f"; from the files of {program.format}" if program.format else told
    detail = f"{printable(program.task.name)}; {program.task.budget_seconds:g} s a run{told}"
    return Check(name="program.md", state="ok", detail=detail)


def _referee(path: Path) -> Check:
    """Which referee was found and why, what it will run, and what of that is missing."""
    if (program := load_valid(path)) is None:
        return Check(name="referee", state="warning", detail="not known", remedy="see program.md, above")
    task = program.task
    found = f"{task.kind}, because {task.kind_reason}"
    if task.kind is Referee.SEALED:
        return Check(name="referee", state="ok", detail=f"{found}: {describe_metric(task)}")
    try:
        files = tracked(path, ".")
    except WorkspaceUnusable:
        return Check(name="referee", state="warning", detail=found, remedy="see workspace, above")
    may = requirements.editable_files(task, files)
    told = f"a run {requirements.describe_run(task)}; it measures {describe_metric(task)}"
    detail = f"{found}; {told}; editable: {requirements.named(may) or 'nothing'}"
    lacks = sorted([*requirements.lacking(task, path, files), *program.remarks], key=lambda lack: not lack.fatal)
    if not lacks:
        tried = requirements.to_try(task)
        remedy = f"to check that the baseline passes: {tried}" if tried else ""
        return Check(name="referee", state="ok", detail=detail, remedy=remedy)
    problems = "; ".join(lack.problem for lack in lacks)
    remedy = "; ".join(dict.fromkeys(lack.remedy for lack in lacks))
    state: State = "fix" if lacks[0].fatal else "warning"
    return Check(name="referee", state=state, detail=f"{problems}. {detail}", remedy=remedy)


def _data(folder: Path, told: str, hardware: Hardware) -> Check:
    try:
        found = find(told, folder)
    except Unavailable as error:
        return Check(name="data", state="fix", detail=error.problem, remedy=error.next_step)
    others = [name for name in prepared(folder) if name != found.name]
    detail = f"{found}; also prepared: {', '.join(others)}" if others else str(found)
    if found.name == EMBEDDED and hardware.gpu is not None:
        remedy = "it is too small for a GPU: autoresearch prepare climbmix, then serve --data climbmix"
        return Check(name="data", state="warning", detail=f"only good for a smoke test: {detail}", remedy=remedy)
    return Check(name="data", state="ok", detail=detail)


def _disk(path: Path) -> Check:
    existing = next(folder for folder in (path.resolve(), *path.resolve().parents) if folder.exists())
    if why := _unwritable(existing):
        return Check(name="disk", state="fix", detail=why, remedy="a study writes a few hundred MB there")
    free, kind = shutil.disk_usage(existing).free / 2**30, file_system(existing)
    state: State = "ok" if free >= _WARN_GB else "warning" if free >= _STOP_GB else "fix"
    remedy = "" if state == "ok" else "free some space: a study writes a few hundred MB"
    left = os.statvfs(existing)
    if left.f_files and left.f_favail < _LEAST_FILES:
        state, remedy = "fix", f"only {left.f_favail} more files fit on it: remove some"
    if state == "ok" and kind.startswith(_REMOTE):
        state, remedy = "warning", "keep the workspace on a local disk: locks and fsync may not work on this one"
    return Check(name="disk", state=state, detail=f"{free:.1f} GB free, {kind}", remedy=remedy)


def _unwritable(folder: Path) -> str:
    """Why nothing can be written there. Only a write shows a quota or a size limit."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_TRIED_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return f"{folder} cannot be written: {error.strerror}"
    return ""


def _confinement(profile: str) -> Check:
    try:
        found = probe_guards(profile in CPU_PROFILES)
    except Unavailable as error:
        return Check(name="confinement", state="fix", detail=error.problem, remedy=error.next_step)
    detail = "; ".join(f"{name}: {state}" for name, state in found.items())
    if all(state == "held" for state in found.values()):
        return Check(name="confinement", state="ok", detail=f"sealed ({detail})")
    remedy = "the referee still computes the score; run an agent that you do not trust in a container"
    return Check(name="confinement", state="warning", detail=detail, remedy=remedy)


def _account(workspace: Path) -> Check:
    served = lock_holder(workspace)
    found = boundary(workspace.resolve(), served.pid if served else 0)
    if found.word != UNKNOWN:  # the same account is how a server is usually started, and nothing that has gone wrong
        return Check(name="account", state="ok", detail=f"{found.word}: {found.detail}")
    way = "autoresearch install-service" if sys.platform == "linux" else "docs/service.md"
    remedy = f"an agent with a shell of the server's account can forge results. To separate the accounts: {way}"
    return Check(name="account", state="warning", detail=f"{found.word}: {found.detail}", remedy=remedy)


def _ledger(workspace: Path) -> Check:
    path = Home(workspace).study(tag_to_serve(workspace)).ledger
    try:
        if not path.exists():
            return Check(name="ledger", state="ok", detail="none yet")
        with closing(Ledger(path, read_only=True)) as ledger:
            return _rows(ledger)
    except Unavailable as error:
        return Check(name="ledger", state="warning", detail=error.problem, remedy=error.next_step)


def _rows(ledger: Ledger) -> Check:
    if told := edited_now(ledger) or edited(ledger):
        return Check(name="ledger", state="warning", detail=told, remedy="find out who else uses this account")
    if ledger.chain() is None:
        return Check(name="ledger", state="ok", detail="its rows are not chained yet: the next server begins the chain")
    before = ledger.marked(Mark.BEFORE)
    detail = f"experiments {numbers_in_words(before)} are older than the chain" if before else "every row is chained"
    return Check(name="ledger", state="ok", detail=detail)


def _port() -> Check:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", DEFAULT_PORT))
        except OSError as error:
            detail = f"port {DEFAULT_PORT} is taken: {os.strerror(error.errno or 0)}"
            return Check(name="port", state="warning", detail=detail, remedy="this matters only for serving over HTTP")
    return Check(name="port", state="ok", detail=f"{DEFAULT_PORT} is free")


def _client(workspace: Path) -> Check:
    try:
        home, gone = client_config.user_home(), ""
        os.listdir(home)
    except (Unavailable, OSError) as error:
        home, gone = None, f"; the home folder cannot be read: {error}"
    found: list[str] = []
    for client, about in client_config.CLIENTS.items():
        with suppress(OSError):  # a file that is not ours to read is no configuration of ours
            if home or not about.path.startswith("~") or client_config.moved_by(client):
                if client_config.installed(client, workspace.resolve()):
                    found.append(client)
    if found:
        state: State = "warning" if gone else "ok"
        return Check(name="client", state=state, detail=f"configured: {', '.join(found)}{gone}")
    remedy = "autoresearch connect claude-code --write (or another client)"
    return Check(
        name="client", state="warning", detail=f"no client is configured for autoresearch{gone}", remedy=remedy
    )
