"""How the words of `autoresearch call` become the arguments of a tool."""

import json
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, cast

from server.errors import AutoresearchError


class CallMisspelt(AutoresearchError):
    """The call names no tool, or has arguments that the tool does not take."""


def schema_of(tool: str, known: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The JSON schema of a tool's arguments. Raises CallMisspelt: there is no such tool."""
    if not tool:
        raise CallMisspelt("Name a tool: autoresearch call TOOL key=value.", f"The tools are: {', '.join(known)}.")
    if tool not in known:
        near = get_close_matches(tool, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"The tools are: {', '.join(known)}."
        raise CallMisspelt(f"There is no tool {tool!r}.", f"{hint} `autoresearch call --list` lists all tools.")
    return known[tool]


def read_arguments(
    tool: str, schema: Mapping[str, Any], words: list[str], base: str, read: Callable[[str], str]
) -> dict[str, Any]:
    """The arguments of a call: those of the JSON text `base`, and those of `words`.

    A word is key=value, typed as the tool's schema says; key:=JSON; or either with @FILE for a value, which `read`
    reads ("-" is stdin).

    Raises:
        CallMisspelt: a word is none of these, or the tool does not take it.
    """
    _require_text(tool, base, *words)
    given = _object(read(base[1:]) if base.startswith("@") else base) if base else {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.rstrip(":"):
            raise CallMisspelt(f"{word[:80]!r} is not an argument.", f"Write {tool} key=value, key:=JSON or key=@FILE.")
        value = read(value[1:]) if value.startswith("@") else value
        key = name.removesuffix(":")
        if key in given:
            raise CallMisspelt(f"{key} is given twice.", "Give each argument once.")
        given[key] = _json(key, value) if name.endswith(":") else _typed(key, value, schema)
    _require_text(json.dumps(given, ensure_ascii=False))  # JSON may have escaped what is no text
    unknown = [key for key in given if key not in schema["properties"]]
    missing = [key for key in schema.get("required", []) if key not in given]
    if unknown or missing:
        wrong = f"does not take {', '.join(unknown)}" if unknown else f"needs {', '.join(missing)}"
        takes = ", ".join(schema["properties"]) or "no arguments"
        raise CallMisspelt(f"{tool} {wrong}.", f"It takes: {takes}. `autoresearch call --schema {tool}` shows more.")
    return given


def _require_text(*told: str) -> None:
    for text in told:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            part = ascii(text[max(error.start - 20, 0) : error.end + 20])
            raise CallMisspelt(f"{part} is not UTF-8.", "Write it in UTF-8.") from None


def _object(text: str) -> dict[str, Any]:
    given = _json("--json", text)
    if not isinstance(given, dict):
        raise CallMisspelt("--json is not an object.", 'Write it like \'{"key": "value"}\'.')
    return cast("dict[str, Any]", given)


def _json(key: str, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise CallMisspelt(
            f"{key} is not JSON: {error}.", "Quote it for the shell; text is given as key=value."
        ) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object. Raises ValueError if a key is there twice: one of the two would be lost."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key!r} is there twice")
        found[key] = value
    return found


def _typed(key: str, value: str, schema: Mapping[str, Any]) -> Any:
    """The value as the schema types it: text stays text, anything else is JSON."""
    told = schema["properties"].get(key, {})
    kinds = {kind.get("type") for kind in told.get("anyOf", [told])}
    if not kinds & {"integer", "number", "boolean", "array", "object"}:
        return value
    try:
        return json.loads(value, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        wanted = ", ".join(sorted(kind for kind in kinds if kind))
        raise CallMisspelt(
            f"{key} is {value[:80]!r}, not of type {wanted}.", "Write it as JSON of that type."
        ) from None
