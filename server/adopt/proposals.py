"""What is proposed for each question: from another tool's workspace if there is one, else from what is there."""

import re
from collections.abc import Mapping
from typing import Any

from server.adopt import interview
from server.adopt.candidates import Candidate, look_for_commands
from server.adopt.folders import links, look_for_folders
from server.adopt.interview import Given, Question
from server.adopt.known_formats import Known, known_workspaces
from server.adopt.project import Project
from server.errors import WorkspaceUnusable
from server.task.upstream import upstream_shape
from server.vcs.checkout import Checkout
from trainer.text import glob_matches

_SHOWN = 5
_WORD = re.compile(r"[\w@%+./-]+")
_ENVIRONMENTS = (".venv", "venv")
AS_IT_IS = (
    "`autoresearch serve` uses the repository as it is, and `autoresearch doctor` says what is missing. A program.md "
    "written here overrides the settings in its files."
)


class Proposals:
    """Those for one repository."""

    def __init__(self, checkout: Checkout, given: Given) -> None:
        """Raises WorkspaceUnusable: the format that was asked for is not there."""
        self.project = Project(checkout.root, checkout.files, checkout.new_files())
        self.link = list(given.link) if given.link is not None else links(self.project)
        found = look_for_commands(self.project, self._python())
        self._measures, self._checks = found.measures, found.checks
        self._folders = look_for_folders(self.project)
        self._known = known_workspaces(checkout.root)
        self._chosen = self._choose(given.format)
        if self._chosen and given.link is None:
            self.link = list(dict.fromkeys([*self._chosen.task.link, *self.link]))
        self._submodules = checkout.submodules

    @property
    def remarks(self) -> list[str]:
        """What the operator should know before the first question."""
        told: list[str] = []
        if upstream_shape(self.project.root):
            told.append(f"prepare.py and train.py have the shape of karpathy/autoresearch's: {AS_IT_IS}")
        if self._chosen:
            told.append(f"This is a workspace of {self._chosen.format} ({', '.join(self._chosen.files)}).")
            told.append(f"Without a program.md {AS_IT_IS} Also of bounds on further numbers and of limits.")
            told += self._chosen.remarks
        if others := [one.format for one in self._known if one is not self._chosen]:
            told.append(f"There is also a workspace of {', '.join(others)}: --format {others[0]} proposes its values.")
        if self._submodules:
            told.append(
                f"Submodules are left out of a run: {', '.join(self._submodules)}. Copy what a run needs from them "
                "into the repository."
            )
        return told

    @property
    def measure(self) -> dict[str, Any]:
        """What the metric is called and which numbers are better, as fields of a task, where a workspace says so."""
        task = self._chosen.task if self._chosen else None
        return {name: getattr(task, name) for name in ("metric", "direction") if task and name in task.model_fields_set}

    def question(self, name: str, answers: Mapping[str, str]) -> Question:
        """A question with its default. `answers`: to those before it."""
        found = {
            "goal": self._goal,
            "command": self._command,
            "build": self._build,
            "checks": self._gate,
            "editable": self._editable,
            "off_limits": self._off_limits,
        }
        return interview.question(name, *found[name](answers))

    def checks_proposed(self, checks: str) -> bool:
        """Whether these checks were proposed here, and can be left out again."""
        return any(checks == one.command for one in self._checks)

    def _choose(self, format: str | None) -> Known | None:
        if format is None:
            return self._known[0] if self._known else None
        chosen = next((one for one in self._known if one.format == format), None)
        if chosen is None:
            known = ", ".join(one.format for one in self._known) or "none of a known tool"
            raise WorkspaceUnusable(f"There is no workspace of {format} here.", f"There is {known}: correct --format.")
        return chosen

    def _python(self) -> str:
        found = next((name for name in self.link if name in _ENVIRONMENTS), "")
        return f"{found}/bin/python" if found else "python3"

    def _goal(self, _: Mapping[str, str]) -> tuple[str, str]:
        return (self._chosen.goal, self._chosen.format) if self._chosen else ("", "")

    def _command(self, _: Mapping[str, str]) -> tuple[str, str]:
        if self._chosen and self._chosen.task.command:
            return self._chosen.task.command, self._chosen.format
        return _first(self._measures)

    def _build(self, answers: Mapping[str, str]) -> tuple[str, str]:
        if self._chosen:
            return self._chosen.task.build, ""
        command = answers.get("command") or self._command({})[0]
        found = next((one for one in self._measures if one.command == command), None)
        return (found.build, "") if found else ("", "")

    def _gate(self, answers: Mapping[str, str]) -> tuple[str, str]:
        if self._chosen:
            return self._chosen.task.checks, ""
        command = answers.get("command") or self._command({})[0]
        return _first([one for one in self._checks if one.command != command])

    def _editable(self, _: Mapping[str, str]) -> tuple[str, str]:
        if self._chosen and "editable" in self._chosen.task.model_fields_set:
            return ", ".join(self._chosen.task.editable), self._chosen.format
        return ", ".join(self._folders.editable), ""

    def _off_limits(self, answers: Mapping[str, str]) -> tuple[str, str]:
        """Those that were found, and what measures or checks, where the agent could change it."""
        known = self._chosen.task.off_limits if self._chosen else []
        found = list(dict.fromkeys([*known, *self._folders.off_limits]))
        editable = interview.parts(answers.get("editable", ""))
        for path in self.made_of(answers):
            if glob_matches(editable, path) and not glob_matches(found, path):
                found.append(path)
        return ", ".join(found), ""

    def made_of(self, answers: Mapping[str, str]) -> list[str]:
        """The files that the commands of some answers name, or are known to read."""
        commands = [answers.get(name, "") for name in ("command", "checks", "build")]
        named = {word.removeprefix("./") for told in commands for word in _WORD.findall(told)}
        known = [one for one in (*self._measures, *self._checks) if one.command in commands]
        named |= {file for one in known for file in one.files}
        return [path for path in self.project.paths if path in named]


def _first(found: list[Candidate]) -> tuple[str, str]:
    """The first of some commands, where it comes from, and the others."""
    if not found:
        return "", ""
    others = [f"`{one.command}`" for one in found[1:_SHOWN]]
    return found[0].command, found[0].why + (f"; there are also {', '.join(others)}" if others else "")
