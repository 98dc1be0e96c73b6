"""What to do next in a folder, as its files say: `autoresearch` without a command, and the end of `status`."""

import shlex
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from server.cli.screens.layout import whole
from server.errors import LedgerUnavailable
from server.foreign.load import is_defined
from server.paths import StudyPaths
from server.reporting.study_view import StudyView
from server.reporting.view_model import StudyState, Summary
from server.study.find_study import latest_study
from server.text import printable

_BEFORE = ("workspace", "program.md", "referee")  # what must be well before a study can begin
_CLIENT = "client"
_CONFIGURED = "configured: "
_OTHERS = "claude-desktop, codex, cursor, vscode, gemini, opencode"
_DOCTOR = ("autoresearch doctor", "all checks, and how to fix what fails")
_READY = ("autoresearch doctor", "what is ready, and what to fix")
_ALL = ("autoresearch --help", "every command")
_REPORT = ("autoresearch report --html", "the results of the study, on one page")
_HISTORY = ("autoresearch history", "every experiment")
_FINALIZE = ("autoresearch finalize", "a branch to merge, with one commit for each kept change")
_STATUS = ("autoresearch status", "the state of the study, and how far to trust it")
_WATCH = ("autoresearch watch", "the live page; --terminal shows it here")
_PAUSE = ("autoresearch pause", "start no new runs; `stop` ends the study")
_RESUME = ("autoresearch resume", "let it go on")
_DRIVE = ("autoresearch drive CLIENT", "let a client work without you: claude-code, codex, opencode, gemini or sweep")


class Finding(Protocol):
    """One check of `autoresearch doctor`."""

    @property
    def name(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def detail(self) -> str: ...
    @property
    def remedy(self) -> str: ...


Examine = Callable[[Path], Iterable[Finding]]


class Situation(NamedTuple):
    """Where a folder stands."""

    told: str  # a sentence
    steps: list[tuple[str, str]]  # commands that can be copied, and what each is for


def situation(folder: Path, examine: Examine) -> Situation:
    """The situation of a folder, which is only looked at.

    Args:
        examine: what `autoresearch doctor` does.

    Raises:
        LedgerUnavailable, OSError.
    """
    here = folder.resolve()
    top = next((path for path in (here, *here.parents) if (path / ".git").exists()), None)
    if top is None:
        return Situation(
            f"{whole(str(here))} is not in a git repository, so there is no workspace yet.",
            [
                ("autoresearch init my-night", "make a new workspace with a program.md, a train.py and a commit"),
                ("autoresearch adopt DIR", "or set up your own git repository, for your own goal"),
                ("autoresearch demo --quick", "or watch a study of a minute, without an LLM"),
                _ALL,
            ],
        )
    if top != here and not is_defined(here) and is_defined(top):
        return Situation(f"The workspace is {whole(str(top))}.", [(f"cd {shlex.quote(str(top))}", "go there"), _ALL])
    with suppress(LedgerUnavailable):
        return _of_study(latest_study(folder, ""))
    return _before(folder, here, examine)


def _before(folder: Path, here: Path, examine: Examine) -> Situation:
    """Before the first study."""
    name = whole(str(here))
    if not is_defined(folder):
        return Situation(
            f"{name} has no program.md, which says what to improve.",
            [
                ("autoresearch adopt", "examine this repository, ask you, measure the noise, and write program.md"),
                ("autoresearch init my-night", "or make a new workspace, which trains a small language model"),
                _ALL,
            ],
        )
    clients = ""
    for check in examine(folder):
        if check.name in _BEFORE and check.state == "fix":
            remedy = f" To do: {check.remedy.rstrip('.')}." if check.remedy else ""
            problem = f"{check.name}: {check.detail.rstrip('.').replace(str(here), name)}."
            return Situation(f"{name} is not ready. {problem}{remedy}", [_DOCTOR, _ALL])
        if check.name == _CLIENT:
            clients = check.detail.removeprefix(_CONFIGURED) if check.detail.startswith(_CONFIGURED) else ""
            break
    if not clients:
        connect = ("autoresearch connect claude-code --write", f"or {_OTHERS}; then start it in this folder")
        return Situation(f"{name} is ready, but no client is connected yet.", [_READY, connect, _DRIVE, _ALL])
    told = f"{name} is ready. Start a client here ({clients}) and say: start a night of experiments."
    return Situation(told, [_READY, _DRIVE, _WATCH, _ALL])


def _of_study(paths: StudyPaths) -> Situation:
    view = StudyView(paths)
    try:
        summary = view.summary()
    finally:
        view.close()
    return Situation(f"Study {paths.tag}: {state_in_words(summary)}.", steps_of(summary))


def state_in_words(summary: Summary) -> str:
    """What a study is doing."""
    head, now = summary.study, summary.now
    asked = f"; the operator asked to {head.asked}" if head.asked and head.state is StudyState.RUNNING else ""
    if head.state is StudyState.RUNNING and now is not None:
        left = "" if now.eta is None else f", verdict in about {now.eta:.0f} s"
        again = f" (experiment {now.of} again)" if now.of else ""
        return f"running {now.number}{again}, {now.stage}{left}{asked}"
    words = {
        StudyState.RUNNING: "running",
        StudyState.IDLE: "the server waits for the agent's next call",
        StudyState.PAUSED: "paused",
        StudyState.STOPPED: "stopped by the operator",
        StudyState.OVER: f"over: {head.why}",
        StudyState.OFF: "no server is running; the next one continues it",
        StudyState.HANGS: f"problem: {head.why}",
        StudyState.EMPTY: "started; nothing is measured yet",
    }
    return printable(words[head.state] + asked)


def steps_of(summary: Summary) -> list[tuple[str, str]]:
    """The commands that make sense now."""
    again = ("autoresearch doctor", "check the machine, then start the client here or run `autoresearch drive CLIENT`")
    server = ("autoresearch health", "which server it is; end it, and start the client again")
    more = ("program.md", "raise the limit under `stop:` to continue the study")
    found: dict[StudyState, list[tuple[str, str]]] = {
        StudyState.RUNNING: [_STATUS, _WATCH, _HISTORY, _PAUSE],
        StudyState.IDLE: [_STATUS, _WATCH, _HISTORY, _PAUSE],
        StudyState.PAUSED: [_RESUME, _HISTORY, _REPORT],
        StudyState.STOPPED: [_REPORT, _FINALIZE, _RESUME, _HISTORY],
        StudyState.OVER: [_REPORT, _FINALIZE, _HISTORY, more],
        StudyState.OFF: [again, _STATUS, _HISTORY, _REPORT],
        StudyState.HANGS: [server, _STATUS, _HISTORY],
        StudyState.EMPTY: [_STATUS, _WATCH],
    }
    return [*found[summary.study.state], _ALL]
