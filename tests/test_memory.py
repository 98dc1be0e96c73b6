"""An agent that has forgotten everything is back in the picture after one call, and what it wrote down is there."""

from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from server import answer, recall
from server.app import create
from server.choices import Choices
from server.errors import UnknownNote
from server.experiment import Verdict
from server.session import Session
from tests.damage import obstructed
from tests.records import experiment
from tests.steps import ran

LONG = "a description of three hundred characters, as long as run_experiment takes it " * 4


async def test_status_tells_a_whole_night_in_less_than_four_kilobytes(night: Session) -> None:
    for number in range(1, 208):
        verdict, kept = (Verdict.IMPROVED, True) if number % 20 == 1 else (Verdict.WITHIN_NOISE, False)
        row = experiment(number, verdict, 2 - number / 1000, kept=kept)
        night.ledger.begin(row.attempt.model_copy(update={"description": f"{number} {LONG}"[:300]}))
        assert row.result and row.judgement and row.decision
        night.ledger.finish(number, row.result, row.judgement.model_copy(update={"delta": -1e-5 * number}))
        night.ledger.decide(number, row.decision)
    for number in range(30):
        recall.noted(night, f"{number} {LONG}", idea=number % 2 == 0, closes=0)
    async with Client(create(night)) as client:
        told = await client.call_tool("status", {})
    (text,) = (getattr(block, "text", "") for block in told.content)
    assert len(text.encode()) < 4096 - 300, len(text.encode())  # guards, and what a run under way adds
    seen: Any = told.structured_content
    assert [line.partition(":")[0] for line in seen["memory"]["recent"]] == [str(n) for n in range(207, 197, -1)]
    assert [line.partition(":")[0] for line in seen["memory"]["path"]] == ["201", "181", "161", "141"]
    assert seen["memory"]["near_misses"][0].startswith("207: -0.0021")
    assert [line.partition(":")[0] for line in seen["memory"]["ideas"]] == ["29", "27", "25"]
    assert seen["next_actions"] and seen["noise"] and seen["limits"] and seen["program_sha256"]


def test_notes_outlive_the_server_and_ideas_are_struck_with_what_became_of_them(
    night: Session, repository: Path
) -> None:
    ran(night, 2.0)
    recall.noted(night, "the loss spikes at step 300", idea=False, closes=0)
    recall.noted(night, "try a longer warm-up", idea=True, closes=0)
    assert recall.noted(night, "tie the embeddings", idea=True, closes=0).open_ideas == 2
    night.close()
    after = Session(repository, "t1", Choices(profile="smoke"))
    assert answer.status(after).memory.ideas == ["3: tie the embeddings", "2: try a longer warm-up"]
    assert answer.status(after).memory.notes == ["1: the loss spikes at step 300"]
    struck = recall.noted(after, "worse by 0.01, experiment 7", idea=False, closes=2)
    assert (struck.note.text, struck.note.outcome) == ("try a longer warm-up", "worse by 0.01, experiment 7")
    for number in (1, 2, 9):  # no idea, closed already, not there
        with pytest.raises(UnknownNote, match="Open ideas: 3"):
            recall.noted(after, "again", idea=False, closes=number)
    found = recall.notes(after, 2, 1)
    assert found.total == 3 and found.notes and [note.number for note in found.notes] == [2, 1]
    assert [note.after for note in found.notes] == [1, 1]
    after.close()


async def test_a_disk_that_takes_no_note_is_told_with_what_to_do(night: Session) -> None:
    async with Client(create(night)) as client:
        with obstructed(night.workspace.state / "notes.json"):
            told = await client.call_tool("note", {"text": "lost"})
        assert told.is_error and "The machine fails" in str(told.content) and "call status()" in str(told.content)
        assert not (await client.call_tool("note", {"text": "kept"})).is_error


def test_a_note_may_be_taken_in_every_phase(night: Session) -> None:
    assert recall.noted(night, "before the first run", idea=False, closes=0).note.after == 0
    assert night.ledger.last() is None and night.phase() == "new"
