"""What a process may reach, and what one is told that becomes a command of program.md (trainer.confined).

Standard library only, and little of it (dataclasses take a third of the time): a process imports this before each
command.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple


class Allowlist(NamedTuple):
    """All that a process may reach: files, or folders with everything below."""

    readable: list[Path]  # and to be run
    listed: list[Path]  # only the names in these folders may be seen
    devices: list[Path]  # to read, write and control
    writable: Path


class CommandOrder(NamedTuple):
    """What a command is and may do."""

    command: str  # for `sh -c`
    environment: dict[str, str]
    allowed: Allowlist | None  # None: no guard is put on
    network: bool = False
    home: bool = False
    children: bool = True  # whether a process may be told that a child has ended, and so also have it forgotten
    asks: bool = (
        False  # the referee is asked about modes and times of files, and sets them (trainer.commands.file_modes)
    )
    keeps_orphans: bool = False  # orphans become the command's children, so that all it starts stays below it

    @classmethod
    def from_json(cls, text: str) -> "CommandOrder":
        """Read an order. Raises ValueError, TypeError, KeyError."""
        told: dict[str, Any] = json.loads(text)
        if reach := told["allowed"]:
            lists = {name: [Path(path) for path in reach[name]] for name in ("readable", "listed", "devices")}
            told["allowed"] = Allowlist(**lists, writable=Path(reach["writable"]))
        return cls(**told)

    def to_json(self) -> str:
        told = self._asdict() | {"allowed": self.allowed._asdict() if self.allowed else None}
        return json.dumps(told, default=str)
