"""What is asked before a program.md can be written: the questions, and answers by options. Pure."""

import re
import shlex
from collections.abc import Mapping, Sequence

from server.records import Value

COMMAND = "autoresearch adopt"


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
    "goal": "What should become better? A sentence or two for the agent.",
    "command": "Which command measures it? It runs at the top of the repository.",
    "build": "What must be built before it can run? Empty: nothing.",
    "checks": "Which command says that the code still works? Empty: none.",
    "editable": "Which files may the agent change? Globs with commas between.",
    "off_limits": "Which of them may it not change? Globs with commas between; empty: none.",
    "metric": "Which number is the metric? The name of a printed one; or cpu, wall or memory, which the referee reads.",
    "direction": "Which numbers are better, lower or higher?",
}


def option(name: str) -> str:
    """How a question is answered on the command line."""
    return f"--{name.removesuffix('_seconds').replace('_', '-')}"


def question(name: str, default: str = "", about: str = "") -> Question:
    """One of the questions, with what is proposed."""
    return Question(name=name, text=TEXTS[name], option=option(name), default=default, about=about)


def plain_questions() -> list[Question]:
    """All of them, without a default."""
    return [question(name) for name in TEXTS]


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
    lines = [f"Nobody can be asked here, so nothing was run or written. {COMMAND} would ask:"]
    for one in questions:
        about = f" ({one.about})" if one.about else ""
        lines += [f"  {one.text}", f"      {one.option} {shlex.quote(one.default)}{about}"]
    call = command_line(folder, [*given.words({}), "--yes"])
    return [*lines, f"To take what is proposed, and to have it run: {call}", "An option in front of --yes changes it."]
