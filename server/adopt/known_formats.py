"""Workspaces of other tools, as proposals: the one place where `adopt` meets what reads their files."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from server.records import Value
from server.task.definition import Task
from server.task.requirements import Lack


class Known(Value):
    """A workspace in another tool's format, whose files are read and never written."""

    format: str
    files: tuple[str, ...]
    goal: str
    task: Task
    remarks: tuple[str, ...] = ()


class _Workspace(Protocol):
    """What is needed of a workspace that was read."""

    @property
    def format(self) -> str: ...
    @property
    def files(self) -> Iterable[str | Path]: ...
    @property
    def goal(self) -> str: ...
    @property
    def task(self) -> Task: ...
    @property
    def remarks(self) -> Iterable[Lack]: ...


def known_workspaces(root: Path) -> list[Known]:
    """Those in the repository at `root`, the most certain first."""
    return [_known(one) for one in _find_workspaces(root)]


def _find_workspaces(_root: Path) -> Sequence[_Workspace]:
    """None: this version reads no other tool's format."""
    return ()


def _known(found: _Workspace) -> Known:
    remarks = tuple(f"{lack.problem}: {lack.remedy}" for lack in found.remarks)
    files = tuple(map(str, found.files))
    return Known(format=str(found.format), files=files, goal=found.goal, task=found.task, remarks=remarks)
