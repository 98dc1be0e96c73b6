"""What a study's texts call its candidate, its baseline and its runs: the one place for those words. Pure."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Words:
    """Parts of sentences. `server.task.task_words` makes them from a task."""

    candidate: str  # what the agent changes
    original: str  # what the baseline is
    repair: str  # what the operator repairs where the baseline has no score
    invalid: str  # what a run that is invalid has done
    run: str  # what a run does to the candidate

    def fill(self, text: str) -> str:
        """The text with these parts for {candidate}, {original} and the others; {Original} begins a sentence."""
        return text.format(**asdict(self), Original=self.original[0].upper() + self.original[1:])


LANGUAGE_MODEL = Words(
    candidate="train.py",
    original="the unmodified train.py",
    repair="train.py",
    invalid="has failed its audit",
    run="trains it for the fixed budget",
)
