"""A document as its file has it: the front matter, a field a line, and the Markdown below. Pure.

Each value is JSON, which is YAML too. A line that is none is taken as text, as a person may have written it.
"""

import hashlib
import json
import unicodedata
from typing import Any, cast

from pydantic import ValidationError

from server.library.document import Document

_LINE = "---\n"
_MOST = 16_000  # characters of a front matter
_LONGEST = 2_000  # of a value


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
