"""program.md: the human's instructions, and in its YAML front matter the definition of the task."""

import difflib
import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import yaml
from frontmatter.default_handlers import YAMLHandler
from pydantic import Field, ValidationError, model_validator

from server.errors import ProgramInvalid
from server.records import Value
from server.task.policy import KeepRule, StopLimits

MAX_BYTES = 256 * 1024
_Seconds = Annotated[float, Field(gt=0, le=86400)]


class Range(Value):
    """What a search may set a constant of train.py to: a stretch of numbers, or one of some choices."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    integer: bool = False
    choices: list[float | int | str] = Field(default_factory=list[float | int | str])

    @model_validator(mode="after")
    def _is_one(self) -> "Range":
        if not self.choices and not self.low < self.high:
            raise ValueError("give low < high, or choices")
        if self.log and self.low <= 0:
            raise ValueError("a logarithmic stretch begins above 0")
        return self


class Task(KeepRule):
    """The front matter. Times in seconds."""

    name: str = Field(default="pretraining", min_length=1, max_length=100)
    metric: Literal["val_bpb"] = "val_bpb"
    direction: Literal["lower"] = "lower"  # of val_bpb; the referee measures no score that is better when higher
    editable: str = Field(default="train.py", pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]*\.py$")
    budget_seconds: _Seconds = 300
    setup_seconds: _Seconds = 300
    evaluation_seconds: _Seconds = 300
    preflight: bool = True
    baseline_runs: int = Field(default=3, ge=1, le=10)
    stop: StopLimits = StopLimits()
    knobs: dict[str, Range] = Field(default_factory=dict[str, Range])  # for `autoresearch drive sweep`


class Program(Value):
    """program.md as it was read."""

    task: Task
    text: str
    sha256: str

    @property
    def gist(self) -> str:
        """The first line of its body that says something: a heading, or a sentence."""
        handler = YAMLHandler()
        body = handler.split(self.text)[1] if handler.detect(self.text) else self.text
        return next((words for line in body.splitlines() if (words := line.strip("#*=- \t"))), "")


def load(path: Path) -> Program:
    """Read program.md. A file without front matter gets the defaults.

    Raises:
        ProgramInvalid: names the file, and where it can, line and field.
    """
    text = _read(path)
    metadata = _front_matter(path, text)
    try:
        task = Task.model_validate(metadata)
    except ValidationError as error:
        raise _invalid(path, "; ".join(_explain(text, dict(found)) for found in error.errors())) from None
    return Program(task=task, text=text, sha256=hashlib.sha256(text.encode()).hexdigest())


def _front_matter(path: Path, text: str) -> dict[str, Any]:
    handler = YAMLHandler()
    if not handler.detect(text):
        return {}
    try:
        header = handler.split(text)[0]
        metadata = cast(object, handler.load(header) or {})
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1  # the header begins with the line end after the opening ---
        raise _invalid(path, f"line {line}: the front matter is no YAML: {getattr(error, 'problem', error)}") from None
    except ValueError:
        raise _invalid(path, "line 1: the front matter is not closed by a line ---") from None
    if not isinstance(metadata, dict):
        raise _invalid(path, "line 2: the front matter must be a mapping of fields to values")
    return cast("dict[str, Any]", metadata)


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ProgramInvalid(
            f"There is no {path.name} in {path.parent.resolve()}.",
            "Name the workspace with --workspace, or make one with `autoresearch init DIR`.",
        ) from None
    except OSError as error:
        raise _invalid(path, f"it cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise _invalid(path, f"it has {len(data)} bytes, {MAX_BYTES} are allowed")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _invalid(path, f"it is not UTF-8 (byte {error.start})") from None


def _explain(text: str, error: dict[str, Any]) -> str:
    field = str(error["loc"][0]) if error["loc"] else "front matter"
    line = next((n for n, line in enumerate(text.splitlines(), 1) if line.partition(":")[0].strip() == field), 1)
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(field, Task.model_fields, n=1)
        hint = f", did you mean {near[0]}?" if near else f"; known are {', '.join(Task.model_fields)}"
        return f"line {line}, {field}: there is no such field{hint}"
    return f"line {line}, {field}: {error['msg']}, got {error['input']!r}"


def _invalid(path: Path, problem: str) -> ProgramInvalid:
    return ProgramInvalid(f"{path.name} {problem}.", "Correct the file; the next call reads it again.")
