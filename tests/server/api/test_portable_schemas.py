"""Schemas of arguments as each client's model API takes them: the table of docs/clients.md, and what may never come."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel

from server.api.app import register_tools
from server.api.arguments import given, portable, read_change, strict
from server.api.tools import Tools

DOCS = Path(__file__).parents[3] / "docs" / "clients.md"
TYPES = {"object", "string", "number", "integer", "boolean", "array"}
JSON_SCHEMA = (
    "type description properties required items enum default anyOf pattern minimum maximum minItems maxItems "
    "minLength maxLength title format additionalProperties oneOf allOf not const $ref $defs exclusiveMinimum "
    "exclusiveMaximum multipleOf"
)
GEMINI = (  # the fields of Schema in the API's reference
    "type description properties required items enum default anyOf pattern minimum maximum minItems maxItems "
    "minLength maxLength title format nullable example minProperties maxProperties propertyOrdering"
)
CODEX = (  # anyOf becomes a string there
    "type description properties required items enum default pattern minimum maximum minItems maxItems "
    "minLength maxLength title format additionalProperties"
)
ALLOWED = {  # by client: the keywords that reach its model, or are dropped on the way without an error
    "Claude Code": JSON_SCHEMA,
    "Claude Desktop": JSON_SCHEMA,
    "Codex": CODEX,
    "Gemini CLI": GEMINI,
    "opencode": GEMINI,  # passes schemas on to any model, Gemini among them
    "Cursor": GEMINI,  # likewise
    "VS Code": GEMINI,  # likewise
}


@pytest.fixture(scope="module")
def tools() -> dict[str, Any]:
    return {tool.name: tool for tool in register_tools(Tools(None))}  # pyright: ignore[reportArgumentType]


def schemas(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """A schema and every schema in it, each with its place."""
    yield path, schema
    for name, one in schema.get("properties", {}).items():
        yield from schemas(one, f"{path}.{name}")
    if "items" in schema:
        yield from schemas(schema["items"], f"{path}[]")
    for one in schema.get("anyOf", ()):
        yield from schemas(one, f"{path}|")


@pytest.mark.parametrize("client", ALLOWED)
def test_every_keyword_is_one_that_the_client_takes(tools: dict[str, Any], client: str) -> None:
    allowed = set(ALLOWED[client].split())
    assert tools
    for tool in tools.values():
        for place, schema in schemas(tool.parameters, tool.name):
            assert not schema.keys() - allowed, (place, schema.keys() - allowed)


def test_every_schema_has_one_type_and_says_what_is_in_it(tools: dict[str, Any]) -> None:
    for tool in tools.values():
        assert tool.parameters["type"] == "object"
        for place, schema in schemas(tool.parameters, tool.name):
            assert schema.get("type") in TYPES, place  # no list of types, and no anyOf
            assert schema["type"] != "array" or schema["items"], place
            assert schema["type"] != "object" or "properties" in schema, place
            assert schema["type"] != "object" or schema["properties"] or place == tool.name, place
            assert all(isinstance(value, str) for value in schema.get("enum", ())), place
            assert None not in schema.values(), place


def test_names_descriptions_and_all_of_them_together_are_as_short_as_clients_want_them(tools: dict[str, Any]) -> None:
    told = 0
    for name, tool in tools.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) and len(tool.description) <= 1024
        assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", one) for one in tool.parameters["properties"])
        told += len(json.dumps({"name": name, "description": tool.description, "inputSchema": tool.parameters}))
    assert told <= 14 * 1024


class Part(BaseModel):
    knob: str
    side: Literal["left"] = "left"


def any_tool(parts: list[Part], most: int | None = None, way: Literal["up", "down"] = "up", one: str | int = 0) -> str:
    """A tool that somebody may write one day."""
    return f"{parts}{most}{way}{one}"


def test_what_a_new_tool_may_bring_is_made_portable() -> None:
    made = strict(any_tool, ToolAnnotations(), None).parameters["properties"]
    assert made["most"] == {"type": "integer"} and made["way"]["enum"] == ["up", "down"]
    assert made["parts"]["items"]["properties"]["knob"] == {"type": "string"}
    assert made["parts"]["items"]["properties"]["side"]["enum"] == ["left"]
    assert [one["type"] for one in made["one"]["anyOf"]] == ["string", "integer"]
    assert not re.search(r"\$|title|additional|null|const", json.dumps(made))
    assert portable({"type": "object"}) == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("told", "change"),
    [
        ("RATE = 0.03", {"RATE": "0.03"}),
        ("RATE=0.03; SHAPE = (1, 2)\nNAME='a;b'", {"RATE": "0.03", "SHAPE": "(1, 2)", "NAME": "'a;b'"}),
        ('{"RATE": 0.03, "DEPTH": 4}', {"RATE": 0.03, "DEPTH": 4}),
        ({"RATE": 0.03}, {"RATE": 0.03}),
        ("FLAG = x == 1", {"FLAG": "x == 1"}),
        ("DEPTH, WIDTH = 2, 64", {"DEPTH": "2", "WIDTH": "64"}),
        ("DEPTH, NAME = (2, 3), 'a, b'; RATE = 1, 2", {"DEPTH": "(2, 3)", "NAME": "'a, b'", "RATE": "1, 2"}),
    ],
)
def test_a_change_of_a_sweep_is_a_text_or_as_before_an_object(told: object, change: dict[str, Any]) -> None:
    assert read_change(told) == change


@pytest.mark.parametrize(
    "wrong",
    [
        "RATE",
        "RATE =",
        "= 3",
        "",
        "  ",
        "A == 3",
        "A = 1; A = 2",
        "A, B = 1; A = 2",
        "A, A = 1, 2",
        "a b = 3",
        '{"A": 1',
    ],
)
async def test_a_change_that_is_none_is_refused_in_a_sentence(tools: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ToolError, match=r"changes\.0 is not valid: write 'KNOB = value'") as refused:
        await tools["sweep"].run({"changes": [wrong], "description": "try"}, None)
    assert str(refused.value).count(", not ") == 1


@pytest.mark.parametrize("nothing", [{}, {"wait_seconds": None}, {"wait_seconds": ""}])
def test_old_callers_that_send_null_for_the_wait_are_served(tools: dict[str, Any], nothing: dict[str, Any]) -> None:
    for name in ("sweep", "run_experiment", "wait_experiment"):
        meta = tools[name].fn_metadata
        needed = {"changes": [{"A": 1}, "B = 2"], "description": "try"}
        told = {key: value for key, value in needed.items() if key in meta.arg_model.model_fields}
        found = meta.validate_arguments(given({**told, **nothing}, meta.arg_model))
        assert found["wait_seconds"] is None
        assert found.get("changes", [{"A": 1}, {"B": "2"}]) == [{"A": 1}, {"B": "2"}]


def test_the_table_of_the_docs_names_each_client_and_what_it_takes() -> None:
    table = DOCS.read_text(encoding="utf-8").partition("## Schemas")[2]
    for client in ALLOWED:
        assert re.search(rf"^\| {client} \|", table, re.MULTILINE), client
    listed = re.search(r"Our schemas use (.*?)\.\n", table, re.DOTALL)
    assert listed
    used = {word for tool in register_tools(Tools(None)) for _, one in schemas(tool.parameters, "") for word in one}  # pyright: ignore[reportArgumentType]
    assert used <= set(re.findall(r"`(\w+)`", listed[1]))
