"""The operator's requests to a study, as commands and the page make them. They are files: no server need run."""

from contextlib import closing

from server.errors import LedgerUnavailable
from server.foreign.load import load
from server.history.ledger import Ledger
from server.paths import StudyPaths
from server.runs.executor import request_cancel
from server.runs.run_folder import RunFolders
from server.study import limits
from server.study.find_study import OperatorRequest, write_request


def ask(paths: StudyPaths, word: OperatorRequest | None) -> str:
    """Ask a study to pause or stop, or take that back. Returns what follows, in a sentence.

    Raises:
        LedgerUnavailable: there is no such study. ProgramInvalid, OSError.
    """
    _require(paths)
    write_request(paths.state, word)
    if word is OperatorRequest.PAUSE:
        return "paused; `autoresearch resume` continues"
    if word is OperatorRequest.STOP:
        return "stopped; no new runs"
    paths.ledger.touch()  # whoever resumes a night means it tonight
    with closing(Ledger(paths.ledger, read_only=True)) as ledger:
        why = limits.why_over(paths.state, load(paths.home.root / "program.md", paths.state).task, ledger)
    return f"undone, but no new runs: {why}" if why else "the study goes on with the next run_experiment"


def stop_now(paths: StudyPaths) -> str:
    """Ask a study to stop, and end the run under way. Returns what follows. Raises LedgerUnavailable, OSError."""
    _require(paths)
    write_request(paths.state, OperatorRequest.STOP)
    return "stopped; the current run is being ended" if _end_run(paths) else "stopped; no new runs"


def _require(paths: StudyPaths) -> None:
    if not paths.ledger.exists():
        raise LedgerUnavailable("There is no study yet.", "Start one with `autoresearch serve`.")


def _end_run(paths: StudyPaths) -> bool:
    """End the runs under way. Returns whether there were any."""
    with closing(Ledger(paths.ledger, read_only=True)) as ledger:
        runs = [RunFolders(paths.runs).of(row.number) for row in ledger.unfinished() if not row.queued]
    alive = [run for run in runs if run.alive()]
    for run in alive:
        request_cancel(run, "the operator stopped the study")
    return bool(alive)
