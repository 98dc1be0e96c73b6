"""What the words of `autoresearch call` mean as arguments, and which of them are misspelt."""

import json
from pathlib import Path

import pytest

from server.clients.call_words import CallMisspelt, read_arguments, schema_of
from server.clients.tool_call import described
from tests.support.contracts import FOLDER

KNOWN = {name: schema for name, (_, schema) in described().items()}


def read(name: str) -> str:
    return {"file": "a\r\nb", "-": '{"limit": 5}', "json": "[1]"}[name]


@pytest.mark.parametrize(
    ("tool", "words", "base", "given"),
    [
        ("status", [], "", {}),
        ("read_train", ["start_line=3"], "", {"start_line": 3}),
        (
            "history",
            ["limit=2", "lessons=true", "verdict=worse"],
            "",
            {"limit": 2, "lessons": True, "verdict": "worse"},
        ),
        ("keep", ["reason=1 = 1"], "", {"reason": "1 = 1"}),
        ("apply_patch", ["patch=@file"], "", {"patch": "a\r\nb"}),
        ("run_experiment", ["description=true", "wait_seconds=1.5"], "", {"description": "true", "wait_seconds": 1.5}),
        ("wait_experiment", ["wait_seconds=null"], "", {"wait_seconds": None}),
        ("sweep", ['changes=[{"LR": 1}]', "description=x"], "", {"changes": [{"LR": 1}], "description": "x"}),
        ("note", ['text:="@x"'], "", {"text": "@x"}),
        ("sweep", ["changes:=@json", "description=x"], "", {"changes": [1], "description": "x"}),
        ("history", ["offset=1"], "@-", {"limit": 5, "offset": 1}),
        ("history", [], '{"limit": 2}', {"limit": 2}),
    ],
)
def test_a_word_is_typed_as_the_tool_has_it(tool: str, words: list[str], base: str, given: dict[str, object]) -> None:
    assert read_arguments(tool, schema_of(tool, KNOWN), words, base, read) == given


@pytest.mark.parametrize(
    ("tool", "words", "base", "told"),
    [
        ("read_trian", [], "", "Did you mean read_train"),
        ("zzz", [], "", "The tools are: status"),
        ("", [], "", "Name a tool"),
        ("read_train", ["3"], "", "'3' is not an argument"),
        ("read_train", ["=3"], "", "not an argument"),
        ("read_train", ["start=3"], "", "does not take start.*start_line, end_line"),
        ("read_train", ["start_line=x"], "", "not of type integer"),
        ("keep", [], "", "needs reason"),
        ("keep", ["reason:=x"], "", "reason is not JSON"),
        ("history", [], "[1]", "not an object"),
        ("history", ["limit=1", "limit=2"], "", "limit is given twice"),
        ("history", ["limit:=1"], '{"limit": 2}', "limit is given twice"),
        ("history", [], '{"limit": 2, "limit": 3}', "there twice"),
        ("note", ["text=a\udcff"], "", "not UTF-8"),
        ("note", [], '{"text": "a\udcff"}', "not UTF-8"),
        ("note", [], r'{"text": "a\ud83d"}', "not UTF-8"),
        ("note\udcff", [], "", "no tool|not UTF-8"),
        ("sweep", ["changes=" + "[" * 100_000, "description=x"], "", "not of type"),
        ("history", [], "{", "not JSON"),
    ],
)
def test_a_call_that_is_misspelt_is_told_how_it_is_spelt(tool: str, words: list[str], base: str, told: str) -> None:
    with pytest.raises(CallMisspelt, match=told) as error:
        read_arguments(tool, schema_of(tool, KNOWN), words, base, read)
    assert error.value.next_step


def test_the_schemas_are_those_that_a_server_shows() -> None:
    shown = {file.stem: json.loads(file.read_text(encoding="utf-8"))["inputSchema"] for file in Path(FOLDER).iterdir()}
    assert {tool: schema for tool, (_, schema) in described().items()} == shown
