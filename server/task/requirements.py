"""What a task needs of its repository and its machine, and what of that is not there: found before anything runs."""

import ast
import re
import shlex
import shutil
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from server.records import Value
from server.task import upstream
from server.task.definition import Task
from server.task.task_words import run_in_words
from trainer.contract import Referee
from trainer.text import glob_matches

_SHOWN = 5  # files that are named
_MOST_BYTES = 1 << 20  # of a judge
_FUNCTIONS = ("cases", "score")
_SCRIPT = re.compile(r"[\w@+][\w@+./-]*\.(sh|bash|py|js|mjs|ts|rb|pl|lua|php|r|R|jl)")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
# Words that a shell knows itself, and those after which the command comes.
_OF_SHELLS = set(
    ". : [ [[ { ( ! alias bg break case cd command continue do done echo elif else esac eval exec exit export false fi "
    "for function getopts hash if in kill local printf pwd read readonly return set shift source test then time times "
    "trap true type ulimit umask unset until wait while".split()
)


class Lack(Value):
    """One thing that is not there, or not as it should be, and what the operator does."""

    problem: str
    remedy: str
    fatal: bool = True  # nothing can be measured


def editable_files(task: Task, files: Collection[str]) -> list[str]:
    """Those of git's files that the agent may change."""
    return [path for path in files if task.may_edit(path)]


def named(files: list[str]) -> str:
    """Some files by name, and how many there are."""
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    return f"{', '.join(files[:_SHOWN])}{more}"


def lacking(task: Task, root: Path, files: Collection[str]) -> Iterator[Lack]:
    """What is not there for a task that is no language model's.

    Args:
        root: folder of the repository. files: those that git has, by path.
    """
    if task.kind is Referee.SEALED:
        return
    if task.kind is Referee.KARPATHY:
        for problem, remedy, fatal in upstream.lacking(task, root, files):
            yield Lack(problem=problem, remedy=remedy, fatal=fatal)
        return
    files = {*files, *task.brought}
    yield from _editable(task, files)
    for field in ("judge", "hidden_final"):
        if judge := str(getattr(task, field)):
            yield from _judge(field, judge, root, files)
    for field in ("build", "checks", "command", "worker"):
        yield from _command(field, str(getattr(task, field)), root, files)
    yield from _own_measure(task, files)
    yield from _surroundings(task, root, files)


def _surroundings(task: Task, root: Path, files: Collection[str]) -> Iterator[Lack]:
    for path in task.link:
        if not (root / path).exists():
            yield Lack(
                problem=f"link: there is no {path} in {root.absolute()}",
                remedy=f"create {path}, or remove it from `link`",
            )
    for path in task.hidden:
        linked = any(path == link or path.startswith(f"{link}/") for link in task.link)
        if not linked and not any(glob_matches([path], file) for file in files):
            yield Lack(problem=f"hidden: {path} matches no file in git", remedy="correct `hidden`, or commit the files")
    for wanted, what in ((task.network, "the network"), (task.home, "the operator's home folder")):
        if wanted:
            remedy = (
                "leave it out if the task works without it: the referee does not see what the code sends or reads there"
            )
            yield Lack(problem=f"program.md lets the runs use {what}", remedy=remedy, fatal=False)


def _editable(task: Task, files: Collection[str]) -> Iterator[Lack]:
    for glob in task.editable:
        if set("*?[") & set(glob) and not any(glob_matches([glob], file) for file in files):
            yield Lack(
                problem=f"editable: {glob} matches no file in git",
                remedy="correct `editable`, or commit the files: paths begin at the top of the repository",
                fatal=not editable_files(task, files),
            )
        elif not any(glob_matches([glob], file) for file in files):
            yield Lack(problem=f"editable: git has no {glob}", remedy=f"commit {glob}, or correct `editable`")
    if not editable_files(task, files):
        yield Lack(problem="there is no file that the agent may change", remedy="correct `editable` and `off_limits`")


def _judge(field: str, judge: str, root: Path, files: Collection[str]) -> Iterator[Lack]:
    if judge not in files:
        yield Lack(problem=f"{field}: git has no {judge}", remedy=f"commit {judge}, or correct `{field}`")
        return
    try:
        text = (root / judge).read_bytes()[:_MOST_BYTES]
        known = {name for node in ast.parse(text).body for name in _names(node)}
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        yield Lack(problem=f"{field}: {judge} cannot be read: {error}", remedy=f"correct {judge} and commit it")
        return
    if "*" not in known and (gone := [name for name in _FUNCTIONS if name not in known]):
        told = " and ".join(f"`{name}`" for name in gone)
        remedy = "a judge needs the functions cases(seed) and score(answer, truth): see docs/tasks.md"
        yield Lack(problem=f"{field}: {judge} has no {told}", remedy=remedy)


def _names(node: ast.stmt) -> Iterator[str]:
    """The names that a statement at the top level gives something to."""
    match node:
        case ast.FunctionDef() | ast.ClassDef() | ast.AsyncFunctionDef():
            yield node.name
        case ast.Assign() | ast.AnnAssign():
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        case ast.Import() | ast.ImportFrom():
            yield from (alias.asname or alias.name for alias in node.names)
        case ast.If() | ast.Try() | ast.With():
            yield from (name for part in node.body for name in _names(part))
        case _:
            pass


def _command(field: str, command: str, root: Path, files: Collection[str]) -> Iterator[Lack]:
    words = _words(command)
    first = next((word for word in words if not _ASSIGNMENT.match(word)), "")
    if first and not _is_there(first, root, files):
        where = f"git has no {first}" if "/" in first else f"there is no program {first} on PATH"
        yield Lack(problem=f"{field}: {where}", remedy=f"install it or commit it, or correct `{field}`")
        return
    for word in words:
        if _SCRIPT.fullmatch(word) and word.removeprefix("./") not in files and word != first:
            remedy = f"commit {word}, because a run sees only what git has; or correct `{field}`"
            yield Lack(problem=f"{field}: git has no {word}", remedy=remedy, fatal=word in words[1:2])


def _words(command: str) -> list[str]:
    with suppress(ValueError):  # quotes that do not close, or a text of several lines: the shell will say so
        return shlex.split(command, comments=True)
    return []


def _is_there(word: str, root: Path, files: Collection[str]) -> bool:
    """Whether the first word of a command is a program, as far as that can be told without a shell."""
    if word in _OF_SHELLS or re.search(r"[{}$`*;|&<>()=]", word):
        return True
    if "/" not in word:
        return shutil.which(word) is not None
    if word.startswith("/"):
        return Path(word).exists()
    path = word.removeprefix("./")
    return path in files or not path or (root / path).is_dir()


def _own_measure(task: Task, files: Collection[str]) -> Iterator[Lack]:
    """A script that prints the number and may be changed by whom it measures."""
    for field in ("command", "checks"):
        scripts = [word.removeprefix("./") for word in _words(getattr(task, field)) if _SCRIPT.fullmatch(word)]
        for script in scripts:
            if script in files and task.may_edit(script):
                yield Lack(
                    problem=f"{field}: the agent may change {script}, and so change what is measured",
                    remedy=f"add {script} to `off_limits`, unless it is part of the candidate",
                    fatal=False,
                )


def to_try(task: Task) -> str:
    """The shell words with which an operator sees whether the baseline builds and passes its checks."""
    steps = [step for step in (task.build, task.checks, task.command) if step]
    if not steps:
        return ""
    begin = ["git clone --quiet . /tmp/try", "cd /tmp/try"]
    if any("{out}" in step for step in steps):
        begin.append("mkdir /tmp/try.out")
    filled = [step.replace("{out}", "/tmp/try.out").replace("{python}", "python3") for step in steps]
    return " && ".join([*begin, *filled])


def other_workspaces(root: Path, files: Collection[str]) -> str:
    """What a workspace without a Session is, where that can be told, and how it can be measured here."""
    if upstream.upstream_shape(root):
        return (
            "this is karpathy/autoresearch's repository, or made after it, but the front matter of program.md makes "
            "it one of our language models: without a front matter, or with `referee: karpathy`, it is used as it is"
        )
    if gone := upstream.near_miss(root):
        return (
            "this is made after karpathy/autoresearch's repository, and could be used as it is if prepare.py had "
            f"{gone}; until then `command: python train.py` measures what it prints, with the trust `printed`"
        )
    for script in (".auto/measure.sh", "autoresearch.sh"):
        if script in files:
            return (
                f"{script} belongs to another tool, but the front matter of program.md makes this one of our "
                "language models: without a front matter, or with `format: pi-autoresearch`, the workspace is used "
                "as it is"
            )
    return ""


def describe_run(task: Task) -> str:
    """What a run will do, for the operator."""
    told = run_in_words(task)
    if task.kind is Referee.KARPATHY:
        return f"{told}; {upstream.promises(task)}"
    return f"{told}; {task.budget_seconds:g} s at most"
