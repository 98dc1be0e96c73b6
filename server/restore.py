"""The ledger of a night: opened, or, when it is damaged or gone, made anew from the copies of its rows in git."""

from contextlib import closing
from pathlib import Path

from server.change import change
from server.errors import LedgerDamaged, WorkspaceUnusable
from server.experiment import Experiment
from server.files import set_aside
from server.ledger import Ledger
from server.notebook import Notebook
from server.workspace import Workspace


def ledger(workspace: Workspace, notebook: Notebook) -> Ledger:
    """The night's ledger; what had to be rebuilt is told in a note. Raises LedgerUnavailable, WorkspaceUnusable."""
    path, numbers = workspace.state / "ledger.sqlite3", workspace.archived()
    try:
        found = Ledger(path)
    except LedgerDamaged as error:
        why = error.problem
    else:
        last = found.last()
        if not numbers or (last and last.number >= numbers[-1]):
            return found
        found.close()
        why = f"The ledger ended at experiment {last.number if last else 0}, git knows {numbers[-1]}."
    aside = _rebuild(path, workspace, numbers)
    notebook.add(f"{why} It was rebuilt from git: {len(numbers)} experiments. {aside}", idea=False, after=0)
    return Ledger(path)


def _rebuild(path: Path, workspace: Workspace, numbers: list[int]) -> str:
    """Make the file anew, whole or not at all. Returns what became of the old one, and which rows are missing."""
    fresh = path.with_name("ledger.new")
    for left in (fresh, Path(f"{fresh}-journal")):
        left.unlink(missing_ok=True)
    lost: list[str] = []
    with closing(Ledger(fresh)) as made:
        for number in numbers:
            try:
                _enter(made, workspace, Experiment.model_validate_json(workspace.row(number)))
            except (ValueError, WorkspaceUnusable):
                lost.append(str(number))
    set_aside(Path(f"{path}-journal"))  # first: it must not be played into the new file
    old = set_aside(path)
    fresh.rename(path)
    told = f"The old file is {old.name}." if old else "There was no file."
    return f"{told} Rows without a readable copy: {', '.join(lost)}." if lost else told


def _enter(made: Ledger, workspace: Workspace, row: Experiment) -> None:
    attempt = row.attempt
    new = attempt.of is None and not attempt.baseline
    made.begin(attempt, change(*map(workspace.text, (attempt.parent, row.commit))) if new else None)
    if row.result and row.judgement:
        made.finish(row.number, row.result, row.judgement)
    if row.decision:
        made.decide(row.number, row.decision)
