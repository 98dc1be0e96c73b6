"""What clients report of tokens and money, in the forms that each of them prints."""

import json
from pathlib import Path
from typing import Any

import pytest

from server.clients.expenses import Expenses
from server.clients.usage import LogTail, Meter, Spent
from server.paths import StudyPaths
from server.reporting.bill import AgentBill, bill_in_words, read_agent_bill, write_agent_bill


def read(*lines: Any) -> Spent:
    meter = Meter()
    for line in lines:
        meter.read(line if isinstance(line, bytes) else json.dumps(line).encode())
    return meter.spent


def claude(name: str, **usage: int) -> dict[str, Any]:
    return {"type": "assistant", "message": {"id": name, "usage": usage}}


def test_claude_code_while_it_works_and_at_its_end() -> None:
    first = claude("a", input_tokens=3, cache_read_input_tokens=100, cache_creation_input_tokens=20, output_tokens=5)
    again = claude("a", input_tokens=3, cache_read_input_tokens=100, cache_creation_input_tokens=20, output_tokens=9)
    assert read({"type": "system"}, first, again, claude("b", input_tokens=7, output_tokens=1)) == (130, 100, 10, None)
    end = {"type": "result", "total_cost_usd": 0.25, "usage": {"input_tokens": 50, "output_tokens": 12}}
    assert read(first, end) == (50, 0, 12, 0.25)
    models = {"opus": {"inputTokens": 50, "outputTokens": 12}, "haiku": {"cacheReadInputTokens": 5, "outputTokens": 1}}
    assert read(first, {**end, "modelUsage": models}) == (55, 5, 13, 0.25)
    assert read(first, {"type": "result", "is_error": True}) == (123, 100, 5, None)


def test_codex_of_today_and_of_2025() -> None:
    usage = {"input_tokens": 24763, "cached_input_tokens": 24448, "output_tokens": 122}
    turn = {"type": "turn.completed", "usage": usage}
    assert read({"type": "thread.started"}, turn, turn) == (49526, 48896, 244, None)
    count = {"id": "1", "msg": {"type": "token_count", "info": {"total_token_usage": usage}}}
    assert read(count, count) == (24763, 24448, 122, None)


def test_gemini_in_both_forms() -> None:
    tokens = {"prompt": 24939, "candidates": 20, "cached": 21263, "thoughts": 154}
    assert read({"response": "x", "stats": {"models": {"pro": {"tokens": tokens}}}}) == (24939, 21263, 174, None)
    stream = {"type": "result", "stats": {"input_tokens": 10, "output_tokens": 2, "cached": 4, "total_tokens": 12}}
    assert read(stream) == (10, 4, 2, None)


def test_opencode_step_by_step() -> None:
    tokens = {"input": 10, "output": 5, "reasoning": 2, "cache": {"read": 100, "write": 3}}
    step = {"type": "step_finish", "part": {"type": "step-finish", "cost": 0.5, "tokens": tokens}}
    assert read(step, step) == (226, 200, 14, 1.0)


@pytest.mark.parametrize(
    "line",
    [
        b"a line of text",
        b"",
        b"{",
        b"{" * 5000,
        b"[1, 2]",
        b"null",
        {"type": "assistant", "message": "no"},
        {"type": "assistant", "message": {"id": 1, "usage": {"input_tokens": -5, "output_tokens": "9"}}},
        {"type": "result", "total_cost_usd": "free"},
        {"type": "result", "total_cost_usd": -1, "usage": {"input_tokens": 1e300}},
        {"type": "turn.completed", "usage": None},
        b'{"type": "result", "total_cost_usd": NaN}',
        b'{"type": "result", "total_cost_usd": true}',
    ],
)
def test_what_is_no_report_counts_nothing(line: Any) -> None:
    assert read(line) == (0, 0, 0, None)


def test_a_log_is_read_as_it_grows_and_after_it_was_cut(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"old\n")
    tail = LogTail(log)
    with log.open("ab") as file:
        file.write(b"one\ntw")
        file.flush()
        assert tail.lines() == [b"one"]
        file.write(b"o\n")
        file.flush()
        assert tail.lines() == [b"two"]
    log.write_bytes(b"x\n")
    assert tail.lines() == [b"x"] and tail.lines() == []
    log.unlink()
    assert tail.lines() == []


def test_a_line_that_never_ends_takes_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.clients.usage._LONGEST", 1000)
    log = tmp_path / "log"
    log.touch()
    tail = LogTail(log)
    log.write_bytes(b"a\n" + b"x" * 5000)
    assert tail.lines() == [b"a"]
    with log.open("ab") as file:
        file.write(b"still the same line\nb\n")
    assert tail.lines() == [b"b"]


def test_the_bill_of_a_study_adds_up_over_drives(tmp_path: Path) -> None:
    paths, log = StudyPaths(tmp_path / "t1"), tmp_path / "log"
    log.touch()
    first = Expenses(paths, "claude-code", log)
    first.begin()
    step = {"type": "step_finish", "part": {"cost": 0.5, "tokens": {"input": 1_000_000, "output": 50}}}
    log.write_bytes(json.dumps(step).encode() + b"\n")
    first.look()
    assert read_agent_bill(paths) is None, "the study has no folder yet"
    paths.state.mkdir()
    first.look()
    assert read_agent_bill(paths) == AgentBill(client="claude-code", starts=1, tokens_in=10**6, tokens_out=50, usd=0.5)
    assert bill_in_words(paths) == "claude-code: 1.0 M tokens in, 50 out, $0.50"
    second = Expenses(paths, "claude-code", log)
    second.begin()
    with log.open("ab") as file:
        file.write(json.dumps(step).encode() + b"\n")
    second.look()
    told = read_agent_bill(paths)
    assert told and (told.starts, told.tokens_in, told.usd) == (2, 2 * 10**6, 1.0)
    assert second.reached(0.5, 0) == "the client has cost $0.50 of $0.50" and not second.reached(0.6, 0)
    assert second.reached(0, 1_000_050) == "the client has used 1.0 M of 1.0 M tokens" and not second.reached(
        0, 2 * 10**6
    )
    paths.bill.write_text("{broken", encoding="utf-8")
    assert read_agent_bill(paths) is None
    write_agent_bill(paths, AgentBill(client="x"))
    assert bill_in_words(paths) == ""
