"""What is asked before a program.md can be written: the questions, and answers by options."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from server.records import Value
from server.text import printable

COMMAND = "autoresearch adopt"
NONE = "-"  # an answer that wants none of what is proposed
_MOST = 4000  # characters of an answer
_RUNS = (
    "It runs the command several times, confined, for about a minute, finds the metric and its noise, and writes "
    "program.md. Show its output to the human. If it fails, it says what to change: change that option, and run it "
    "again. Commit only if the human agrees (--commit). Then run `autoresearch doctor` in that folder."
)


class Question(Value):
    """One question. `option` answers it on the command line."""

    name: str
    text: str
    option: str
    default: str = ""
    about: str = ""  # what the default comes from, and what else was found


class Given(Value):
    """What the operator has said by options; None: nothing."""

    goal: str | None = None
    command: str | None = None
    build: str | None = None
    checks: str | None = None
    metric: str | None = None  # of a printed number its name; or cpu, wall, memory
    unit: str | None = None
    direction: str | None = None
    editable: tuple[str, ...] | None = None
    off_limits: tuple[str, ...] | None = None
    link: tuple[str, ...] | None = None
    format: str | None = None  # of another tool, whose values are proposed
    network: bool = False
    home: bool = False
    limit_seconds: float = 300.0  # of one run of the command
    noise_seconds: float = 60.0  # that measuring the noise may take; 0: it is not measured
    hours: float = 8.0  # of the night

    def words(self, more: Mapping[str, str]) -> list[str]:
        """The command line that says the same, and `more`, by question."""
        told = {name: value for name, value in self.model_dump().items() if isinstance(value, str)}
        told |= {name: ", ".join(some) for name in LISTS if (some := getattr(self, name))}
        told = {**told, **more}
        usual = Given()
        numbers = ("limit_seconds", "noise_seconds", "hours")
        told |= {name: f"{value:g}" for name in numbers if (value := getattr(self, name)) != getattr(usual, name)}
        words = [word for name, value in told.items() for word in (option(name), value)]
        return words + [option(name) for name in ("network", "home") if getattr(self, name)]


LISTS = ("editable", "off_limits", "link")
TEXTS = {
    "goal": "What should the agent improve? A sentence or two.",
    "command": "Which command measures it? It runs at the top of the repository.",
    "build": "Which command builds it first? A dash for none.",
    "checks": "Which command checks that the code still works? A dash for none.",
    "editable": "Which files may the agent change? Globs, separated by commas.",
    "off_limits": "Which of them may it not change? Globs, separated by commas; a dash for none.",
    "metric": "Which number is the metric? The name of a printed number; or cpu, wall or memory.",
    "direction": "Which numbers are better, lower or higher?",
}


def option(name: str) -> str:
    """How a question is answered on the command line."""
    return f"--{name.removesuffix('_seconds').replace('_', '-')}"


def question(name: str, default: str = "", about: str = "") -> Question:
    """One of the questions, with what is proposed."""
    return Question(name=name, text=TEXTS[name], option=option(name), default=default, about=about)


def parts(told: str) -> tuple[str, ...]:
    """The globs or paths of an answer; a comma within brackets parts nothing."""
    inner = re.fullmatch(r"\[([^\[\]]*)\]", told.strip())  # as YAML has a list
    words = re.split(r",(?![^\[\]]*\])", inner[1] if inner else told)
    return tuple(word for part in words if (word := part.strip(" \"'")))


def command_line(folder: str, words: Sequence[str]) -> str:
    """A call of `adopt`, for a shell."""
    return " ".join([COMMAND, *map(shlex.quote, (folder, *words))])


def without_answers(folder: str, questions: Sequence[Question], given: Given) -> list[str]:
    """What is told where nobody can be asked: each question, its default, and how it is answered. A line each."""
    lines = [f"There is no terminal to ask in, so nothing was run or written. The questions of {COMMAND}:"]
    for one in questions:
        about = f" ({one.about})" if one.about else ""
        lines += [f"  {one.text}", f"      {one.option} {shlex.quote(one.default)}{about}"]
    call = command_line(folder, [*given.words({}), "--yes"])
    return [
        *lines,
        f"To accept the proposals, and run the command: {call}",
        "An option before --yes changes a proposal.",
    ]


class Place(Value):
    """Where a study is to be set up by an agent, and what would be asked."""

    name: str  # of the folder
    asked: tuple[Question, ...]
    options: tuple[str, ...] = ()  # of the call, beside the answers

    def form(self) -> dict[str, Any]:
        """The questions as a JSON schema of flat strings, which is all that a form of a client may be."""
        fields: dict[str, Any] = {}
        for one in self.asked:
            fields[one.name] = {"type": "string", "title": one.text, "maxLength": _MOST}
            fields[one.name] |= {"description": printable(one.about)} if one.about else {}
            fields[one.name] |= {"default": one.default} if one.default else {}
        return {"type": "object", "properties": fields, "required": ["goal", "command"]}

    def answered(self, content: Mapping[str, Any]) -> str:
        """What an agent does once the form was filled in."""
        told = {one.name: content.get(one.name) for one in self.asked}
        answers = {  # an answer that was emptied says none of what was proposed
            one.name: str(told[one.name])[:_MOST]
            for one in self.asked
            if told[one.name] or (told[one.name] is not None and one.default)
        }
        call = command_line(self.name, [*Given().words(answers), *self.options, "--yes"])
        return f"The human has answered. Run this in a shell, or ask the human to run it:\n\n    {call}\n\n{_RUNS}"

    def instructions(self) -> str:
        """What an agent does where the client shows no form."""
        lines = [
            f"Help the human to set up a study for a goal of their own in {self.name}. Ask these questions in one "
            "message, with the proposals. The proposals come from the repository's files; nothing was run. An empty "
            "answer leaves the option out.",
            "",
        ]
        for one in self.asked:
            proposed = f" Proposed: {shlex.quote(printable(one.default))}." if one.default else ""
            about = f" ({printable(one.about)})" if one.about else ""
            lines.append(f"- {one.text}{proposed}{about} Answer: {option(one.name)}")
        call = " ".join([command_line(self.name, self.options), "--goal '...' --command '...'", "--yes"])
        return "\n".join([*lines, "", f"Then run, with the answers: {call}", _RUNS])
