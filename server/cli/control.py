"""The operator's commands for a night that runs in another process. A command imports what it needs when it runs."""

import time
from contextlib import closing
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.terminal import console
from server.errors import LedgerUnavailable
from server.paths import StudyPaths
from server.study.find_study import OperatorRequest, latest_study, write_request

if TYPE_CHECKING:
    from server.records import Experiment

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
    paths = latest_study(workspace, tag)
    write_request(paths.state, OperatorRequest.STOP)
    _out.print("stopped; the run under way is ended" if now and _end_run(paths) else "stopped; no run is started now")


def pause(workspace: _Workspace = Path(), tag: _Tag = "") -> None:
    """Start no run until `autoresearch resume`; a run under way goes on."""
    write_request(latest_study(workspace, tag).state, OperatorRequest.PAUSE)
    _out.print("paused; `autoresearch resume` goes on")


def resume(workspace: _Workspace = Path(), tag: _Tag = "") -> None:
    """Take back `stop` or `pause`."""
    paths = latest_study(workspace, tag)
    write_request(paths.state, None)
    paths.ledger.touch()  # whoever resumes a night means it tonight
    why = _limit(workspace, paths)
    _out.print(f"taken back, but no run is started: {why}" if why else "the night goes on with the next run_experiment")


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


def _limit(workspace: Path, paths: StudyPaths) -> str:
    """Why the study starts no run, whatever the operator says; empty if it does."""
    from server.foreign.load import load
    from server.history.ledger import Ledger
    from server.study import limits

    with closing(Ledger(paths.ledger, read_only=True)) as ledger:
        return limits.why_over(paths.state, load(workspace / "program.md", paths.state).task, ledger)


def _end_run(paths: StudyPaths) -> bool:
    """End the run under way. Returns whether there was one."""
    from server.history.ledger import Ledger
    from server.runs.executor import request_cancel
    from server.runs.run_folder import RunFolders

    with closing(Ledger(paths.ledger, read_only=True)) as ledger:
        last = ledger.last()
    if last is None or not last.running or not (run := RunFolders(paths.runs).of(last.number)).alive():
        return False
    request_cancel(run, "the operator stopped the night")
    return True
