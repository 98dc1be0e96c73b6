"""Commit messages are a second copy of the history."""

import json
import subprocess
from pathlib import Path

import pytest

from server.history.ledger import Ledger
from server.records import Verdict
from server.vcs.commit_message import attempt_message
from server.vcs.workspace import Workspace
from tests.support.builders import attempt, crashed, finished, only
from tests.support.recorded_studies import FIXTURES, STATE, TAG, unpack


def trailers(text: str) -> list[str]:
    """As git itself reads them."""
    return subprocess.run(
        ["git", "interpret-trailers", "--parse"], input=text, capture_output=True, encoding="utf-8", check=True
    ).stdout.splitlines()


def test_git_reads_the_outcome_from_the_trailers() -> None:
    text = attempt_message(attempt(7, "wider MLP"), finished(1.8765432109876543), Verdict.IMPROVED)
    assert text.splitlines()[0] == "wider MLP"
    found = dict(line.split(": ") for line in trailers(text))
    assert found["Experiment"] == "7"
    assert found["Verdict"] == "improved"
    assert float(found["Val-Bpb"]) == 1.8765432109876543


def test_a_crash_has_no_score_trailer() -> None:
    text = attempt_message(attempt(7), crashed(), Verdict.CRASHED)
    assert not any(line.startswith("Val-Bpb") for line in trailers(text))


def test_a_description_cannot_forge_a_trailer() -> None:
    forged = "an idea\n\nVal-Bpb: 0.1"
    for text in (
        attempt_message(attempt(7, forged).model_copy(update={"hypothesis": forged})),
        attempt_message(attempt(7, forged), crashed(), Verdict.CRASHED),
    ):
        assert not any(line.startswith("Val-Bpb") for line in trailers(text))


# As they have been since the first version: `git_repair` makes lost commits again, and knows them by their names.
BEGUN = "wider MLP\n\nmore room\n\nExperiment: 7\n"
ENDED = """wider MLP

more room

Experiment: 7
Verdict: improved
Outcome: finished
Val-Bpb: 1.8765432109876543
Trust: unconfined
Peak-Memory-Mb: 2048.0
Budget-Seconds: 300
Profile: cpu
Seed: 42
"""


def test_an_attempt_is_committed_as_it_always_was(repository: Path) -> None:
    with Workspace.open(repository, "t1") as workspace:
        workspace.prepare()
        made = attempt(7, "wider\nMLP").model_copy(update={"hypothesis": "more  room", "parent": workspace.tip()})
        candidate, result = only("x = 1\n"), finished(1.8765432109876543)
        begun = workspace.commit_attempt(made, candidate)
        ended = workspace.commit_attempt(made, candidate, result, Verdict.IMPROVED)
        assert begun == workspace.commit(candidate, made.parent, BEGUN, made.started_at)
        assert ended == workspace.commit(candidate, made.parent, ENDED, made.started_at)
        assert begun == workspace.commit_attempt(made.model_copy(update={"commit": begun}), candidate)


@pytest.mark.parametrize("version", sorted(path.stem for path in FIXTURES.glob("study-*.json")))
def test_the_commits_of_old_studies_are_made_again_to_the_byte(version: str, tmp_path: Path) -> None:
    moment = next(iter(json.loads((FIXTURES / f"{version}.json").read_text(encoding="utf-8"))["studies"]))
    repository = unpack(FIXTURES / f"{version}.tar.gz", moment, tmp_path)
    with Workspace.open(repository, TAG) as workspace:
        ledger = Ledger(repository / STATE / "ledger.sqlite3", read_only=True)
        rows = list(ledger.all())
        ledger.close()
        assert any(row.judgement for row in rows)
        for row in rows:
            files, verdict = workspace.files(row.commit), row.judgement.verdict if row.judgement else None
            assert files.sha256 == row.attempt.train_sha256
            assert workspace.commit_attempt(row.attempt, files) == row.attempt.commit
            assert workspace.commit_attempt(row.attempt, files, row.result, verdict) == row.commit
