"""program.md: the human's instructions, and in its YAML front matter the definition of the task."""

import codecs
import difflib
import hashlib
import reprlib
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from server.errors import ProgramInvalid
from server.paths import StudyPaths
from server.records import Value
from server.task.definition import Task
from server.task.fields import FieldError, MetricField, Range, WatchedFigure
from server.task.front_matter import FrontMatter, split
from server.task.policy import Guardrail, StopLimits
from server.task.requirements import Lack
from server.task.upstream import completed

MAX_BYTES = 256 * 1024


class Program(Value):
    """program.md as it was read."""

    task: Task
    text: str  # as it is in the file
    body: str  # without the front matter
    bare: bool  # it has none: all of the task is defaults
    sha256: str
    format: str = ""  # of another tool, whose files define the task; empty: program.md does
    remarks: tuple[Lack, ...] = ()  # what such files cannot be promised, and what was guessed

    @property
    def gist(self) -> str:
        """The first line of its body that says something: a heading, or a sentence."""
        return next((words for line in self.body.splitlines() if (words := line.strip("#*=- \t"))), "")


def load(path: Path, state: Path | None = None) -> Program:
    """Read program.md. A file without front matter gets the defaults.

    Args:
        state: folder of the study that it is read for; if that has had a front matter before, the file must have one.

    Raises:
        ProgramInvalid: names the file, and where it can, line and field.
    """
    return parsed(path, read(path), state)


def parsed(path: Path, text: str, state: Path | None = None) -> Program:
    """As `load`, of a program.md whose text was read."""
    found = _parse(text, path)
    if found.bare and state is not None and remembered(state) is not None:
        raise front_matter_gone(path)
    task = completed(found.task, found.bare, path.parent)
    return found if task is found.task else found.model_copy(update={"task": task})


def front_matter_gone(path: Path) -> ProgramInvalid:
    """The refusal of a program.md that has lost its front matter in mid-study."""
    return ProgramInvalid(
        f"{path.name} no longer has the front matter that this study began with: its limits would be lost.",
        "The operator must restore it. For the defaults, write two lines --- with nothing between them.",
    )


def front_matter(path: Path, text: str) -> dict[str, Any] | None:
    """The fields of a program.md's text as written; None where it has no front matter. Raises ProgramInvalid."""
    return _split(text, path).fields


def explained(path: Path, text: str, error: ValidationError) -> ProgramInvalid:
    """The refusal for fields of program.md that are wrong, with the line of each."""
    found = _split(text, path)
    return _invalid(path, "; ".join(_explain(found, dict(one)) for one in error.errors()))


def remembered(state: Path) -> str | None:
    """Whose front matter the study in this folder has had: "" ours, or the format of another tool; None: none."""
    with suppress(OSError, ValueError):
        return StudyPaths(state).front_matter.read_text(encoding="utf-8").strip()
    return "" if StudyPaths(state).front_matter.exists() else None


def remember(state: Path, found: Program) -> Program:
    """Note in the folder of a study that it has had a front matter: if that is gone later, `load` refuses.

    Returns:
        `found`.
    """
    paths, whose = StudyPaths(state), found.format if found.bare else ""
    known = remembered(state)
    if paths.ledger.exists() and (known is None or (known and not whose)) and (whose or not found.bare):
        with suppress(OSError):  # a full disk: the next call tries again
            paths.front_matter.write_text(whose, encoding="utf-8")
    return found


@lru_cache(maxsize=1)  # what a call reads is nearly always what the last one has read, and YAML is slow
def _parse(text: str, path: Path) -> Program:
    found = _split(text, path)
    try:
        task = Task.model_validate(found.fields or {})
    except ValidationError as error:
        raise _invalid(path, "; ".join(_explain(found, dict(one)) for one in error.errors())) from None
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return Program(task=task, text=text, body=found.body, bare=found.fields is None, sha256=sha256)


@lru_cache(maxsize=1)
def _split(text: str, path: Path) -> FrontMatter:
    try:
        return split(text, Task.model_fields)
    except ValueError as error:
        raise _invalid(path, str(error)) from None


def read(path: Path) -> str:
    """The text of program.md. Raises ProgramInvalid: there is none, or it cannot be read as text."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ProgramInvalid(
            f"There is no {path.name} in {path.parent.resolve()}.",
            "Name the workspace with --workspace, or make one with `autoresearch init DIR`; `autoresearch adopt` "
            "writes a program.md for your own repository.",
        ) from None
    except OSError as error:
        raise _invalid(path, f"cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise _invalid(path, f"has {len(data)} bytes, {MAX_BYTES} are allowed")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _invalid(path, "is UTF-16: save it as UTF-8")
    if (at := data.find(b"\0")) >= 0:
        raise _invalid(path, f"line {len(data[:at].splitlines()) or 1}: it has a NUL byte: save it as UTF-8 text")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _invalid(path, f"is not UTF-8 (byte {error.start})") from None


def _explain(found: FrontMatter, error: dict[str, Any]) -> str:
    """One error of pydantic's, with the line and the field as the file names it."""
    cause = error.get("ctx", {}).get("error")
    path = cause.path if isinstance(cause, FieldError) else error["loc"]
    names = [str(step) for step in path] or ["front matter"]
    where = f"line {found.line(path)}, {'.'.join(names)}"
    if isinstance(cause, FieldError):
        return f"{where}: {cause}"
    if error["type"] != "extra_forbidden":
        return f"{where}: {error['msg']}, got {reprlib.repr(error['input'])}"
    inner = {
        "stop": StopLimits,
        "knobs": Range,
        "guardrails": Guardrail,
        "metric": MetricField,
        "metrics": WatchedFigure,
    }
    known = (inner[names[0]] if len(names) > 1 else Task).model_fields
    near = [name for name in known if name.startswith(names[-1])] or difflib.get_close_matches(names[-1], known, n=1)
    hint = f", did you mean {near[0]}?" if near else f"; the fields are {', '.join(known)}"
    return f"{where}: there is no such field{hint}"


def _invalid(path: Path, problem: str) -> ProgramInvalid:
    return ProgramInvalid(f"{path.name} {problem}.", "Correct the file; the next call reads it again.")
