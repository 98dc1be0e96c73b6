"""When a supervisor that holds its lease counts as hung.

It says something twice a second, but for the time that it computes. Silence is measured on the monotonic clock, between
looks of this process: a clock that is set, or a machine that sleeps, changes nothing. After a container was paused, its
supervisor looks silent for as long, so it gets a second chance.
"""

from server.runs.run_folder import RunFolder

ANSWER_SECONDS = 30.0  # until a cancelled run has ended
SLACK_SECONDS = 120.0  # beside its limits: data are made and read, processes ended, folders removed
CHANCE_SECONDS = 10.0  # between the look that finds it silent for too long and the one that says so


class HangDetector:
    """How long the supervisor of one run is silent."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._heard: tuple[int, bool] | None = None
        self._since = 0.0
        self._suspected: float | None = None

    def broken(self, now: float) -> str:
        """Why the supervisor must be hung; empty if it need not be. `now`: monotonic seconds."""
        cancelled = self._folder.cancelled
        heard = (self._folder.progress_version(), cancelled)
        if heard != self._heard:
            self._heard, self._since, self._suspected = heard, now, None
        limit = ANSWER_SECONDS if cancelled else _longest_silence(self._folder)
        if now - self._since <= limit:
            return ""
        self._suspected = now if self._suspected is None else self._suspected
        if now - self._suspected <= CHANCE_SECONDS:
            return ""
        told = "did not answer a cancel" if cancelled else "said nothing"
        return (
            f"The supervisor of this run {told} for {now - self._since:.0f} s, and was ended; the idea was not judged."
        )


def _longest_silence(folder: RunFolder) -> float:
    """For how long a supervisor may compute without a word: never longer than what it computes may take."""
    spec = folder.spec()
    try:
        return float(spec["setup_seconds"]) + float(spec["evaluation_seconds"]) + SLACK_SECONDS
    except (ValueError, KeyError, TypeError):
        return SLACK_SECONDS
