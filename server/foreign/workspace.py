"""A workspace in another tool's format: what its files say, and the task that comes of it."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from server.errors import ProgramInvalid
from server.foreign.reported import ReportedLog, read_log
from server.records import Value
from server.task.definition import Task
from server.task.fields import FieldError
from server.task.requirements import Lack

_COMMANDS = ("build", "command", "checks")
MOST_BYTES = 1 << 20  # of a file that is read as a whole
_EXAMPLES = {"direction": "higher", "editable": "[src/**]", "command": "bash bench.sh", "metric": "ms"}


class ForeignTask(Task):
    """The task of such a workspace."""

    format: str = ""
    found: str = ""  # why it was taken, as the end of a sentence
    pinned: dict[str, str] = Field(default_factory=dict[str, str])  # sha256 of files that git does not have

    started: tuple[str, ...] = ()  # the scripts that its commands start

    @property
    def kind_reason(self) -> str:
        return self.found

    @property
    def scripts(self) -> tuple[str, ...]:
        return tuple(path for path in self.started if not self.may_edit(path))

    @property
    def brought(self) -> Mapping[str, str]:
        return self.pinned

    @property
    def sha256(self) -> str | None:
        made = super().sha256
        if not self.pinned:
            return made
        return hashlib.sha256(f"{made} {sorted(self.pinned.items())}".encode()).hexdigest()[:16]


class ForeignWorkspace(Value):
    """A workspace of another tool, found in a folder."""

    format: str  # pi-autoresearch, codex-autoresearch, piloop, autoauto, or autoauto/PROGRAM where there are several
    files: tuple[str, ...]  # that were read, from the top of the repository
    goal: str  # their text
    task: Task
    remarks: tuple[Lack, ...]  # what cannot be promised, what was guessed, and what to allow
    log: Path | None = None  # of earlier attempts


@dataclass
class Draft:
    """What was read so far. A field that nothing was found for is in `missing`, with the sentence that asks for it."""

    format: str
    where: str  # the files that define it, in a sentence
    root: Path
    tracked: frozenset[str]
    below: str = ""  # the folder that its paths begin at; empty: the top of the repository
    goal: str = ""
    goal_file: str = ""
    files: list[str] = field(default_factory=list[str])
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    places: dict[str, str] = field(default_factory=dict[str, str])  # of a field: the file, and its line where known
    missing: dict[str, str] = field(default_factory=dict[str, str])
    remarks: list[tuple[str, Lack]] = field(default_factory=list[tuple[str, Lack]])  # the field that settles it, or ""
    texts: dict[str, str] = field(default_factory=dict[str, str])  # of its scripts
    pinned: dict[str, str] = field(default_factory=dict[str, str])
    wanted: list[str] = field(default_factory=list[str])  # what the scripts name, there or not
    log: Path | None = None
    rest: str = ""  # what else is there and how it is taken, to be added to a sentence

    def give(self, name: str, value: Any, place: str) -> None:
        """Note a field, and where it comes from."""
        self.fields[name], self.places[name] = value, place

    def remark(self, problem: str, remedy: str, settles: str = "") -> None:
        """Note something to be said that stops nothing. `settles`: the field in program.md that makes it untrue."""
        self.remarks.append((settles, Lack(problem=problem, remedy=remedy, fatal=False)))

    def path(self, name: str) -> str:
        """A name of its own as a path from the top of the repository."""
        return f"{self.below}/{name}" if self.below else name

    def read(self, name: str) -> str | None:
        """A file's text by its path from the top; None if there is none. Raises ProgramInvalid: it cannot be read."""
        text = read_text(self.root, name)
        if text is not None:
            self.files.append(name)
        return text

    def reported(self) -> ReportedLog:
        """Its log; an empty one where there is none."""
        if self.log is None:
            return ReportedLog(file="")
        return read_log(self.log, self.log.relative_to(self.root).as_posix())

    def looked_at(self) -> list[str]:
        """The files and folders that it was made from, by path: where one changes, it has to be made anew."""
        log = [self.log.relative_to(self.root).as_posix()] if self.log else []
        files = [*self.files, *self.texts, *self.pinned, *self.wanted, *log, *self.fields.get("link", [])]
        return [*files, *(os.path.dirname(name) for name in files), self.below, self.path(".auto")]

    def workspace(self, own: Mapping[str, Any] | None = None) -> ForeignWorkspace:
        """What comes of it, with the fields that a program.md of ours gives.

        Raises:
            ProgramInvalid: a field is missing, or one of theirs cannot be; says the file.
            ValidationError: one of ours cannot be, or one of each does not fit the other.
        """
        own = own or {}
        if lost := {name: told for name, told in self.missing.items() if name not in own}:
            raise ProgramInvalid(" ".join(dict.fromkeys(lost.values())), self.step(*lost))
        if isinstance(metric := own.get("metric"), str):  # what was read as a further figure may be the metric itself
            theirs = {name: told for name, told in self.fields.get("metrics", {}).items() if name != metric}
            own = {"metrics": theirs, **own}
        found = f"the workspace has {self.where} of {self.format}{self.rest}"
        fields = {"name": self.format, **self.fields, **own, "format": self.format, "found": found}
        try:
            started = [self.places.get(name, "") for name in _COMMANDS if name not in own]
            made = {"pinned": self.pinned, "started": [path for path in started if path in self.texts]}
            task = ForeignTask.model_validate({**fields, **made})
        except ValidationError as error:
            if (told := self._theirs(error, own)) is None:
                raise
            step = f"Correct the file, or give the field in a program.md that says `format: {self.format}`."
            raise ProgramInvalid(told, step) from None
        remarks = tuple(lack for settles, lack in self.remarks if not settles or settles not in own)
        return ForeignWorkspace(
            format=self.format, files=tuple(self.files), goal=self.goal, task=task, remarks=remarks, log=self.log
        )

    def _theirs(self, error: ValidationError, own: Mapping[str, Any]) -> str | None:
        """The first error that lies in a field of theirs alone, as a sentence; None if each has one of ours in it."""
        for one in error.errors():
            cause = one.get("ctx", {}).get("error")
            path = [str(part) for part in (cause.path if isinstance(cause, FieldError) else one["loc"])]
            if path and path[0] not in own and path[0] in self.places:
                why = cause if isinstance(cause, FieldError) else one["msg"]
                return f"{self.places[path[0]]}, {'.'.join(path)}: {why}."
        return None

    def step(self, *names: str) -> str:
        """How fields are given without a change to their files."""
        lines = ["---", f"format: {self.format}", *(f"{name}: {_EXAMPLES[name]}" for name in names), "---"]
        shown = ", ".join(f"`{line}`" for line in lines)
        return f"Write a program.md with the lines {shown}: it adds to their files, which stay as they are."


def read_text(root: Path, name: str) -> str | None:
    """A file's text; None if there is no such file. Raises ProgramInvalid: it is too large, no UTF-8, or unreadable."""
    path = root / name
    try:
        if not path.is_file():
            return None
        if (size := path.stat().st_size) > MOST_BYTES:
            raise ProgramInvalid(f"{name} has {size} bytes, {MOST_BYTES} are allowed.", "Shorten the file.")
        raw = path.read_bytes()
    except OSError as error:
        raise ProgramInvalid(f"{name} cannot be read: {error.strerror}.", "Restore access to the file.") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ProgramInvalid(f"{name}, line {line}: is not UTF-8.", "Save the file as UTF-8.") from None
