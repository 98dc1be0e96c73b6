"""What the agent writes down, so that it outlives the agent's memory and the ledger: one file, written whole."""

from pathlib import Path

from pydantic import Field, TypeAdapter

from server.errors import UnknownNote
from server.files import set_aside, write_whole
from server.records import Value
from trainer.contract import utc_now


class Note(Value):
    """An observation, or an idea for later."""

    number: int
    written_at: str
    after: int  # the last experiment at that time; 0: none yet
    idea: bool
    text: str
    source: str = ""  # where it comes from: ids of library documents, addresses
    outcome: str = Field(default="", description="What became of an idea; empty while it is open")

    @property
    def cited(self) -> str:
        """The text, and where it comes from."""
        return f"{self.text} (source: {self.source})" if self.source else self.text

    @property
    def open(self) -> bool:
        """Whether this is an idea that waits to be tried."""
        return self.idea and not self.outcome


_NOTES = TypeAdapter(list[Note])


class Notebook:
    """All notes of one tag, oldest first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.notes: list[Note] = []
        try:
            self.notes = _NOTES.validate_json(path.read_bytes()) if path.exists() else []
        except ValueError:
            old = set_aside(path)
            self.add(f"The file of notes was damaged. The old file is {old}.", idea=False, after=0)

    def add(self, text: str, idea: bool, after: int, source: str = "") -> Note:
        """Write a note down. Raises OSError; then there is none."""
        number = len(self.notes) + 1
        note = Note(number=number, written_at=utc_now(), after=after, idea=idea, text=text, source=source)
        self._write([*self.notes, note])
        return note

    def close(self, number: int, outcome: str, source: str = "") -> Note:
        """Strike an open idea. Raises UnknownNote, OSError; then it stays open."""
        found = next((note for note in self.notes if note.number == number and note.open), None)
        if found is None:
            numbers = ", ".join(str(note.number) for note in self.notes if note.open) or "none"
            raise UnknownNote(
                f"There is no open idea {number}.", f"Open ideas: {numbers}; history(notes=true) lists all."
            )
        closed = found.model_copy(update={"outcome": outcome, "source": source or found.source})
        self._write([closed if note is found else note for note in self.notes])
        return closed

    def _write(self, notes: list[Note]) -> None:
        write_whole(self._path, _NOTES.dump_json(notes, indent=1).decode())
        self.notes = notes
