"""Revocations: keeps that do not stand any more, because a later run of their code has failed its audit.

Each run of a code is audited at other positions. A lie that has passed often enough to be kept may still be found, in a
run beside a candidate or after the study. Then the keep is revoked, and so is every keep that was built on it: its text
holds the same lie. Such a later one is not refuted. Its change may be tried once more, on what still stands.

What the machine does to a run revokes nothing: the words of the audit alone do. Nor is the baseline revoked, which is
the operator's text and has nothing before it: `audit_failures.alarm` tells of it.
"""

from collections import defaultdict

from server.history import audit_failures
from server.history.ledger import Ledger
from server.records import Attempt, Experiment, Revocation
from trainer.contract import utc_now

_LOOK = 20  # experiments with the same change; the same one is seldom tried so often


def due(ledger: Ledger) -> dict[int, Revocation]:
    """The keeps that stand in the ledger and must not, by number, each with what revokes it."""
    found: dict[int, Revocation] = {}
    if not ledger.failed():
        return found  # nearly always
    broken = {row.commit: row.revocation for row in ledger.revoked() if row.revocation}
    for row in ledger.kept():
        above, failed = broken.get(row.attempt.parent), audit_failures.refutation(ledger, row)
        if failed:
            above = Revocation(by=failed.number, of=row.number, revoked_at=utc_now())
        if above and not row.attempt.baseline:
            found[row.number] = broken[row.commit] = above
    return found


def base_lost(ledger: Ledger, attempt: Attempt) -> Experiment | None:
    """The revoked experiment that this attempt was built on; None if what it was built on stands."""
    return next((row for row in ledger.revoked() if row.commit == attempt.parent), None)


def untried(ledger: Ledger) -> list[int]:
    """The experiments whose changes wait to be tried again: those that the last revocation took along, until a keep."""
    rows, incumbent, by = ledger.revoked(), ledger.incumbent(), last(ledger)
    if incumbent is None or incumbent.number > by:
        return []
    along = [row.number for row in rows if row.revocation and row.revocation.by == by and not _refuted(row)]
    return [number for number in along if not _tried(ledger, number, by)]


def _tried(ledger: Ledger, number: int, after: int) -> bool:
    """Whether an experiment after number `after` has measured the same change."""
    change = ledger.features(number)
    alike = [other for other, _, _ in ledger.sharing(change, _LOOK, len(change)) if other > after] if change else []
    return any(ledger.features(other) == change and _scored(ledger, other) for other in alike)


def _scored(ledger: Ledger, number: int) -> bool:
    row = ledger.get(number)
    return row is not None and row.score is not None


def last(ledger: Ledger) -> int:
    """The number of the last run that has revoked anything; 0: none has."""
    return max((row.revocation.by for row in ledger.revoked() if row.revocation), default=0)


def messages(ledger: Ledger) -> dict[int, str]:
    """What was revoked, in sentences that never change, by the number of the run that revoked it."""
    groups: dict[int, list[Experiment]] = defaultdict(list)
    for row in ledger.revoked():
        if row.revocation:
            groups[row.revocation.by].append(row)
    return {by: _sentences(by, rows) for by, rows in groups.items()}


def last_message(ledger: Ledger) -> str:
    """What was revoked last; empty if nothing ever was."""
    return messages(ledger).get(last(ledger), "")


def _sentences(by: int, rows: list[Experiment]) -> str:
    refuted = [row.number for row in rows if _refuted(row)]
    along = [row.number for row in rows if not _refuted(row)]
    text = f"Experiment {by}, a run of experiment {_listed(refuted)}'s code, failed its audit: that keep is revoked."
    return f"{text} So are the keeps that were built on it: {_listed(along)}." if along else text


def _refuted(row: Experiment) -> bool:
    return row.revocation is not None and row.revocation.of == row.number


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))
