"""What a process is told that becomes a command of program.md (trainer.confined)."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class CommandOrder:
    """What a command is and may do. Paths are absolute."""

    command: str  # for `sh -c`
    environment: dict[str, str]
    readable: list[str]  # files and folders, beside what is installed on the machine
    writable: str  # folder
    hidden: list[str]  # folders that are out of reach wherever they lie
    network: bool = False
    home: bool = False
    confine: bool = True
    children: bool = True  # whether processes may have their children forgotten (trainer.sandbox.guards)
    processes: bool = True  # whether it may read what the kernel tells of all processes
    keeps_orphans: bool = False  # orphans become the command's children, so that all it starts stays below it

    @classmethod
    def from_json(cls, text: str) -> "CommandOrder":
        """Read an order. Raises ValueError, TypeError."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        return json.dumps(asdict(self))
