"""The front matter of a file that a stranger or a person has written: YAML, or nearly. Pure."""

import re
from collections.abc import Mapping
from typing import Any, cast

import yaml

from server.library.reading.visible import one_line, seen

_MOST = 16_000  # characters
_MOST_OF_LIST = 50
_FRONT = re.compile(r"\ufeff?\n*-{3}[ \t]*\n(.*?)^(?:-{3}|\.{3})[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_FIELD = re.compile(r"^(\w+):[ \t]*(.*)$", re.MULTILINE)


def split(text: str) -> tuple[dict[str, str], str]:
    """The fields, and the text below them.

    Names are in lower case, and each value is one line: of a list its texts, of a person the name. Where a file begins
    with no mapping the whole of it is text.
    """
    found = _FRONT.match(text[: _MOST + 10])
    fields = _fields(seen(found[1])) if found else {}
    return (fields, text[found.end() :]) if found and fields else ({}, text.removeprefix("\ufeff"))


def _fields(text: str) -> dict[str, str]:
    try:  # scalars stay texts, and no tag makes anything else
        told: Any = yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        told = {key: value.strip("\"'") for key, value in _FIELD.findall(text)}  # people write `title: Adam: a method`
    if not isinstance(told, dict):
        return {}
    return {str(key).lower(): one_line(_scalar(value)) for key, value in cast("dict[Any, Any]", told).items()}


def _scalar(value: Any) -> str:
    """A text, or a list of texts; nothing of what is nested, which aliases can make as large as they want."""
    parts = cast("list[Any]", value)[:_MOST_OF_LIST] if isinstance(value, list) else [value]
    names = [cast("Mapping[str, Any]", part).get("name") if isinstance(part, dict) else part for part in parts]
    return ", ".join(name for name in names if isinstance(name, str) and name)
