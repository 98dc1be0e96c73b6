"""What a study's texts call its candidate, its baseline and its runs: the one place for those words. Pure."""

import re
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Words:
    """Parts of sentences. `server.task.task_words` makes them from a task."""

    candidate: str  # what the agent changes
    original: str  # what the baseline is
    repair: str  # what the operator repairs where the baseline has no score
    invalid: str  # what a run that is invalid has done
    run: str  # what a run does to the candidate
    repaired: str = "then to start the server with a new --tag"  # how a study goes on once the operator has repaired it

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

# What texts of tools, resources and refusals say of a language model, and what they say of another task.
_OTHERWISE = {
    "Read the candidate: train.py, or the files": "Read the candidate: the files",
    "The candidate train.py": "The candidate",
    "the candidate train.py": "the candidate",
    "Only train.py can be changed. It must still parse, and may have 630 lines and 64 KiB at most.": "Only files that "
    "program.md lets you edit (status names them) can be changed, added or deleted: several in one patch, each named "
    "in "
    "a header or above its block.",
    "Commit the candidate and train it for the fixed budget.": "Commit the candidate and measure it: a run {run}.",
    "the unmodified train.py": "{original}",
    "runs with other seeds": "further runs",
    "return to the incumbent's train.py": "return to the incumbent's files",
    "diff, loss curve, timings": "diff, timings",
    "or kept, discarded or revoked": "or kept, discarded, revoked, or reported (what another tool's log has)",
    "constants at train.py's top level": "constants of {candidate} by name",
    "What train.py printed": "What the run printed",
    "in the five columns of karpathy/autoresearch": "as a table: commit, score, memory, status, description, trust",
    "train.py": "{candidate}",
}


_ANY = re.compile("|".join(map(re.escape, _OTHERWISE)))  # a longer one stands before what it holds


def in_words(text: str, words: Words) -> str:
    """A text about a language model in the words of another study. What they are filled with is not looked at again."""
    if words == LANGUAGE_MODEL:
        return text
    return _ANY.sub(lambda found: words.fill(_OTHERWISE[found[0]]), text)
