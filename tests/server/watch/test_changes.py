"""What changes is told once, to everybody, without reading what has not changed; what was missed is told again."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple, cast

import anyio
import pytest

from server.records import Experiment
from server.study.find_study import OperatorRequest, write_request
from server.watch import changes as module
from server.watch.changes import Changes
from tests.server.reporting.test_view_summary import NIGHT
from tests.support.made_studies import made, report, running, study_paths, write
from tests.support.polling import PATIENCE


class Heard(NamedTuple):
    """An event as a browser hears it."""

    cursor: str
    name: str
    data: dict[str, Any]


def _read_again(_: object) -> None:
    pytest.fail("it was read again")


def watched(folder: Path, rows: Sequence[Experiment] = NIGHT) -> Changes:
    (folder / "program.md").write_text("---\nname: a study\n---\nDo research.\n", encoding="utf-8")
    paths = study_paths(folder)
    if rows:
        write(paths, rows)
    return Changes(lambda: paths)


async def hear(stream: AsyncIterator[str], many: int = 1) -> list[Heard]:
    """The next events, without what only keeps the line open."""
    found: list[Heard] = []
    with anyio.fail_after(PATIENCE):
        while len(found) < many:
            fields = dict(line.split(": ", 1) for line in (await anext(stream)).strip().splitlines())
            if "event" in fields:
                found.append(Heard(fields.get("id", ""), fields["event"], json.loads(fields["data"])))
    return found


def stream_of(changes: Changes, after: str) -> "aclosing[AsyncGenerator[str]]":
    return aclosing(cast("AsyncGenerator[str]", changes.events(after)))


async def test_a_row_that_was_written_is_told_alone_with_what_follows_from_it(tmp_path: Path) -> None:
    changes = watched(tmp_path, NIGHT[:4])
    before = json.loads(await changes.summary())
    async with stream_of(changes, before["cursor"]) as stream:
        await anext(stream)
        write(study_paths(tmp_path), NIGHT[4:])
        await changes.look()
        (event,) = await hear(stream)
    assert event.name == "update" and event.data["rows"]["number"] == [
        1,
        4,
        6,
    ]  # 6 is new, the others have another error
    assert "rows" not in event.data["rest"] and event.data["rest"]["counts"]["experiments"] == 3
    after = json.loads(await changes.summary())
    assert before["rows"]["number"] == [1, 4]
    assert after["cursor"] == event.cursor and after["rows"]["number"] == [1, 4, 6]


async def test_where_nothing_changes_nothing_is_read_or_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = watched(tmp_path)
    await changes.look()
    cursor = changes.cursor
    monkeypatch.setattr(changes.view, "summary", _read_again)
    for _ in range(20):
        await changes.look()
    assert changes.cursor == cursor


async def test_the_progress_of_a_run_is_told_without_reading_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = watched(tmp_path, [*NIGHT, Experiment(attempt=made(9, "it runs"))])
    with running(study_paths(tmp_path), 9, elapsed=10.0) as folder:
        await changes.look()
        monkeypatch.setattr(changes.view, "summary", _read_again)
        async with stream_of(changes, changes.cursor) as stream:
            await anext(stream)
            report(folder, 40.0, loss=2.5)
            await changes.look()
            (event,) = await hear(stream)
            assert (event.name, event.data["now"]["elapsed"], event.data["now"]["loss"]) == ("now", 40.0, 2.5)
            write_request(study_paths(tmp_path).state, OperatorRequest.PAUSE)
            await changes.look()
            (event,) = await hear(stream)
            assert event.data["study"]["asked"] == "pause"
    assert json.loads(await changes.summary())["now"]["elapsed"] == 40.0  # whoever comes now sees the same


async def test_what_was_missed_is_told_again_and_what_is_not_known_any_more_is_a_new_start(tmp_path: Path) -> None:
    changes = watched(tmp_path, NIGHT[:1])
    first = json.loads(await changes.summary())["cursor"]
    for at in range(1, 4):
        write(study_paths(tmp_path), NIGHT[at : at + 1])
        await changes.look()
    async with stream_of(changes, first) as stream:
        events = await hear(stream, 3)
    assert [event.name for event in events] == ["update"] * 3 and events[-1].cursor == changes.cursor
    async with stream_of(changes, events[1].cursor) as stream:
        assert (await hear(stream))[0] == events[2]
    for cursor in ("", "nonsense", "00000000.1", f"{changes.boot}.99999", f"{changes.boot}.x", f"{changes.boot}.²"):
        async with stream_of(changes, cursor) as stream:
            (event,) = await hear(stream)
        assert (event.name, event.cursor) == ("reset", changes.cursor), cursor


async def test_a_ledger_that_was_rebuilt_is_a_new_start_and_one_that_is_damaged_hides_nothing(tmp_path: Path) -> None:
    changes = watched(tmp_path)
    await changes.look()
    async with stream_of(changes, changes.cursor) as stream:
        await anext(stream)
        ledger = study_paths(tmp_path).ledger
        ledger.rename(ledger.with_suffix(".aside"))
        ledger.write_bytes(b"this is no ledger" * 1000)
        await changes.look()
        (event,) = await hear(stream)
        assert event.name == "trouble" and "ledger" in event.data["text"]
        assert json.loads(await changes.summary())["headline"]["best"]["number"] == 4
        ledger.unlink()
        write(study_paths(tmp_path), NIGHT[:1])
        await changes.look()
        assert {event.name for event in await hear(stream, 2)} == {"reset", "trouble"}
    assert json.loads(await changes.summary())["rows"]["number"] == [1]


async def test_a_study_that_begins_while_the_page_is_open_appears_on_it(tmp_path: Path) -> None:
    changes = watched(tmp_path, [])
    assert json.loads(await changes.summary())["rows"]["number"] == []
    async with stream_of(changes, changes.cursor) as stream:
        await anext(stream)
        write(study_paths(tmp_path), NIGHT[:1])
        await changes.look()
        (event,) = await hear(stream)
    assert event.name == "update" and event.data["rows"]["number"] == [1]


async def test_a_listener_that_does_not_read_is_let_go_and_may_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_QUEUE", 2)
    changes = watched(tmp_path, NIGHT[:1])
    await changes.look()
    first = changes.cursor
    async with stream_of(changes, first) as slow:
        await anext(slow)
        for at in range(1, 6):
            write(study_paths(tmp_path), NIGHT[at : at + 1])
            await changes.look()
        events = await hear(slow, 2)
        with pytest.raises(StopAsyncIteration):
            await anext(slow)
    async with stream_of(changes, events[-1].cursor) as again:
        assert (await hear(again, 3))[-1].cursor == changes.cursor
