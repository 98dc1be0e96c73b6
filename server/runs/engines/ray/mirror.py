"""A run's files on a node, brought into the run's folder here. The ending comes last, and everything whole."""

import json
import os
from contextlib import suppress
from pathlib import Path

from server.runs.engines.ray.tenant import GROWING, LAST, WHOLE
from trainer.contract import RunFile

Files = dict[str, tuple[int, bytes]]  # by name: at which offset, and what


def seen(folder: Path) -> dict[str, int]:
    """How much of each growing file is here."""
    found: dict[str, int] = {}
    for name in GROWING:
        with suppress(OSError):
            found[name] = (folder / name).stat().st_size
    return found


def receive(folder: Path, files: Files) -> bool:
    """Bring what has arrived into the folder. Returns whether the run is over by it.

    Only files that a run has are taken, whatever the node sends. Raises OSError: what arrived is asked for again.
    """
    for name in GROWING:
        if name in files:
            _extend(folder / name, *files[name])
    for name in WHOLE:
        if name in files and name not in LAST:
            _replace(folder / name, files[name][1])
    over = False
    for name in LAST:
        if name in files:
            _replace(folder / name, files[name][1], durable=True)
            over = True
    return over


def give_up(folder: Path, outcome: str, why: str, node: str = "") -> None:
    """Say that there will be no result. Raises OSError."""
    if not any((folder / name).exists() for name in LAST):
        told = json.dumps({"outcome": outcome, "why": why, "node": node})
        _replace(folder / RunFile.GONE, told.encode(), durable=True)


def say(folder: Path, stage: str) -> None:
    """Show where a run is that has no supervisor yet. Raises OSError."""
    _replace(folder / RunFile.PROGRESS, json.dumps({"stage": stage}).encode())


def _extend(path: Path, offset: int, data: bytes) -> None:
    """Write at the offset: who writes twice, as two of us might for a moment, writes the same."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        if offset <= os.fstat(descriptor).st_size:  # else something between is missing: it comes again
            os.pwrite(descriptor, data, offset)
    finally:
        os.close(descriptor)


def _replace(path: Path, data: bytes, durable: bool = False) -> None:
    temporary = path.with_name(f".{path.name}.mirror")
    with temporary.open("wb") as file:
        file.write(data)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    temporary.replace(path)
