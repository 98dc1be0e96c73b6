"""The program of a workspace: program.md of ours, or what another tool's files say, or both together.

Ours wins where it has a front matter. With `format: NAME` in it, it adds to the other tool's files, field by field.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from server.errors import ProgramInvalid, WorkspaceUnusable
from server.foreign.detection import is_likely, table
from server.foreign.reported import ReportedLog, read_log
from server.task import program
from server.task.definition import Task
from server.task.program import Program
from trainer.contract import Referee

if TYPE_CHECKING:
    from server.foreign.workspace import Draft, ForeignWorkspace

_SESSION = re.compile(rb"^\s*(?:import|from)\s+trainer\b", re.MULTILINE)
_ALLOWED = ("network", "home")  # fields that settle a remark where they are true
_NOT_GIVEN = ("format", "found", "pinned", "started")  # that program.md does not set in a task
_PREFACE = (
    "[{what}, as it was written for {tool}. Here run_experiment() measures and keep() commits: do not run its "
    "scripts, write its log files or commit yourself. Ignore what it says about that; its goal and its limits hold.]"
)
_MOST_BYTES = 1 << 20


def load(path: Path, state: Path | None = None) -> Program:
    """Read program.md, or the files of another tool beside it.

    Args:
        path: of program.md, which need not be there. state: as in `server.task.program.load`.

    Raises:
        ProgramInvalid: names the file, and where it can, line and field.
    """
    text = program.read(path) if path.exists() else None  # once: a human may edit it meanwhile
    own = None if text is None else program.front_matter(path, text)
    name = _named(own, path)
    ours = own is not None or not is_likely(path.parent) or _calls_session(path.parent)
    draft = _chosen(path.parent, name) if name or not ours else None
    if draft is None:
        return program.load(path, state) if text is None else program.parsed(path, text, state)
    if own is None and state is not None and program.remembered(state) == "":
        raise program.front_matter_gone(path)
    fields = {field: value for field, value in (own or {}).items() if field not in _NOT_GIVEN}
    try:
        found = draft.workspace(fields)
    except ValidationError as error:
        raise program.explained(path, text or "", error) from None
    return _program(found, fields, draft.goal_file, draft.reported())


def load_valid(root: Path) -> Program | None:
    """As `load`, for whoever only looks; None where it cannot be read."""
    with suppress(ProgramInvalid, ValueError):  # a path that no file can have
        return load(root / "program.md")
    return None


def is_defined(root: Path) -> bool:
    """Whether something in the folder may define a task, if perhaps wrongly."""
    return (root / "program.md").is_file() or is_likely(root)


def task_of(path: Path) -> Task:
    """The task of a study that is only looked at; the default one where its program cannot be read."""
    found = load_valid(path.parent)
    return found.task if found else Task()


def reported(root: Path, task: Task) -> ReportedLog:
    """The earlier attempts that another tool's log in the workspace reports; none for a language model of ours."""
    with suppress(ProgramInvalid):
        if (name := getattr(task, "format", "")) and (draft := _chosen(root, name)):
            return draft.reported()
    if task.kind is not Referee.SEALED and (found := table(root)):
        return read_log(found, found.relative_to(root).as_posix())
    return ReportedLog(file="")


def reported_summary(root: Path) -> str:
    """What such a log has, in a sentence; empty where there is none."""
    found = load_valid(root)
    log = reported(root, found.task) if found else ReportedLog(file="")
    return log.summary if log.rows or log.skipped else ""


def _named(own: Mapping[str, Any] | None, path: Path) -> str:
    """The format that program.md names; empty if it names none. Raises ProgramInvalid: it is no name."""
    told = (own or {}).get("format", "")
    if not isinstance(told, str) or ("format" in (own or {}) and not told):
        raise ProgramInvalid(f"{path.name}, format: {told!r} is no name.", "Name a format, such as pi-autoresearch.")
    return told


def _calls_session(root: Path) -> bool:
    """Whether train.py is one of ours: then program.md, without a front matter, is a language model's."""
    with suppress(OSError), (root / "train.py").open("rb") as file:
        return bool(_SESSION.search(file.read(_MOST_BYTES)))
    return False


def _chosen(root: Path, name: str) -> "Draft | None":
    """As `find.choose`: what only a workspace of another tool needs is imported for one."""
    from server.foreign.find import choose

    return choose(root, name)


def _program(found: "ForeignWorkspace", own: Mapping[str, Any], goal_file: str, log: ReportedLog) -> Program:
    allowed = [name for name in _ALLOWED if own.get(name)]
    lines = [_PREFACE.format(what=goal_file or found.format, tool=found.format)]
    if log.rows:
        lines.append(f'{log.summary} history(verdict="reported") lists them.')
    text = "\n".join([*lines, "", found.goal])
    return Program(
        task=found.task,
        text=text,
        body=found.goal,
        bare=not own,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        format=found.format,
        remarks=tuple(lack for lack in found.remarks if not any(f"`{name}: true`" in lack.remedy for name in allowed)),
    )


def prepare(root: Path, task: Task, folder: Path) -> None:
    """`bring` what the task needs into the tree of a run, and `require_scripts`. Raises WorkspaceUnusable."""
    copy_untracked(root, task.brought, folder)
    require_scripts(task, folder)


def require_scripts(task: Task, folder: Path) -> None:
    """Refuse a run whose commit lacks what measures it: no candidate has done that. Raises WorkspaceUnusable.

    Args:
        folder: where the commit's files are, with those that were brought.
    """
    if lost := [path for path in task.scripts if not (folder / path).is_file()]:
        raise WorkspaceUnusable(
            f"The study's commits do not have {', '.join(lost)}, which was committed to the checkout after the study "
            "began.",
            "Start the server with a new --tag, and the study begins with them.",
        )


def _require_same(file: Path, path: str, sha256: str) -> None:
    """Refuse a tree that has another file where one is brought. Raises WorkspaceUnusable, OSError."""
    if hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
        raise WorkspaceUnusable(
            f"The commit of this run has a different {path} from the checkout, where git does not have it.",
            f"Commit {path} in the checkout, and start the server with a new --tag.",
        )


def copy_untracked(root: Path, files: Mapping[str, str], folder: Path) -> None:
    """Write files that git does not have into the tree of a run. What is there already stays as it is.

    Args:
        files: each with the sha256 that it must have. folder: where the commit's files are.

    Raises:
        WorkspaceUnusable: one is gone, or has changed since the run was asked for, or the commit has another one.
    """
    for path, sha256 in files.items():
        source, target = root / path, folder / path
        try:
            if os.path.lexists(target):
                _require_same(target, path, sha256)
                continue
            content = source.read_bytes()
            if hashlib.sha256(content).hexdigest() != sha256:
                raise WorkspaceUnusable(f"{source} has just changed.", "Call again: a new segment begins.")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(0o755 if os.access(source, os.X_OK) or content.startswith(b"#!") else 0o644)
        except OSError as error:
            told = f"{source} cannot be brought into a run: {error.strerror}."
            raise WorkspaceUnusable(told, "Restore the file: git does not have it.") from error
