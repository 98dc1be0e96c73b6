"""Arguments as models and clients send them, against the schemas of the real tools."""

from typing import Any

import pytest
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool

from server.api.app import register_tools
from server.api.arguments import given
from server.api.tools import Tools


@pytest.fixture(scope="module")
def tools() -> dict[str, Tool]:
    """The tools by their names; none of them is called here."""
    return {tool.name: tool for tool in register_tools(Tools(None))}  # pyright: ignore[reportArgumentType]


NEEDED: dict[str, Any] = {"description": "an idea", "text": "a note", "reason": "why", "changes": [{"RATE": 1}]}


@pytest.mark.parametrize("nothing", [None, ""])
def test_null_for_what_is_optional_is_as_if_it_were_not_given(tools: dict[str, Tool], nothing: str | None) -> None:
    for tool in tools.values():
        model = tool.fn_metadata.arg_model
        needed = {name: NEEDED[name] for name in tool.parameters.get("required", [])}
        optional = dict.fromkeys(model.model_fields.keys() - needed, nothing)
        without = tool.fn_metadata.validate_arguments(needed)
        assert tool.fn_metadata.validate_arguments(given({**needed, **optional}, model)) == without


def test_what_is_given_stays(tools: dict[str, Tool]) -> None:
    said = {"text": "", "idea": False, "closes": 0}
    assert given(said, tools["note"].fn_metadata.arg_model) == said
    patch = {"patch": "null\0", "base_sha256": "none"}
    assert given(patch, tools["apply_patch"].fn_metadata.arg_model) == patch


def test_what_no_file_or_terminal_can_hold_is_replaced_at_any_depth(tools: dict[str, Tool]) -> None:
    model = tools["sweep"].fn_metadata.arg_model
    found = given({"description": "try \ud83d\0\x1b[2J\t\n", "changes": [{"A\udc00": "é \ud83d\udc1b \ud83d"}]}, model)
    assert found == {"description": "try \ufffd\ufffd\ufffd[2J", "changes": [{"A\ufffd": "é 🐛 \ufffd"}]}


BLANKS = [
    " ",
    "   \t ",
    "\n\n\n",
    "\u200b\u200b\u200b",
    "\ufeff \u2060\u00ad",
    "\u3000\u2028\x85",
    "\u2800\u3164",
    "\ufe0f \u200d",
]


@pytest.mark.parametrize("blank", BLANKS)
def test_a_text_that_must_say_something_has_more_than_blanks(tools: dict[str, Tool], blank: str) -> None:
    texts = [
        (tool.fn_metadata.arg_model, name)
        for tool in tools.values()
        for name in tool.parameters.get("required", [])
        if name != "changes"
    ]
    assert len(texts) == 6
    for model, name in texts:
        with pytest.raises(ToolError, match=f"^{name} is blank. Write a few words"):
            given({name: blank}, model)
    assert given({"hypothesis": blank}, tools["run_experiment"].fn_metadata.arg_model) == {"hypothesis": ""}


@pytest.mark.parametrize(
    "text", ["two\nlines", "a\u200bb", "❤\ufe0f", "\U0001f3f4\U000e0067\U000e007f", "e\u0301", "#"]
)
def test_what_is_seen_of_a_text_stays(tools: dict[str, Tool], text: str) -> None:
    model = tools["keep"].fn_metadata.arg_model
    assert given({"reason": f"\ufeff \n{text}\u200b \r\n"}, model) == {"reason": text}
    patch = {"patch": f" {text}\n"}
    assert given(patch, tools["apply_patch"].fn_metadata.arg_model) == patch


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("history", {"limit": 500}, "limit must be at most 200, not 500."),
        ("history", {"experiment": 10**30}, "experiment must be at most"),
        ("history", {"limit": "many"}, "limit must be a whole number, not 'many'."),
        ("history", {"limt": 5}, "'limt' is not an argument of this tool: did you mean limit?"),
        ("status", {"verbose": True}, "'verbose' is not an argument of this tool: it has none"),
        ("note", {"text": None}, "text must be a string, not None."),
        ("note", {"text": "x", "idea": "perhaps"}, "idea must be true or false, not 'perhaps'."),
        ("keep", {}, "reason is required."),
        ("keep", {"reason": ""}, "reason must have at least 1 characters."),
        ("run_experiment", {"description": "x" * 301}, "description must have at most 300 characters."),
        ("run_experiment", {"description": "idea", "wait_seconds": -1}, "wait_seconds must be at least 0, not -1."),
        ("sweep", {"changes": [], "description": "idea"}, "changes must have at least 1 items."),
        (
            "sweep",
            {"changes": [{"A": None}], "description": "idea"},
            "changes.0.A must be a string or must be a whole number or",
        ),
    ],
)
async def test_a_wrong_argument_is_named_in_a_sentence(
    tools: dict[str, Tool], tool: str, arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(ToolError) as refused:
        await tools[tool].run(arguments, None)  # pyright: ignore[reportArgumentType]
    assert told in str(refused.value)
    assert "pydantic" not in str(refused.value) and "validation error" not in str(refused.value)
    assert len(str(refused.value)) < 400
