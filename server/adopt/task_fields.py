"""Answers as a task of program.md, and what of it is not possible in a repository."""

from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Any

from pydantic import ValidationError

from server.adopt import interview
from server.adopt.interview import Given
from server.errors import WorkspaceUnusable
from server.source.editable import OF_TASKS, Editable
from server.task import requirements
from server.task.definition import Task
from server.task.fields import FieldError
from server.vcs.checkout import Checkout

_NO_COMMAND = (
    "Write a script that prints `METRIC ms=12.3`, commit it, and name it with --command 'bash bench.sh': "
    "docs/own-goal.md shows one."
)
_NO_FILES = "Name them with --editable, as in --editable 'src/**'."


def as_task(answers: Mapping[str, str], given: Given) -> Task:
    """The task of some answers, which its command prints a number for.

    Raises:
        WorkspaceUnusable: a question has no answer, or one that program.md cannot have.
    """
    if not answers.get("command"):
        raise WorkspaceUnusable("No command that measures something was given, and none was found.", _NO_COMMAND)
    if not interview.parts(answers.get("editable", "")):
        raise WorkspaceUnusable("No file that the agent may change was given, and none was found.", _NO_FILES)
    texts = {name: answers[name] for name in ("name", "command", "build", "checks") if answers.get(name)}
    lists = {name: list(interview.parts(answers.get(name, ""))) for name in interview.LISTS}
    allowed = {name: True for name in ("network", "home") if getattr(given, name)}
    fields: dict[str, Any] = {**texts, **lists, **allowed}
    return changed(None, **fields, budget_seconds=given.limit_seconds, stop={"hours": given.hours})


def changed(task: Task | None, **fields: Any) -> Task:
    """A task with other fields, without those that are None. Raises WorkspaceUnusable: program.md cannot have it so."""
    before = task.model_dump(exclude_unset=True) if task else {}
    try:
        return Task.model_validate({name: value for name, value in {**before, **fields}.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        path = cause.path if isinstance(cause, FieldError) else first["loc"]
        name = str(path[0]) if path else "program.md"
        told = str(cause) if isinstance(cause, FieldError) else first["msg"]
        step = f"Correct {interview.option(name)}." if name in Given.model_fields else "Correct the answer."
        raise WorkspaceUnusable(f"{name}: {told}.", step) from None


def require_possible(task: Task, checkout: Checkout, made_of: Sequence[str]) -> None:
    """Refuse a task that this commit lacks something for. Raises WorkspaceUnusable.

    Args:
        made_of: files that its commands need.
    """
    files = checkout.files
    if new := [path for path in made_of if path not in files]:
        raise WorkspaceUnusable(
            f"git does not have {', '.join(new)}, and a run sees what git has.",
            f"Commit it: `git add {' '.join(map(quote, new))} && git commit -m 'Add what measures'`; then call again.",
        )
    for lack in requirements.lacking(task, checkout.root, files):
        if lack.fatal:
            raise WorkspaceUnusable(f"{lack.problem}.", f"{lack.remedy[0].upper()}{lack.remedy[1:]}.")
    checkout.require_usable(Editable(task.editable, dict.fromkeys(task.off_limits, "off limits"), limits=OF_TASKS))
