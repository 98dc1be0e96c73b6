"""The operator's commands for a night that runs in another process. A command imports what it needs when it runs."""

import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import datetime
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.terminal import console
from server.errors import LedgerUnavailable
from server.paths import StudyPaths
from server.study.find_study import OperatorRequest, latest_study

if TYPE_CHECKING:
    from server.records import Experiment
    from server.reporting.study_view import StudyView

_Workspace = Annotated[Path, typer.Option(help="A git repository with a program.md.")]
_Tag = Annotated[str, typer.Option(help="Name of the night; default: the latest one.")]
_out = console()


class Health(IntEnum):
    """Exit codes of `autoresearch health`."""

    ON = 0
    OVER = 1  # a server lives, but it starts no run any more, or nothing has happened for long
    OFF = 2  # no server, or no night at all


def stop(
    workspace: _Workspace = Path(),
    tag: _Tag = "",
    now: Annotated[bool, typer.Option("--now/--after-run", help="End the run under way, too.")] = False,
) -> None:
    """End the night: no run is started any more. `autoresearch resume` takes it back."""
    from server.watch import controls

    paths = latest_study(workspace, tag)
    _out.print(controls.stop_now(paths) if now else controls.ask(paths, OperatorRequest.STOP))


def pause(workspace: _Workspace = Path(), tag: _Tag = "") -> None:
    """Start no run until `autoresearch resume`; a run under way goes on."""
    from server.watch import controls

    _out.print(controls.ask(latest_study(workspace, tag), OperatorRequest.PAUSE))


def resume(workspace: _Workspace = Path(), tag: _Tag = "") -> None:
    """Take back `stop` or `pause`."""
    from server.watch import controls

    _out.print(controls.ask(latest_study(workspace, tag), None))


def watch(
    workspace: _Workspace = Path(),
    tag: _Tag = "",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen, on this machine alone; 0: any.")] = 0,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
    terminal: Annotated[bool, typer.Option("--terminal/--page", help="Show it in this terminal.")] = False,
) -> None:
    """Show a study live, on a page or in the terminal: a study of any server, one that is over, one that comes.

    It looks at files and takes no lock. The page can pause, resume and stop the study, as the commands do.
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
    from server.watch.beside import HOST, bind, show
    from server.watch.changes import Changes
    from server.watch.door import Door
    from server.watch.routes import Page

    home = Home(workspace)
    page = Page(Door.of(home), Changes(find), PAGE_VIEWS)
    with bind(port, workspace) as listening:
        link = page.door.link(f"http://{HOST}:{listening.getsockname()[1]}")
        _out.print(f"watching {find().tag}; the page is\n{link}")
        if open_page:
            show(link, home.folder)
        with notifying(find(), _out.print):
            anyio.run(listen_for_page, page, listening)


def _report(view: "StudyView") -> tuple[str, bytes]:
    from server.reporting.morning.write import told

    return "text/html", told(view.paths, "html").encode()


def _chart(view: "StudyView") -> tuple[str, bytes]:
    from server.reporting.chart import png

    return "image/png", png(*view.material())


PAGE_VIEWS = {"chart.png": _chart, "report": _report}  # what a page has beside itself, of any server


def health(
    workspace: _Workspace = Path(),
    tag: _Tag = "",
    idle: Annotated[float, typer.Option(min=0, help="Minutes without a run that end a night.")] = 60.0,
) -> None:
    """Say whether the night is on.

    Exit code 0: it is; 1: it is over, idle for too long, or its server hangs; 2: no server, or no night.
    """
    from server.locks import lock_holder
    from server.study.git_repair import lost

    try:
        paths = latest_study(workspace, tag)
    except LedgerUnavailable as error:
        _out.print(f"off: {error}")
        raise typer.Exit(Health.OFF) from None
    gone = lost(paths.state)
    told = f"\n{gone}" if gone else ""
    served = lock_holder(workspace)
    if served is None:
        _out.print(f"off: no server works here; a run under way is taken up by the next one{told}")
        raise typer.Exit(Health.OFF)
    if why := _hangs(workspace, paths.home.study(served.tag).state) or _over(workspace, paths, idle):
        _out.print(f"over: server {served.pid} lives, but {why}{told}")
        raise typer.Exit(Health.OVER)
    _out.print(f"on: server {served.pid} lives{told}")


def _hangs(workspace: Path, state: Path) -> str:
    """How long the server of the night in `state` has shown no sign of life; empty if it does."""
    from server.locks import lock_path
    from server.study.background import STALE_SECONDS, seconds_since_heartbeat

    quiet = seconds_since_heartbeat(state, lock_path(workspace))
    told = f"it has shown no sign of life for {quiet / 60:.0f} minutes: it hangs, or cannot write"
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
        if last and last.running and not RunFolders(paths.runs).of(last.number).over():
            return ""
        if why := limits.why_over(paths.state, load(workspace / "program.md", paths.state).task, ledger):
            return why
        if why := gpu_holders(last):
            return why
    minutes = (time.time() - _latest_end(last, paths.ledger)) / 60
    return f"no run was started for {minutes:.0f} minutes" if minutes > idle else ""


def _latest_end(last: "Experiment | None", path: Path) -> float:
    """When something ended: the last run, or, where no result was written down yet, what else is in the ledger."""
    ended = last.result.finished_at if last and last.result else ""
    return datetime.fromisoformat(ended).timestamp() if ended else path.stat().st_mtime
