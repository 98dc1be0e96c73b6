"""The ledger of a night: opened, or, when it is damaged, gone or old, made anew from the copies of its rows in git."""

from contextlib import ExitStack, closing
from pathlib import Path

from server.errors import ChainBroken, LedgerDamaged, LedgerUnavailable, WorkspaceUnusable
from server.files import set_aside
from server.history.chain import Chain, Mark, Stored, differing, numbers_in_words
from server.history.ledger import Ledger
from server.history.notes import Notebook
from server.records import Experiment
from server.source.editable import Editable
from server.source.language import Change
from server.study.git_repair import Wanted, copy, repair_refs, wanted
from server.vcs.workspace import Listed, Workspace, mended


def opened(path: Path, tag: str, editable: Editable | tuple[str, ...]) -> Workspace:
    """The workspace, also where git cannot read a ref before something is mended. Raises WorkspaceUnusable."""
    try:
        return Workspace.open(path, tag, editable)
    except WorkspaceUnusable:
        if not path.is_dir() or (aside := mended(path)) is None:
            raise
    workspace = Workspace.open(path, tag, editable)
    workspace.refs.mended = aside
    return workspace


def open_ledger(workspace: Workspace, notebook: Notebook, listed: Listed, distrust: bool = False) -> Ledger:
    """The night's ledger, after git was given back what it had lost of it; what had to be rebuilt is told in a note.

    Args:
        listed: the refs of the study. distrust: read also rows that equal their copies in git.

    Raises:
        LedgerUnavailable, WorkspaceUnusable.
    """
    path = workspace.paths.ledger
    with ExitStack() as left:
        old, mark = None, Mark.REBUILT
        try:
            found = Ledger(path)
            left.callback(found.close)
            wants = _checked(found, workspace, notebook, listed, distrust)
            if not (why := _behind(found, workspace, listed, wants)):
                repair_refs(found, workspace, notebook, listed, wants)
                left.pop_all()
                return found
            old = found
        except LedgerDamaged as error:
            left.close()
            why, mark = error.problem, Mark.BROKEN if isinstance(error, ChainBroken) else mark
        aside = _rebuild(path, workspace, listed, old, mark)
    notebook.add(f"{why} It was rebuilt from git: {len(listed.rows)} experiments. {aside}", idea=False, after=0)
    with ExitStack() as left:
        made = Ledger(path)
        left.callback(made.close)
        repair_refs(made, workspace, notebook, listed)
        left.pop_all()
    return made


def _checked(
    found: Ledger, workspace: Workspace, notebook: Notebook, listed: Listed, distrust: bool
) -> dict[int, Wanted]:
    """What git should have of each row, once what somebody else edited in the ledger was put back.

    Git's copy wins, by the name that the chain has: a server writes it with each row, so it is there, and nobody has to
    be asked in the middle of a night. Where it is lost as well the study stops.

    Raises:
        LedgerDamaged, LedgerUnavailable.
    """
    chain, stored = found.chain() or Chain(), Stored()
    if chain.broken:
        raise ChainBroken(f"Somebody else edited the chain of the ledger's rows at place {chain.broken}.", "")
    wants = wanted(found, {} if distrust else listed.rows, stored)
    edited = differing(chain, stored)
    if not edited:
        return wants
    true = {number: _true(workspace, listed, chain, number) for number in edited}
    for number, row in true.items():
        found.put_back(number, row)
    told = f"Somebody else edited experiments {numbers_in_words(edited)} in the ledger."
    notebook.add(
        f"{told} The rows that a server had written were restored from git.", idea=False, after=max(wants, default=0)
    )
    return wanted(found, {})


def edited(ledger: Ledger) -> str:
    """What somebody else has edited and a server has put back, in a sentence or two; empty if nothing."""
    told: list[str] = []
    if ledger.marked(Mark.BROKEN):
        told.append("Somebody else edited the chain of the ledger's rows; the ledger was rebuilt from git.")
    if numbers := ledger.marked(Mark.RESTORED):
        rows = numbers_in_words(numbers)
        told.append(f"Somebody else edited experiments {rows} in the ledger; they were restored from git.")
    return " ".join(told)


def edited_now(ledger: Ledger) -> str:
    """What somebody else has edited and no server has put back yet, in a sentence; empty if nothing."""
    if (chain := ledger.chain()) and chain.broken:
        return f"Somebody else edited the chain of the ledger's rows at place {chain.broken}: a server will rebuild it."
    if numbers := ledger.edited():
        return f"Somebody else edited experiments {numbers_in_words(numbers)}: a server will restore them from git."
    return ""


def _true(workspace: Workspace, listed: Listed, chain: Chain, number: int) -> Experiment | None:
    """A row as it was written; None if nobody has written it. Raises LedgerUnavailable: that cannot be told."""
    name, _ = chain.rows.get(number, ("", ""))
    if not name:
        if number not in listed.rows:
            return None
        problem = f"Somebody else added experiment {number} to the ledger and to git."
    elif row := copy(workspace, name):
        return row
    else:
        problem = f"Somebody else edited experiment {number} in the ledger, and git has no copy of the original row."
    raise LedgerUnavailable(problem, "The operator must restore a backup of both, or continue with a new --tag.")


def _behind(found: Ledger, workspace: Workspace, listed: Listed, wants: dict[int, Wanted]) -> str:
    """What git knows and the ledger does not; empty if there is nothing. Raises LedgerDamaged."""
    missing = [number for number in sorted(listed.rows) if number not in wants and copy(workspace, listed.rows[number])]
    if missing:
        return f"The ledger ended at experiment {max(wants, default=0)}, but git has {missing[-1]}."
    for number, name in listed.rows.items():
        if number in wants and name != wants[number].copy:
            row, other = found.get(number), copy(workspace, name)
            if row and other and other.number == number and _known(other) > _known(row):
                return f"The ledger was older than its copy in git, which has more about experiment {number}."
    return ""


def _known(row: Experiment) -> int:
    """How far a row has come."""
    return (not row.queued) + (row.result is not None) + (row.decision is not None) + (row.revocation is not None)


def _rebuild(path: Path, workspace: Workspace, listed: Listed, old: Ledger | None, mark: Mark) -> str:
    """Make the file anew, whole or not at all. Returns what became of the old one, and which rows are missing.

    Args:
        old: what can be read of the old one: of each row, what knows more counts. mark: of the rows that are written.
    """
    fresh = path.with_name("ledger.new")
    for left in (fresh, Path(f"{fresh}-journal")):
        left.unlink(missing_ok=True)
    lost: list[str] = []  # for now: the next start looks again
    known = {row.number for row in old.all()} if old else set[int]()
    with closing(Ledger(fresh)) as made:
        made.mark = mark
        for number in sorted({*listed.rows, *known}):
            told = (copy(workspace, listed.rows.get(number, "")), old.get(number) if old else None)
            if rows := [row for row in told if row and row.number == number]:
                _enter(made, workspace, max(rows, key=_known))
            else:
                lost.append(str(number))
    set_aside(Path(f"{path}-journal"))  # first: it must not be played into the new file
    aside = set_aside(path)
    fresh.rename(path)
    told = f"The old file is {aside.name}." if aside else "There was no file."
    return f"{told} Rows without a readable copy: {', '.join(lost)}." if lost else told


def _enter(made: Ledger, workspace: Workspace, row: Experiment) -> None:
    attempt = row.attempt
    new = attempt.of is None and not attempt.baseline
    made.begin(attempt, _change(workspace, row) if new else None)
    if row.result and row.judgement:
        made.finish(row.number, row.result, row.judgement)
    if row.decision:
        made.decide(row.number, row.decision)
    if row.revocation:
        made.revoke({row.number: row.revocation})


def _change(workspace: Workspace, row: Experiment) -> Change | None:
    """What a row changed; None if one of the texts is lost: the row counts without it."""
    try:
        before, after = map(workspace.files, (row.attempt.parent, row.commit))
        return after.changed_from(before)
    except WorkspaceUnusable:
        return None
