"""Workspaces of other tools, as proposals: the one place where `adopt` meets what reads their files."""

from pathlib import Path

from server.records import Value
from server.task.definition import Task


class Known(Value):
    """A workspace in another tool's format, whose files are read and never written."""

    format: str
    files: tuple[str, ...]
    goal: str
    task: Task
    remarks: tuple[str, ...] = ()


def known_workspaces(root: Path) -> list[Known]:
    """Those in this repository, the most certain first.

    `server.foreign` reads the formats. Until it is there, none is known: importing `find_workspaces` from it and
    returning `[_known(one) for one in find_workspaces(root)]` is all that is missing here.
    """
    del root
    return []
