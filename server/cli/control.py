"""The operator's commands for a study that another process serves. Each command imports what it needs when it runs."""

import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import datetime
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.terminal import columns, console, print_json, say
from server.errors import LedgerUnavailable
from server.locks import LockHolder, lock_holder
from server.paths import StudyPaths
from server.study.find_study import OperatorRequest, latest_study

if TYPE_CHECKING:
    from server.records import Experiment
    from server.reporting.study_view import StudyView

_Workspace = Annotated[Path, typer.Option(metavar="FOLDER", help="A git repository with a program.md.")]
_Tag = Annotated[str, typer.Option(metavar="NAME", help="Name of the study; default: the latest.")]
_out = console()


class Health(IntEnum):
    """Exit codes of `autoresearch health`."""

    ON = 0
    OVER = 1  # a server lives, but it starts no run any more, or nothing has happened for long
    OFF = 2  # no server, or no night at all


def say_what_is_next() -> None:
    """Show the state of the current folder, and the commands that come next."""
    from server.cli.doctor import examine
    from server.cli.screens.layout import commands, shown
    from server.cli.screens.next_steps import situation

    found, width = situation(Path(), examine), columns(_out)
    shown(_out, [found.told], width)
    _print_lines(["", *commands(found.steps, width)])


def _print_lines(lines: list[str]) -> None:
    for line in lines:
        _out.print(line)


def status(
    workspace: _Workspace = Path(),
    tag: _Tag = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the state of a study: the current run, the best so far, what was tried, how far to trust it, what is next.

    It only reads files and takes no lock, so it works with or without a running server.
    """
    from server.cli.screens import study_now
    from server.cli.screens.layout import commands, facts
    from server.cli.screens.next_steps import steps_of

    paths = latest_study(workspace, tag)
    summary, width = study_now.summary_of(paths), columns(_out)
    if json:
        print_json(study_now.as_json(summary, paths))
        return
    steps = [step for step in steps_of(summary) if step[0] not in ("autoresearch status", "autoresearch --help")]
    _print_lines([*facts(study_now.facts_of(summary, paths), width), "", *commands(steps, width)])


def stop(
    workspace: _Workspace = Path(),
    tag: _Tag = "",
    now: Annotated[bool, typer.Option("--now/--after-run", help="Also end the current run.")] = False,
) -> None:
    """Stop the study: no new runs. `autoresearch resume` continues it."""
    from server.watch import controls

    paths = latest_study(workspace, tag)
    say(_out, controls.stop_now(paths) if now else controls.ask(paths, OperatorRequest.STOP))


def pause(workspace: _Workspace = Path(), tag: _Tag = "") -> None:
    """Pause the study: no new runs until `autoresearch resume`. The current run finishes."""
    from server.watch import controls

    say(_out, controls.ask(latest_study(workspace, tag), OperatorRequest.PAUSE))


def resume(workspace: _Workspace = Path(), tag: _Tag = "") -> None:
    """Undo `stop` or `pause`."""
    from server.watch import controls

    say(_out, controls.ask(latest_study(workspace, tag), None))


def watch(
    workspace: _Workspace = Path(),
    tag: _Tag = "",
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, metavar="PORT", help="Port on 127.0.0.1; 0: any free port."),
    ] = 0,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
    terminal: Annotated[
        bool, typer.Option("--terminal/--page", help="Show the study in this terminal instead.")
    ] = False,
) -> None:
    """Show a study live, on a web page or in the terminal, also before it begins and after it ends.

    It only reads files and takes no lock. The page can also pause, resume and stop the study.
    """
    from server.notify.notifier import notifying
    from server.study.find_study import study_to_watch
    from server.watch.terminal import follow

    find = partial(study_to_watch, workspace, tag)
    with suppress(KeyboardInterrupt):
        if terminal:
            with notifying(find(), _out.print):
                follow(find, _out)
        else:
            _watch(workspace, find, port, open_page)


def _watch(workspace: Path, find: Callable[[], StudyPaths], port: int, open_page: bool) -> None:
    import anyio

    from server.api.http.server import listen_for_page
    from server.notify.notifier import notifying
    from server.paths import Home
    from server.watch.access import PageAccess
    from server.watch.changes import Changes
    from server.watch.local_page import HOST, bind, show
    from server.watch.routes import Page

    home = Home(workspace)
    page = Page(PageAccess.of(home), Changes(find), PAGE_VIEWS)
    with bind(port, workspace) as listening:
        link = page.access.link(f"http://{HOST}:{listening.getsockname()[1]}")
        _out.print(f"watching {find().tag}; the page is\n{link}")
        if open_page:
            show(link, home.folder)
        with notifying(find(), _out.print):
            anyio.run(listen_for_page, page, listening)


def _report(view: "StudyView") -> tuple[str, bytes]:
    from server.reporting.morning.report_file import render

    return "text/html", render(view.paths, "html").encode()


def _chart(view: "StudyView") -> tuple[str, bytes]:
    from server.reporting.chart import png

    return "image/png", png(*view.material(), view.position())


PAGE_VIEWS = {"chart.png": _chart, "report": _report}  # what a page has beside itself, of any server


def health(
    workspace: _Workspace = Path(),
    tag: _Tag = "",
    idle: Annotated[
        float,
        typer.Option(min=0, metavar="MINUTES", help="Minutes without a run after which the study counts as idle."),
    ] = 60.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check whether the study is running.

    Exit code 0: yes; 1: it is over, idle for too long, or its server hangs; 2: no server, or no study.
    """
    from server.study.git_repair import lost

    served = gone = None
    try:
        paths = latest_study(workspace, tag)
    except LedgerUnavailable as error:
        found, told = Health.OFF, str(error)
    else:
        served, gone = lock_holder(workspace), lost(paths.state)
        found, told = _health(workspace, paths, served, idle)
    if json:
        pid = served.pid if served else None
        print_json({"health": found.name.lower(), "code": int(found), "why": told, "server": pid, "lost": gone or ""})
    else:
        say(_out, f"{found.name.lower()}: {told}{f'{chr(10)}{gone}' if gone else ''}")
    if found is not Health.ON:
        raise typer.Exit(found)


def _health(workspace: Path, paths: StudyPaths, served: LockHolder | None, idle: float) -> tuple[Health, str]:
    if served is None:
        return Health.OFF, "no server is running; the next one continues the study"
    if why := _hangs(workspace, paths.home.study(served.tag).state) or _over(workspace, paths, idle):
        return Health.OVER, f"server {served.pid} is running, but {why}"
    return Health.ON, f"server {served.pid} is running"


def _hangs(workspace: Path, state: Path) -> str:
    """How long the server of the study in `state` has not reported; empty if it has."""
    from server.locks import lock_path
    from server.study.background import STALE_SECONDS, seconds_since_heartbeat

    quiet = seconds_since_heartbeat(state, lock_path(workspace))
    told = f"it has not reported for {quiet / 60:.0f} minutes: it hangs, or cannot write"
    return told if quiet > STALE_SECONDS else ""


def _over(workspace: Path, paths: StudyPaths, idle: float) -> str:
    """Why the study does not go on; empty if it does."""
    from server.foreign.load import load
    from server.history.ledger import Ledger
    from server.runs.cleanup import gpu_holders
    from server.runs.run_folder import RunFolders
    from server.study import limits

    with closing(Ledger(paths.ledger, read_only=True)) as ledger:
        last = ledger.last()
        runs = (RunFolders(paths.runs).of(row.number) for row in ledger.unfinished() if not row.queued)
        if any(not run.over() for run in runs):
            return ""
        if why := limits.why_over(paths.state, load(workspace / "program.md", paths.state).task, ledger):
            return why
        if why := gpu_holders(last):
            return why
    minutes = (time.time() - _latest_end(last, paths.ledger)) / 60
    return f"no run has started for {minutes:.0f} minutes" if minutes > idle else ""


def _latest_end(last: "Experiment | None", path: Path) -> float:
    """When something ended: the last run, or, where no result was written down yet, what else is in the ledger."""
    ended = last.result.finished_at if last and last.result else ""
    return datetime.fromisoformat(ended).timestamp() if ended else path.stat().st_mtime
