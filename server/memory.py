"""The night in a few lines, for an agent that has just arrived or lost its memory."""

from server.experiment import Experiment
from server.ledger import Ledger
from server.lessons import near_misses
from server.notebook import Note, Notebook
from server.past import Memory, brief
from server.replies import StatusReply

_KEPT, _RECENT, _MISSES, _NOTES = 4, 10, 3, 3
_ROOM = 4096  # bytes of status, as text
_SHORTER = (64, 52, 40, 28)
_LOOK_BACK = 40  # attempts among which near misses are looked for: status must be quick


def memory(ledger: Ledger, notebook: Notebook) -> Memory:
    """How the incumbent came about, the last attempts, near misses, open ideas and notes: newest first, < 3 KB."""
    misses, written = near_misses(ledger, _LOOK_BACK)[:_MISSES], notebook.notes[::-1]
    return Memory(
        path=[_line(row) for row in reversed(ledger.kept(_KEPT))],
        recent=[_line(row) for row in _recent(ledger)],
        near_misses=[brief(f"{miss.experiment}: {miss.delta:+.4f}, {miss.description}") for miss in misses],
        ideas=[_note(note) for note in written if note.open][:_NOTES],
        notes=[_note(note) for note in written if not note.idea][:_NOTES],
    )


def fit(reply: StatusReply) -> StatusReply:
    """The snapshot with lines as long as its room allows: fixed parts grow with limits, verdicts and the machine."""
    for most in _SHORTER:
        if len(reply.model_dump_json(indent=2).encode()) < _ROOM:
            break
        reply = reply.model_copy(update={"memory": reply.memory.cut(most)})
    return reply


def _recent(ledger: Ledger) -> list[Experiment]:
    """The last attempts, without the runs that judge another."""
    found: list[Experiment] = []
    offset = 0
    while len(found) < _RECENT and (page := ledger.page(_RECENT, offset)):
        found += [row for row in page if row.attempt.of is None]
        offset += len(page)
    return found[:_RECENT]


def _line(row: Experiment) -> str:
    value = "" if row.value is None else f" {row.value:.4f}"
    kept = ", kept" if row.kept else ""
    return brief(f"{row.number}: {row.verdict}{kept}{value}, {row.attempt.description}")


def _note(note: Note) -> str:
    return brief(f"{note.number}: {note.text}")
