"""An agent that has forgotten everything is back in the picture after one call, and what it wrote down is there."""

import fcntl
import json
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from server.api import history_views, views
from server.api.app import create
from server.errors import UnknownNote, UnknownVerdict
from server.records import Progress, Purpose, Verdict
from server.runs.hardware import Hardware
from server.serve_options import ServeOptions
from server.study.study import Study
from server.text import shorten
from tests.support.builders import experiment
from tests.support.corruption import obstructed
from tests.support.lifecycle import ran
from tests.support.repositories import PROGRAM


def a_whole_night(study: Study, words: str) -> None:
    """Every verdict, every limit, all that can be written down, and a machine with long names."""
    rule = "stop: {hours: 8, experiments: 100, target: 0.5, plateau: 30}\nkeep_rule:"
    program = PROGRAM.replace("keep_rule:", rule).replace("Do research.", f"\n# {words}\n")
    study.workspace.program.write_text(program, encoding="utf-8")
    study.hardware = Hardware(
        gpu="NVIDIA H100 80GB HBM3",
        gpu_memory_gb=79.6,
        driver="570.133.20",
        cpu="Intel(R) Xeon(R) Platinum 8480+",
        cores=208,
        memory_gb=2015.5,
        platform="Linux-6.8.0-57-generic-x86_64-with-glibc2.39",
    )
    others = cycle(Verdict)
    for number in range(1, 62):
        kept = number % 10 == 1
        verdict = Verdict.IMPROVED if kept else Verdict.WITHIN_NOISE if number > 50 else next(others)
        row = experiment(number, verdict, 2 - number / 1000, kept=kept)
        again = {"of": 41, "purpose": Purpose.REFERENCE} if number > 51 and number % 2 == 0 else {}
        study.ledger.begin(row.attempt.model_copy(update={"description": f"{number} {words}"[:300], **again}))
        if number == 61:
            break
        assert row.result and row.judgement and row.decision
        study.ledger.finish(number, row.result, row.judgement.model_copy(update={"delta": -1e-5 * number}))
        study.ledger.decide(number, row.decision)
    for number in range(10):
        study.notebook.add(f"{number} {words}", idea=number % 2 == 0, after=61)


async def test_status_tells_a_whole_night_in_less_than_four_kilobytes(study: Study) -> None:
    words = '把学习率"提高\\到百分之三" 并且延长' * 20
    a_whole_night(study, words)
    study.runs.path(61).mkdir(parents=True)
    told = Progress(stage="training", elapsed_seconds=123.4, steps=812, loss=3.412345, gpu_strangers=None)
    (study.runs.path(61) / "progress.json").write_text(told.model_dump_json(), encoding="utf-8")
    with (study.runs.path(61) / "lease").open("wb") as lease:  # as a supervisor holds it
        fcntl.flock(lease, fcntl.LOCK_EX)
        async with Client(create(study)) as client:
            answered = await client.call_tool("status", {})
    (text,) = (getattr(block, "text", "") for block in answered.content)
    seen: Any = answered.structured_content
    assert len(text.encode()) < 4096 and len(json.dumps(seen, ensure_ascii=False).encode()) < 4096
    assert seen["running"]["steps"] == 812 and {*map(str, Verdict)} <= {*seen["counts"]}
    numbers = [line.partition(":")[0] for line in seen["memory"]["recent"]]
    assert numbers == [str(number) for number in (61, 59, 57, 55, 53, 51, 50, 49, 48, 47)]
    assert [line.partition(":")[0] for line in seen["memory"]["path"]] == ["51", "41", "31", "21"]
    assert seen["memory"]["near_misses"][0].startswith("60: -0.0006")
    assert [line.partition(":")[0] for line in seen["memory"]["ideas"]] == ["9", "7", "5"]
    assert all(words[:3] in line for line in seen["memory"]["ideas"]) and words[:8] in seen["program"]
    assert seen["next_actions"] and seen["noise"] and seen["limits"] and seen["program_sha256"]


@pytest.mark.parametrize(
    "text", ["", "short", "one two  three\nfour", "x" * 99, "a b" * 99, "损失" * 40, '"' * 50, "é\x00" * 40]
)
def test_a_line_is_cut_by_the_bytes_it_takes_in_an_answer(text: str) -> None:
    whole = " ".join(text.split())
    for most in (32, 80):
        line = shorten(text, most)
        taken = len(json.dumps(line, ensure_ascii=False).encode()) - 2
        assert taken <= most and (line == whole or (line.endswith(" …") and taken > 2 * most / 3))
        assert whole.startswith(line.removesuffix(" …"))


def test_notes_outlive_the_server_and_ideas_are_struck_with_what_became_of_them(study: Study, repository: Path) -> None:
    ran(study, 2.0)
    history_views.write_note(study, "the loss spikes at step 300", idea=False, closes=0)
    history_views.write_note(study, "try a longer warm-up", idea=True, closes=0)
    assert history_views.write_note(study, "tie the embeddings", idea=True, closes=0).open_ideas == 2
    study.close()
    after = Study(repository, "t1", ServeOptions(profile="smoke"))
    assert views.status(after).memory.ideas == ["3: tie the embeddings", "2: try a longer warm-up"]
    assert views.status(after).memory.notes == ["1: the loss spikes at step 300"]
    struck = history_views.write_note(after, "worse by 0.01, experiment 7", idea=False, closes=2)
    assert (struck.note.text, struck.note.outcome) == ("try a longer warm-up", "worse by 0.01, experiment 7")
    for number in (1, 2, 9):  # no idea, closed already, not there
        with pytest.raises(UnknownNote, match="Open ideas: 3"):
            history_views.write_note(after, "again", idea=False, closes=number)
    found = history_views.list_notes(after, 2, 1)
    assert found.total == 3 and found.notes and [note.number for note in found.notes] == [2, 1]
    assert [note.after for note in found.notes] == [1, 1]
    after.close()


async def test_a_disk_that_takes_no_note_is_told_with_what_to_do(study: Study) -> None:
    async with Client(create(study)) as client:
        with obstructed(study.workspace.state / "notes.json"):
            told = await client.call_tool("note", {"text": "lost"})
        assert told.is_error and "The machine failed" in str(told.content) and "Call status()" in str(told.content)
        assert not (await client.call_tool("note", {"text": "kept"})).is_error


def test_history_shows_what_was_kept_or_given_up_and_knows_every_verdict(study: Study) -> None:
    for number, kept in ((1, True), (2, False), (3, True), (4, None), (5, False)):
        row = experiment(number, Verdict.WORSE, 2.0, kept=kept)
        assert row.result and row.judgement
        study.ledger.begin(row.attempt)
        study.ledger.finish(number, row.result, row.judgement)
        if row.decision:
            study.ledger.decide(number, row.decision)

    def shown(limit: int, offset: int, verdict: str) -> tuple[int, list[int]]:
        told = history_views.list_experiments(study, limit, offset, verdict)
        return told.total, [row.experiment for row in told.rows]

    assert shown(9, 0, "kept") == (2, [3, 1]) and shown(1, 1, "discarded") == (2, [2])
    assert shown(2, 1, "worse") == (5, [4, 3]) and shown(9, 0, "crashed") == (0, []) and shown(9, 0, "")[0] == 5
    known = r"no verdict 'wrose'. Known are baseline, .*, queued, running, kept, discarded"
    with pytest.raises(UnknownVerdict, match=known):
        history_views.list_experiments(study, 9, 0, "wrose")


def test_a_note_may_be_taken_in_every_phase(study: Study) -> None:
    assert history_views.write_note(study, "before the first run", idea=False, closes=0).note.after == 0
    assert study.ledger.last() is None and study.phase() == "new"
