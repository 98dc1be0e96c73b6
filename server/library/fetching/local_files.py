"""Files of the operator: pages that a browser has saved, papers, notes; and a page on standard input."""

import email
import email.policy
import os
import re
import stat
import sys
from pathlib import Path
from typing import BinaryIO

from server.errors import SourceUnreachable
from server.library.document import Fetched
from server.library.fetching.sources import without_secrets
from trainer.contract import utc_now

MOST_BYTES = 20_000_000
_HEAD = 1 << 16
_TYPES = {
    **dict.fromkeys((".html", ".htm", ".xhtml"), "text/html"),
    **dict.fromkeys((".md", ".markdown"), "text/markdown"),
    ".pdf": "application/pdf",
    ".txt": "text/plain",
}
# Where a browser or SingleFile says what it has saved; else what the page says of itself.
_SAVED_FROM = (
    re.compile(rb"<!-- saved from url=\(\d+\)(https?://[^\s>]+)"),
    re.compile(rb"\burl:\s*(https?://\S+)[^>]{0,200}saved date", re.DOTALL),
    re.compile(rb"<link\b[^>]{0,300}\brel=[\"']?canonical[\"'\s][^>]{0,300}\bhref=[\"']?(https?://[^\"'\s>]+)", re.I),
    re.compile(rb"<link\b[^>]{0,300}\bhref=[\"']?(https?://[^\"'\s>]+)[^>]{0,300}\brel=[\"']?canonical", re.I),
)
_MHTML = re.compile(rb"^(?:snapshot-content-location|content-type:\s*multipart/related)", re.IGNORECASE | re.MULTILINE)
_STEP = "Name a file that can be read: HTML, PDF, Markdown or plain text."


def read_file(path: Path, name: str) -> Fetched:
    """A file on this machine.

    Args:
        name: what is saved as its source.

    Raises:
        SourceUnreachable: it cannot be read, is no regular file, or too large.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise SourceUnreachable(f"{name} cannot be read: {error.strerror}.", _STEP) from None
    with os.fdopen(descriptor, "rb") as file:
        known = os.fstat(descriptor)
        if not stat.S_ISREG(known.st_mode):
            raise SourceUnreachable(f"{name} is not a regular file.", _STEP)
        if known.st_size > MOST_BYTES:
            raise _too_large(name)
        return _fetched(_read(file, name), name, _TYPES.get(path.suffix.lower(), ""))


def read_stdin(name: str) -> Fetched:
    """What is piped in. Raises SourceUnreachable: nothing is, or it is too large."""
    if sys.stdin is None or sys.stdin.isatty():
        raise SourceUnreachable("Nothing is piped in.", "Call it as `autoresearch library add - < page.html`.")
    return _fetched(_read(sys.stdin.buffer, name), name, "")


def _read(file: BinaryIO, name: str) -> bytes:
    try:
        data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise SourceUnreachable(f"{name} cannot be read: {error.strerror}.", _STEP) from None
    if len(data) > MOST_BYTES:
        raise _too_large(name)
    if not data.strip():
        raise SourceUnreachable(f"{name} is empty.", _STEP)
    return data


def _too_large(name: str) -> SourceUnreachable:
    step = "Add the part that matters, as a file of its own."
    return SourceUnreachable(f"{name} has more than {MOST_BYTES / 1e6:.3g} MB.", step)


def _fetched(data: bytes, name: str, content_type: str) -> Fetched:
    charset, address = "", ""
    if _MHTML.search(data[:_HEAD]) and not data.lstrip()[:1] == b"<":
        data, charset, address = _page_of_archive(data, name)
        content_type = "text/html"
    elif content_type in ("", "text/html") and (found := _first(data[:_HEAD])):
        address = found
    return Fetched(
        data=data,
        source=name,
        final_url=without_secrets(address) if address else "",
        content_type=content_type,
        charset=charset,
        fetched=utc_now(),
    )


def _first(head: bytes) -> str:
    found = next((match[1] for pattern in _SAVED_FROM if (match := pattern.search(head))), b"")
    return found.decode("ascii", "replace") if found.isascii() else ""


def _page_of_archive(data: bytes, name: str) -> tuple[bytes, str, str]:
    """The page within an .mhtml file, its charset, and the address that it is from."""
    whole = email.message_from_bytes(data, policy=email.policy.default)
    for part in whole.walk():
        if part.get_content_type() == "text/html":
            page = part.get_payload(decode=True)
            address = str(whole.get("Snapshot-Content-Location") or part.get("Content-Location") or "")
            address = address.strip() if re.match(r"\s*https?://\S+\s*$", address) else ""
            return page if isinstance(page, bytes) else b"", part.get_content_charset() or "", address
    raise SourceUnreachable(f"{name} is a web archive without a page in it.", "Save the page as HTML, and add that.")
