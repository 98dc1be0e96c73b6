"""program.md as text: a front matter with a comment above each field, and the goal below it."""

import json
import re

from server.task.definition import Task

_PLAIN = re.compile(r"[A-Za-z][\w./*@%+=,~^ -]*")
_PLAIN_IN_LIST = re.compile(r"[A-Za-z.][\w./*@%+=~^-]*")
_NO_STRINGS = ("null", "Null", "NULL")
_HEAD = """\
# What is measured, how, and on which files. docs/tasks.md has every field; after a change: autoresearch doctor"""
_COMMENTS = {
    "name": "Name of this task.",
    "build": "Runs once for each candidate, before the measurement; it may write into the folder {out}.",
    "command": "Runs confined, in a fresh copy of the commit, without the network and without your home folder.",
    "checks": "Runs before and after the measurement: a candidate that fails it is not kept. It is not timed.",
    "metric": "The number's name; its unit; its source: `printed` by the command, or read by the referee itself.",
    "direction": "Which numbers are better.",
    "scale": "Scores are compared by their ratio, as for times; `linear` compares their difference.",
    "repeats": "How often the command runs for one score, which is the median.",
    "paired": "Candidate and incumbent take turns in each run, so that a drift of the machine affects both.",
    "editable": "What the agent may change, add and delete.",
    "off_limits": "Exceptions. Files that `command` and `checks` name are never editable.",
    "link": "Folders outside git that the commands need; they can only be read.",
    "network": "The commands may use the network; every row says so.",
    "home": "The commands may read your home folder: every row says so.",
    "budget_seconds": "The limit of all runs of the command for one score, in seconds.",
    "stop": "What ends the study.",
}
_OF_PAIRS = "How many pairs of runs make one score."


def program_text(task: Task, goal: str, remark: str = "") -> str:
    """The whole file.

    Args:
        goal: for the agent, in the operator's words. remark: what was found out about the noise; empty: nothing.
    """
    lines = ["---", _HEAD]
    for name, value in _fields(task).items():
        comment = _OF_PAIRS if name == "repeats" and task.paired else _COMMENTS[name]
        lines += [f"# {comment}", *([f"# {remark}"] if name == "repeats" and remark else []), f"{name}: {value}"]
    return "\n".join([*lines, "---", "", f"# {task.name}", "", goal.strip(), ""])


def _fields(task: Task) -> dict[str, str]:
    """The fields that a reader should see, each as YAML has it."""
    told: dict[str, str] = {"name": scalar(task.name)}
    told |= {name: scalar(getattr(task, name)) for name in ("build", "command", "checks") if getattr(task, name)}
    told |= {"metric": _metric(task), "direction": task.direction, "scale": task.scale}
    told |= {"repeats": str(task.repeats)} | ({"paired": "true"} if task.paired else {})
    lists = {name: getattr(task, name) for name in ("editable", "off_limits", "link")}
    told |= {name: f"[{', '.join(scalar(one, listed=True) for one in some)}]" for name, some in lists.items() if some}
    told |= {name: "true" for name in ("network", "home") if getattr(task, name)}
    told |= {"budget_seconds": f"{task.budget_seconds:g}"}
    return told | ({"stop": f"{{hours: {task.stop.hours:g}}}"} if task.stop.hours else {})


def _metric(task: Task) -> str:
    parts = {"name": scalar(task.metric.name, listed=True)}
    parts |= {"unit": scalar(task.metric.unit, listed=True)} if task.metric.unit else {}
    parts |= {"source": str(task.source)}
    return f"{{{', '.join(f'{name}: {value}' for name, value in parts.items())}}}"


def scalar(text: str, listed: bool = False) -> str:
    """A string as YAML has it: bare where nothing can be misread, else in quotes."""
    plain = (_PLAIN_IN_LIST if listed else _PLAIN).fullmatch(text) is not None
    if plain and text not in _NO_STRINGS and text == text.strip():
        return text
    return "".join(one if one.isprintable() else _escaped(one) for one in json.dumps(text, ensure_ascii=False))


def _escaped(letter: str) -> str:
    """As YAML has it: JSON would write two halves of what lies beyond \\uffff."""
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}"
