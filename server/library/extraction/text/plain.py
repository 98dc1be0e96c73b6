"""Markdown and plain text: normalised, and the front matter of Markdown taken apart from its text."""

import re
from collections.abc import Mapping
from typing import Any

from server.library.document import Kind
from server.library.extraction.text.charset import decode, visible
from server.library.extraction.text.reasons import Reason, Unreadable
from server.library.reading import front_matter

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.S)
_HEADING = re.compile(r"^#[ \t]+(.+?)[ \t]*#*[ \t]*$|^(\S.*)\n=+[ \t]*$", re.M)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_NAMES = {
    "title": ("title", "name"),
    "author": ("author", "authors", "by"),
    "published": ("date", "published", "pubdate", "created"),
    "licence": ("license", "licence", "rights"),
}


def read_plain(data: bytes, charset: str, kind: Kind, url: str) -> dict[str, Any]:
    """The fields of an Extract from Markdown or plain text.

    Raises:
        Unreadable: it has no text.
    """
    text = visible(decode(data, charset)).expandtabs(4) if kind is Kind.TEXT else visible(decode(data, charset))
    fields: dict[str, str] = {}
    if kind is Kind.MARKDOWN:
        told, text = front_matter.split(text)
        fields = _metadata(told)
        text = _without_comments(text)
    text = re.sub(r"\n{4,}", "\n\n\n", "\n".join(line.rstrip() for line in text.split("\n"))).strip("\n")
    if not text.strip():
        raise Unreadable(Reason.EMPTY)
    if kind is Kind.MARKDOWN and not fields.get("title") and (found := _HEADING.search(text)):
        fields["title"] = (found[1] or found[2]).strip()
    return {"kind": kind, "markdown": text + "\n", "extractor": "as it is", **fields}


def _metadata(told: Mapping[str, str]) -> dict[str, str]:
    """The fields of an Extract, as its author's front matter has them."""
    fields = {field: next((told[name] for name in names if told.get(name)), "") for field, names in _NAMES.items()}
    fields["published"] = date[0] if (date := _DATE.search(fields["published"])) else ""
    return {name: value for name, value in fields.items() if value}


def _without_comments(text: str) -> str:
    """Markdown without HTML comments, which no reader of the page sees; those in code blocks are code."""
    if "<!--" not in text:
        return text
    out: list[str] = []
    prose: list[str] = []
    fence = ""

    def end_prose() -> None:
        out.append(_COMMENT.sub("", "\n".join(prose)))
        prose.clear()

    for line in text.split("\n"):
        found = _FENCE.match(line)
        if fence:
            out.append(line)
            if found and found[1].startswith(fence) and not line.strip(" `~"):
                fence = ""
        elif found:
            end_prose()
            fence = found[1]
            out.append(line)
        else:
            prose.append(line)
    end_prose()
    return "\n".join(out)
