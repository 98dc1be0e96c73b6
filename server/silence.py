"""A supervisor that says nothing any more: stopped, or waiting for a disk that is dead. Nobody else would end its run.

Time is the monotonic clock's, between looks of ours: a clock that is set moves nothing, and neither does a machine
that sleeps. A container that was paused with us in it finds its supervisor silent for as long, and gets a chance.
"""

import json
from pathlib import Path

ANSWER_SECONDS = 30.0  # until a cancelled run has ended
SLACK_SECONDS = 120.0  # beside its limits: data are made and read, processes ended, folders removed
CHANCE_SECONDS = 10.0  # between the look that finds it silent for too long and the one that says so


class Silence:
    """Of the run that is looked at; of one at a time."""

    def __init__(self) -> None:
        self._heard: tuple[Path, int, bool] | None = None
        self._since = 0.0
        self._suspected: float | None = None

    def broken(self, folder: Path, now: float) -> str:
        """Why the supervisor of the run in `folder` must be hung; empty if it need not be. `now`: monotonic."""
        cancelled = (folder / "cancel").exists()
        heard = (folder, _written(folder / "progress.json"), cancelled)
        if heard != self._heard:
            self._heard, self._since, self._suspected = heard, now, None
        limit = ANSWER_SECONDS if cancelled else _patience(folder)
        if now - self._since <= limit:
            return ""
        self._suspected = now if self._suspected is None else self._suspected
        if now - self._suspected <= CHANCE_SECONDS:
            return ""
        told = "did not answer a cancel" if cancelled else "said nothing"
        return f"The supervisor of this run {told} for {now - self._since:.0f} s, and was ended; no idea was judged."


def _written(path: Path) -> int:
    """Which version of the file this is: every one is a new file, renamed into place twice a second."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _patience(folder: Path) -> float:
    """For how long a supervisor may compute without a word: never longer than what it computes may take."""
    try:
        spec = json.loads((folder / "spec.json").read_bytes())
        return float(spec["setup_seconds"]) + float(spec["evaluation_seconds"]) + SLACK_SECONDS
    except (OSError, ValueError, KeyError, TypeError):
        return SLACK_SECONDS
