"""The commit message of an attempt: what it tries, and, once it is known, how it ended, as git trailers. Pure."""

from server.records import Attempt, Result, Verdict


def attempt_message(attempt_number: int, description: str, hypothesis: str) -> str:
    """The message of a commit that is about to be run."""
    return _commit_message(description, hypothesis, [f"Experiment: {attempt_number}"])


def result_message(attempt: Attempt, result: Result, verdict: Verdict) -> str:
    """The message of the commit that stands for a finished attempt: enough to rebuild its row from git alone."""
    trailers = [f"Experiment: {attempt.number}", f"Verdict: {verdict}", f"Outcome: {result.outcome}"]
    if result.score is not None and verdict is not Verdict.INVALID:  # what an audit has ended has no score that counts
        trailers += [f"{result.score.name.title().replace('_', '-')}: {result.score.value!r}", f"Trust: {result.trust}"]
    if result.figures.peak_memory_mb is not None:
        trailers.append(f"Peak-Memory-Mb: {result.figures.peak_memory_mb}")
    trailers += [f"Budget-Seconds: {attempt.budget_seconds:g}", f"Profile: {attempt.profile}", f"Seed: {attempt.seed}"]
    return _commit_message(attempt.description, attempt.hypothesis, trailers)


def _commit_message(description: str, hypothesis: str, trailers: list[str]) -> str:
    # One line each: a description must not be able to forge a trailer.
    paragraphs = [" ".join(description.split()), " ".join(hypothesis.split()), "\n".join(trailers)]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"
