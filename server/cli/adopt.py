"""`autoresearch adopt`: a program.md for a repository that has none, by questions or by options."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from server.cli.terminal import console, say

if TYPE_CHECKING:  # a server starts without them
    from server.adopt.interview import Given, Question

_List = list[str] | None
_Text = str | None


def adopt(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The top folder of a git repository.")] = Path(),
    goal: Annotated[_Text, typer.Option(help="What the agent should improve, in a sentence.")] = None,
    command: Annotated[_Text, typer.Option(metavar="COMMAND", help="The command to measure.")] = None,
    build: Annotated[_Text, typer.Option(metavar="COMMAND", help="The command that builds the code first.")] = None,
    checks: Annotated[
        _Text, typer.Option(metavar="COMMAND", help="The command that checks whether the code still works.")
    ] = None,
    metric: Annotated[
        _Text, typer.Option(metavar="NAME", help="A number that the command prints; or cpu, wall or memory.")
    ] = None,
    unit: Annotated[_Text, typer.Option(help="The unit of the number.")] = None,
    direction: Annotated[
        _Text, typer.Option(metavar="lower|higher", help="Whether lower or higher numbers are better.")
    ] = None,
    editable: Annotated[_List, typer.Option(metavar="GLOB", help="Files that the agent may change.")] = None,
    off_limits: Annotated[_List, typer.Option(metavar="GLOB", help="Files among those that it may not change.")] = None,
    link: Annotated[_List, typer.Option(metavar="FOLDER", help="A folder outside git that runs may read.")] = None,
    format: Annotated[
        _Text, typer.Option(metavar="NAME", help="Take the values from the workspace of another tool: its format.")
    ] = None,
    network: Annotated[bool, typer.Option("--network", help="Let the commands use the network.")] = False,
    home: Annotated[bool, typer.Option("--home", help="Let the commands read your home folder.")] = False,
    limit: Annotated[float, typer.Option(min=1, max=86400, metavar="SECONDS", help="Time limit of the command.")] = 300,
    noise: Annotated[
        float, typer.Option(min=0, max=86400, metavar="SECONDS", help="Time to spend on measuring the noise; 0: none.")
    ] = 60,
    hours: Annotated[float, typer.Option(min=0.1, max=1000, metavar="HOURS", help="Length of a study.")] = 8,
    yes: Annotated[bool, typer.Option("--yes", help="Accept every default, and run the command.")] = False,
    commit: Annotated[bool | None, typer.Option("--commit/--no-commit", help="Commit program.md.")] = None,
    show: Annotated[bool, typer.Option("--print", help="Print program.md instead of writing it.")] = False,
) -> None:
    """Write a program.md for your own goal: what to measure, how, on which files, and how large the noise is."""
    from server.adopt.interview import Given

    given = Given(
        goal=goal,
        command=command,
        build=build,
        checks=checks,
        metric=metric,
        unit=unit,
        direction=direction,
        editable=_listed(editable),
        off_limits=_listed(off_limits),
        link=_listed(link),
        format=format,
        network=network,
        home=home,
        limit_seconds=limit,
        noise_seconds=noise,
        hours=hours,
    )
    _adopt(folder, given, Terminal(yes, console(stderr=show)), commit=commit, show=show)


def _listed(told: list[str] | None) -> tuple[str, ...] | None:
    from server.adopt.interview import parts

    return None if told is None else tuple(part for one in told for part in parts(one))


def _adopt(folder: Path, given: "Given", dialogue: "Terminal", commit: bool | None, show: bool) -> None:
    from server.adopt.adoption import Adoption, require_no_program, write_program
    from server.vcs.checkout import Checkout

    with Checkout.open(folder) as checkout:
        if not show:
            require_no_program(checkout.root)
        if not (text := Adoption(checkout, given, dialogue, str(folder)).text()):
            raise SystemExit(1)
        if show:
            sys.stdout.write(text)
            return
        write_program(checkout.root, text)
        dialogue.say(f"\nwrote {checkout.root / 'program.md'}")
        if commit or (commit is None and dialogue.asks and dialogue.agree("Commit program.md?", False)):
            made = checkout.add("program.md", "Add program.md for autonomous research")
            dialogue.say(f"committed as {made[:7]}")
        _tell_what_comes_next(checkout.root, dialogue)


class Terminal:
    """Somebody at a terminal, or with `--yes` nobody: then every default is taken."""

    def __init__(self, yes: bool, out: Console) -> None:
        self._yes, self._out = yes, out

    @property
    def asks(self) -> bool:
        """Whether somebody is asked."""
        return not self._yes and sys.stdin is not None and sys.stdin.isatty()

    @property
    def answers(self) -> bool:
        return self._yes or self.asks

    def ask(self, question: "Question") -> str:
        if self._yes:
            return question.default
        if question.about:
            self.say(f"  ({question.about})")
        shown = bool(question.default)
        return str(
            typer.prompt(question.text, default=question.default, show_default=shown, prompt_suffix=" ", err=True)
        )

    def agree(self, text: str, default: bool = True) -> bool:
        return self._yes or typer.confirm(text, default=default, prompt_suffix=" ", err=True)

    def say(self, line: str) -> None:
        say(self._out, line)


def _tell_what_comes_next(root: Path, dialogue: Terminal) -> None:
    """What doctor finds missing for a run, and the two commands that follow."""
    from server.cli.doctor import examine

    for check in examine(root):
        if check.state != "ok" and check.name not in ("client", "account", "port"):
            remedy = f" → {check.remedy}" if check.remedy else ""
            dialogue.say(f"doctor: {check.name}: {check.detail}{remedy}")
    dialogue.say(
        "next: autoresearch doctor\n"
        "      autoresearch connect claude-code --write   (or codex, cursor, vscode, gemini; then start it there)"
    )
