"""Workspaces of other tools, as proposals: the one place where `adopt` meets what reads their files."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from server.errors import ProgramInvalid
from server.foreign.find import find_drafts
from server.foreign.workspace import Draft
from server.task.definition import Task
from server.task.requirements import Lack


@dataclass(frozen=True)
class Known:
    """A workspace in another tool's format, whose files are read and never written."""

    format: str
    files: tuple[str, ...]
    goal: str
    task: Task  # what its files say; what they do not say is asked for, and is not among its fields that are set
    remarks: tuple[str, ...] = ()


def known_workspaces(root: Path) -> list[Known]:
    """Those in the repository at `root`, the most certain first. Raises ProgramInvalid: a file of theirs is broken."""
    return [_known(draft) for draft in find_drafts(root)]


def _known(draft: Draft) -> Known:
    try:
        found = draft.workspace()
    except (ProgramInvalid, ValidationError):  # something is missing, which the interview asks for
        task, lacks = Task.model_construct(**draft.fields), [lack for _, lack in draft.remarks]
        remarks = (*dict.fromkeys(draft.missing.values()), *map(_told, lacks))
    else:
        task, remarks = found.task, tuple(map(_told, found.remarks))
    return Known(format=draft.format, files=tuple(draft.files), goal=draft.goal, task=task, remarks=remarks)


def _told(lack: Lack) -> str:
    return f"{lack.problem}: {lack.remedy}"
