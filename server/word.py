"""What the operator says from another terminal while a night runs: one small file beside its ledger."""

from enum import StrEnum
from pathlib import Path

from server.files import write_whole

NAME = "operator"


class Word(StrEnum):
    """Nothing new is started after either; a run under way goes on."""

    PAUSE = "pause"
    STOP = "stop"


def say(state: Path, word: Word | None) -> None:
    """Leave a word for the night in folder `state`; None takes it back. Raises OSError."""
    if word is None:
        (state / NAME).unlink(missing_ok=True)
        return
    try:
        write_whole(state / NAME, f"{word}\n")
    except (OSError, ValueError):
        if word is not Word.STOP:
            raise
        (state / NAME).write_bytes(b"")  # takes no space on a full disk, and is heard as a stop


def heard(state: Path) -> Word | None:
    """The operator's last word; what cannot be read is a stop: somebody wanted something."""
    try:
        told = (state / NAME).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return Word.STOP
    return Word(told) if told in {word.value for word in Word} else Word.STOP
