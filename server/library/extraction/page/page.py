"""A page of the web as Markdown: decoded, its text found, cleaned and written."""

import re
from importlib.metadata import version
from typing import Any
from urllib.parse import urljoin

from server.library.document import Kind
from server.library.extraction.html.footnotes import take_notes
from server.library.extraction.html.prepared import prepare
from server.library.extraction.html.tree import Element, parse, text_of, words
from server.library.extraction.html.writer import Writer
from server.library.extraction.page.locate import THREADS, byline, known_parts, trim
from server.library.extraction.page.metadata import read_metadata
from server.library.extraction.page.vote import ask, keep_text
from server.library.extraction.text.charset import decode
from server.library.extraction.text.reasons import Reason, Unreadable

_FEW = 60  # words: a page with fewer may be a form to log in, or one that scripts fill
_LEAST = 3  # words
_LOGIN = re.compile(
    r"log ?in|sign ?in|log ?on|anmelden|connexion|iniciar sesi|forgot (?:your )?password|sso\b|captcha", re.I
)
_ROBOT = re.compile(
    r"enable javascript|javascript (?:is )?(?:disabled|required|must be enabled)|are you (?:a )?(?:human|robot)|"
    r"checking your browser|just a moment|verify (?:that )?you are (?:a )?human|"
    r"cf-browser-verification|captcha|access denied",
    re.I,
)


def read_page(data: bytes, charset: str, url: str) -> dict[str, Any]:
    """The fields of an Extract.

    Args:
        charset: what the server named. url: where the page came from; links are made whole by it.

    Raises:
        Unreadable: the page has no text of its own.
    """
    text = decode(data, charset)
    root = parse(text)
    base, told = _base(root, url), read_metadata(root)
    signs = _signs(root)
    made_by, parts = known_parts(root)
    opinions = None if parts else ask(root, url)
    prepare(root)
    bylines = [""]
    if opinions is None:
        bylines += [byline(part, parts) for part in parts[1:]] if made_by in THREADS else [""] * len(parts[1:])
        for part in parts:
            trim(part)
    else:
        parts = [keep_text(root, opinions, told.title)]
    written: list[str] = []
    for part, by in zip(parts, bylines, strict=True):
        if text := Writer(base, part, take_notes(part)).write():
            written += [by, text]
    markdown = "\n\n".join(filter(None, written)).strip()
    _require_text(markdown, signs)
    return {
        "kind": Kind.HTML,
        "markdown": markdown + "\n",
        **told._asdict(),
        "extractor": f"container of {made_by}" if made_by else _voters(),
    }


def _voters() -> str:
    return f"vote of trafilatura {version('trafilatura')} and readability-lxml {version('readability-lxml')}"


def _base(root: Element, url: str) -> str:
    """What links are relative to; empty for a file."""
    url = url if re.match(r"https?://", url) else ""
    given = next((one.get("href") for one in root.iter("base") if one.get("href")), "")
    try:
        whole = urljoin(url, given)
    except ValueError:
        return url
    return whole if re.match(r"https?://", whole) else url


def _signs(root: Element) -> str:
    """What speaks for a page that shows something else than its text: `login`, `scripted`, or nothing."""
    text = text_of(root)[:20_000]
    title = root.findtext(".//title") or ""
    if root.xpath('.//input[@type="password"]') or re.search(r"^\s*(?:log|sign) ?in\b", title, re.I):
        return Reason.LOGIN
    if _ROBOT.search(text) or (root.find(".//script") is not None and len(words(text)) < _FEW):
        return Reason.SCRIPTED
    return ""


def _require_text(markdown: str, signs: str) -> None:
    count = len(words(markdown))
    if signs and count < _FEW and (signs == Reason.LOGIN or count < _LEAST or _ROBOT.search(markdown)):
        raise Unreadable(Reason(signs))
    if count < _LEAST:
        raise Unreadable(Reason.EMPTY)
