"""A program.md for a repository that has none: looked for, asked, tried, measured, written.

Nothing of the repository is run before somebody has agreed, and nothing but program.md is written into it.
"""

from pathlib import Path
from typing import Protocol

from server.adopt import interview
from server.adopt.interview import Given, Place, Question
from server.adopt.known_formats import known_workspaces
from server.adopt.measuring import Measured, Measuring
from server.adopt.program_text import program_text
from server.adopt.proposals import AS_IT_IS, Proposals
from server.adopt.task_fields import as_task, changed, require_possible
from server.adopt.trial_runs import TrialRuns
from server.errors import ProgramInvalid, WorkspaceUnusable
from server.files import write_whole
from server.task import program
from server.task.definition import Task
from server.task.upstream import upstream_shape
from server.text import printable
from server.vcs.checkout import Checkout

PROGRAM = "program.md"
_FIRST = ("goal", "command", "build", "checks", "editable", "off_limits")


class Dialogue(Protocol):
    """Whoever answers: a terminal, or the defaults."""

    @property
    def answers(self) -> bool:
        """Whether there is an answer to be had."""
        ...

    def ask(self, question: Question) -> str:
        """The answer, which is the default where nothing else is said."""
        ...

    def agree(self, text: str) -> bool:
        """Whether the operator agrees."""
        ...

    def say(self, line: str) -> None: ...


class Adoption:
    """One call of `adopt` on a checkout."""

    def __init__(self, checkout: Checkout, given: Given, dialogue: Dialogue, named: str = ".") -> None:
        """`named`: the folder as the operator has named it."""
        self._checkout, self._given, self._dialogue, self._named = checkout, given, dialogue, named
        self._answers: dict[str, str] = {}
        self._proposals = Proposals(checkout, given)

    def text(self) -> str:
        """The text of program.md; empty where nobody could be asked, which was said then.

        Raises:
            Unavailable: what was found or answered does not work: one sentence, and the next step.
        """
        for line in self._proposals.remarks:
            self._dialogue.say(line)
        if not self._dialogue.answers:
            questions = [self._proposals.question(name, {}) for name in _FIRST]
            for line in interview.without_answers(self._named, questions, self._given):
                self._dialogue.say(line)
            return ""
        for name in _FIRST:
            self._answer(name)
        draft = self._draft()
        require_possible(draft, self._checkout, self._proposals.made_of(self._answers))
        measured = self._measured(draft)
        goal = self._answers["goal"] or _goal(measured.task)
        return program_text(measured.task, goal, measured.remark)

    def _answer(self, name: str) -> None:
        """Take an option's answer, or ask."""
        told = getattr(self._given, name)
        if isinstance(told, tuple):
            told = ", ".join(str(one) for one in told)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        told = told if told is not None else self._ask(self._proposals.question(name, self._answers))
        self._answers[name] = "" if told.strip() == interview.NONE else told

    def _ask(self, question: Question) -> str:
        return self._dialogue.ask(question).strip()

    def _draft(self) -> Task:
        """The task so far, which the referee times by itself."""
        link = self._proposals.link
        name = printable(self._checkout.root.resolve().name)[:100] or "task"
        fields = {**self._answers, "name": name, "link": ", ".join(link)}
        return changed(as_task(fields, self._given), **self._proposals.measure)

    def _measured(self, draft: Task) -> Measured:
        told = f"Run `{draft.command}` several times, confined, in a copy of the commit? It takes about a minute."
        agreed = self._dialogue.agree(told)
        with TrialRuns(self._checkout) as runs:
            measuring = Measuring(draft, self._given, runs, self._ask, self._dialogue.say)
            if not agreed:
                return measuring.unmeasured()
            try:
                return measuring.measured(replaceable=self._proposals.checks_proposed(self._answers["checks"]))
            except WorkspaceUnusable as error:
                answers = {name: told for name, told in self._answers.items() if told}
                call = interview.command_line(self._named, self._given.words(answers))
                raise WorkspaceUnusable(error.problem, f"{error.next_step}\nYour answers so far: {call}") from None


def look(root: Path, folder: str = "") -> Place:
    """What would be asked, with what is proposed. Raises Unavailable.

    Args:
        root: of the repository that a server works in. folder: another one; empty: that one. Nothing is told of another
            one: who asks a server may have no other way to look into it.
    """
    if folder and Path(folder).absolute() != root.absolute():
        return Place(name=folder, asked=tuple(map(interview.question, interview.TEXTS)))
    with Checkout.open(root) as checkout:
        proposals = Proposals(checkout, Given())
        asked = {name: proposals.question(name, {}) for name in _FIRST}
    questions = tuple(asked.get(name) or interview.question(name) for name in interview.TEXTS)
    options = ("--print",) if (root / PROGRAM).exists() else ()  # it is never overwritten
    return Place(name=str(root.resolve()), asked=questions, options=options)


def _goal(task: Task) -> str:
    better = "higher" if task.direction == "higher" else "lower"
    return f"Make {task.metric.name} {better}, as `{task.command}` measures it. What the code does stays the same."


def require_no_program(root: Path) -> None:
    """Refuse to take the place of a program.md. Raises WorkspaceUnusable."""
    path = root / PROGRAM
    if not path.exists() and not path.is_symlink():
        return
    step = "`autoresearch doctor` says what it means; to start again, move it away, and call again."
    try:
        bare = program.load(path).bare
    except ProgramInvalid:
        bare = False
    if bare and (upstream_shape(root) or known_workspaces(root)):
        step = f"It has no front matter: {AS_IT_IS} If you want a front matter, move it away, and call again."
    elif bare:
        step = (
            "It has no front matter: `autoresearch adopt --print` shows one to put at its top; "
            "or move it away, and call again."
        )
    raise WorkspaceUnusable(f"{root} already has a program.md, and it is never overwritten.", step)


def write_program(root: Path, text: str) -> Task:
    """Write program.md, and read it again. Raises WorkspaceUnusable, ProgramInvalid, OSError; then there is none."""
    require_no_program(root)
    path = root / PROGRAM
    write_whole(path, text)
    try:
        return program.load(path).task
    except BaseException:
        path.unlink(missing_ok=True)
        raise
