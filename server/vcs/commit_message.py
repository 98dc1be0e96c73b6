"""The commit message of an attempt: what it tries, and, once it is known, how it ended, as git trailers. Pure."""

from server.records import Attempt, Result, Verdict


def attempt_message(attempt: Attempt, result: Result | None = None, verdict: Verdict | None = None) -> str:
    """The message of the commit that is run; with result and verdict, enough to rebuild the row from git alone."""
    trailers = [f"Experiment: {attempt.number}"]
    if attempt.source:
        trailers.append(f"Source: {' '.join(attempt.source.split())}")
    if result is not None and verdict is not None:
        trailers += _outcome(attempt, result, verdict)
    # One line each: a description must not be able to forge a trailer.
    paragraphs = [" ".join(attempt.description.split()), " ".join(attempt.hypothesis.split()), "\n".join(trailers)]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def _outcome(attempt: Attempt, result: Result, verdict: Verdict) -> list[str]:
    trailers = [f"Verdict: {verdict}", f"Outcome: {result.outcome}"]
    if result.score is not None and verdict is not Verdict.INVALID:  # what an audit has ended has no score that counts
        trailers += [f"{result.score.name.title().replace('_', '-')}: {result.score.value!r}", f"Trust: {result.trust}"]
    if result.figures.peak_memory_mb is not None:
        trailers.append(f"Peak-Memory-Mb: {result.figures.peak_memory_mb}")
    return [
        *trailers,
        f"Budget-Seconds: {attempt.budget_seconds:g}",
        f"Profile: {attempt.profile}",
        f"Seed: {attempt.seed}",
    ]
