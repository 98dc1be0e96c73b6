"""A document as its file has it: the front matter, a field a line, and the Markdown below. Pure.

Each value of ours is JSON, which is YAML too. A line that is none is taken as text, as a person may have written it.
The front matter of others is YAML, or nearly.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, cast

import yaml
from pydantic import ValidationError

from server.library.document import Document

_LINE = "---\n"
_MOST = 16_000  # characters of a front matter
_LONGEST = 2_000  # of a value
_MOST_OF_LIST = 50
_OTHERS = re.compile(r"\ufeff?\n*-{3}[ \t]*\n(.*?)^(?:-{3}|\.{3})[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_FIELD = re.compile(r"^(\w+):[ \t]*(.*)$", re.MULTILINE)


def render(document: Document, markdown: str) -> str:
    """The text of its file. Fields that say nothing are left out."""
    fields = document.model_dump(mode="json", exclude_defaults=True)
    lines = "".join(f"{name}: {json.dumps(_plain(value), ensure_ascii=False)}\n" for name, value in fields.items())
    return f"{_LINE}{lines}{_LINE}\n{markdown}"


def parse(text: str) -> tuple[Document, str] | None:
    """The document of a file's text, and its Markdown; None if it is none of ours."""
    if not text.startswith(_LINE):
        return None
    head, closed, rest = text[len(_LINE) :].partition(f"\n{_LINE}")
    if not closed or len(head) > _MOST:
        return None
    pairs = (line.partition(": ") for line in head.split("\n"))
    try:
        document = Document.model_validate({name: _value(value) for name, _, value in pairs if name})
    except ValidationError:
        return None
    return document, rest.removeprefix("\n")


def of_others(text: str, seen: Callable[[str], str] = str) -> tuple[dict[str, str], str]:
    """The front matter of a file that a stranger or a person has written, and the text below it.

    Names are in lower case, and each value is one line: of a list its texts, of a person the name. Where a file begins
    with no mapping the whole of it is text.

    Args:
        seen: leaves out what a reader does not see.
    """
    found = _OTHERS.match(text[: _MOST + 10])
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


def text_sha256(markdown: str) -> str:
    """The hash of the Markdown below a front matter."""
    return hashlib.sha256(markdown.encode()).hexdigest()


def one_line(text: str) -> str:
    """A text as one line without anything that is not shown."""
    shown = "".join(one if unicodedata.category(one)[0] != "C" else " " for one in text)
    return " ".join(shown.split())[:_LONGEST]


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return one_line(value)
    return [_plain(one) for one in cast("list[Any]", value)] if isinstance(value, list) else value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()
