"""The page: one HTML text, put together from its parts when it is first asked for, and the headers that go with it."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).with_name("page")
_NAMES = ("base", "plot", "words", "chart", "panels", "detail", "live")
_SCRIPTS = [f"{name}.js" for name in _NAMES]  # in this order: one module
_REMARK = re.compile(r"(?<=[;{}),]) // [^\"'`\n]*$", re.MULTILINE)
HEADERS = {
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
    "x-frame-options": "DENY",
}


class PageText(NamedTuple):
    """The page and what it may do."""

    html: str
    policy: str  # Content-Security-Policy


@cache
def page() -> PageText:
    """The page. Raises OSError: a part of the installation is missing."""
    style = _read("page.css")
    script = "".join(_lean(_read(name)) for name in _SCRIPTS)
    first = _lean(_read("first.js"))
    html = _read("page.html")
    for place, text in (("FIRST", first), ("STYLE", style), ("SCRIPT", script)):
        html = html.replace(f"/*{place}*/", text, 1)
    sources = f"script-src {_hash(first)} {_hash(script)}; style-src {_hash(style)}; connect-src 'self'; img-src data:"
    closed = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    types = "require-trusted-types-for 'script'; trusted-types 'none'"
    return PageText(html, f"default-src 'none'; {sources}; {closed}; {types}")


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _lean(script: str) -> str:
    """Without indents and comments: no text of a script goes over two lines, and no comment cut has a quote."""
    lines = (line.lstrip(" ") for line in script.splitlines(keepends=True))
    return _REMARK.sub("", "".join(line for line in lines if not line.startswith("//")))


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
