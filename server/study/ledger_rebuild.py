"""The ledger of a night: opened, or, when it is damaged, gone or old, made anew from the copies of its rows in git."""

from contextlib import closing
from pathlib import Path

from server.errors import LedgerDamaged, WorkspaceUnusable
from server.files import set_aside
from server.history.ledger import Ledger
from server.history.notes import Notebook
from server.records import Experiment
from server.source.python_source import Change, describe_change
from server.vcs.workspace import Workspace


def open_ledger(workspace: Workspace, notebook: Notebook) -> Ledger:
    """The night's ledger; what had to be rebuilt is told in a note. Raises LedgerUnavailable, WorkspaceUnusable."""
    path, broken, numbers = workspace.state / "ledger.sqlite3", workspace.clear(), workspace.archived()
    try:
        found = Ledger(path)
        try:
            why = _behind(found, workspace, numbers)
        except LedgerDamaged:
            found.close()
            raise
        if not why:
            _write_again(found, workspace, broken)
            return found
        found.close()
    except LedgerDamaged as error:
        why = error.problem
    aside = _rebuild(path, workspace, numbers)
    notebook.add(f"{why} It was rebuilt from git: {len(numbers)} experiments. {aside}", idea=False, after=0)
    return Ledger(path)


def _behind(found: Ledger, workspace: Workspace, numbers: list[int]) -> str:
    """What git knows and the ledger does not; empty if there is nothing. Raises LedgerDamaged."""
    known: set[int] = set()
    last = measured = None
    for row in found.all():  # each is read once: a flipped bit shows here, and not in the middle of the night
        known.add(row.number)
        last, measured = row, measured if row.attempt.of else row
    missing = [number for number in numbers if number not in known and _copy(workspace, number)]
    if missing:
        return f"The ledger ended at experiment {max(known, default=0)}, git knows {missing[-1]}."
    for row in (last, measured):
        copy = _copy(workspace, row.number) if row else None
        if row and copy and ((copy.result and not row.result) or (copy.decision and not row.decision)):
            return f"The ledger was older than its copy in git, which knows more of experiment {row.number}."
    return ""


def _copy(workspace: Workspace, number: int) -> Experiment | None:
    """The copy of a row; None if there is none that can be read."""
    try:
        return Experiment.model_validate_json(workspace.row(number))
    except (ValueError, WorkspaceUnusable):
        return None


def _write_again(found: Ledger, workspace: Workspace, broken: list[int]) -> None:
    """Give rows their refs back that a power cut has emptied."""
    for number in broken:
        if row := found.get(number):
            workspace.record(number, row.commit, workspace.recorded(number))
            workspace.archive(number, row.model_dump_json(exclude_none=True))


def _rebuild(path: Path, workspace: Workspace, numbers: list[int]) -> str:
    """Make the file anew, whole or not at all. Returns what became of the old one, and which rows are missing."""
    fresh = path.with_name("ledger.new")
    for left in (fresh, Path(f"{fresh}-journal")):
        left.unlink(missing_ok=True)
    lost: list[str] = []  # for now: the next start looks again
    with closing(Ledger(fresh)) as made:
        for number in numbers:
            if row := _copy(workspace, number):
                _enter(made, workspace, row)
            else:
                lost.append(str(number))
    set_aside(Path(f"{path}-journal"))  # first: it must not be played into the new file
    old = set_aside(path)
    fresh.rename(path)
    told = f"The old file is {old.name}." if old else "There was no file."
    return f"{told} Rows without a readable copy: {', '.join(lost)}." if lost else told


def _enter(made: Ledger, workspace: Workspace, row: Experiment) -> None:
    attempt = row.attempt
    new = attempt.of is None and not attempt.baseline
    made.begin(attempt, _change(workspace, row) if new else None)
    if row.result and row.judgement:
        made.finish(row.number, row.result, row.judgement)
    if row.decision:
        made.decide(row.number, row.decision)


def _change(workspace: Workspace, row: Experiment) -> Change | None:
    """What a row changed; None if git has lost one of the texts: the row counts without it."""
    try:
        return describe_change(*map(workspace.text, (row.attempt.parent, row.commit)))
    except WorkspaceUnusable:
        return None
