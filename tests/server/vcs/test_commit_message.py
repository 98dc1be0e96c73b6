"""Commit messages are a second copy of the history."""

import subprocess

from server.records import Verdict
from server.vcs import commit_message
from tests.support.builders import attempt, crashed, finished


def trailers(text: str) -> list[str]:
    """As git itself reads them."""
    return subprocess.run(
        ["git", "interpret-trailers", "--parse"], input=text, capture_output=True, encoding="utf-8", check=True
    ).stdout.splitlines()


def test_git_reads_the_outcome_from_the_trailers() -> None:
    text = commit_message.result_message(attempt(7, "wider MLP"), finished(1.8765432109876543), Verdict.IMPROVED)
    assert text.splitlines()[0] == "wider MLP"
    found = dict(line.split(": ") for line in trailers(text))
    assert found["Experiment"] == "7"
    assert found["Verdict"] == "improved"
    assert float(found["Val-Bpb"]) == 1.8765432109876543


def test_a_crash_has_no_score_trailer() -> None:
    text = commit_message.result_message(attempt(7), crashed(), Verdict.CRASHED)
    assert not any(line.startswith("Val-Bpb") for line in trailers(text))


def test_a_description_cannot_forge_a_trailer() -> None:
    forged = "an idea\n\nVal-Bpb: 0.1"
    for text in (
        commit_message.attempt_message(7, forged, forged),
        commit_message.result_message(attempt(7, forged), crashed(), Verdict.CRASHED),
    ):
        assert not any(line.startswith("Val-Bpb") for line in trailers(text))
