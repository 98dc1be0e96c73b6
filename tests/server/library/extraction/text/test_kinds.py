"""The bytes say what a source is."""

import pytest

from server.library.document import Kind
from server.library.extraction.text.kinds import UnknownKind, kind_of


@pytest.mark.parametrize(
    ("data", "content_type", "name", "kind"),
    [
        (b"%PDF-1.7\n", "text/html", "a.html", Kind.PDF),
        (b"\n\n%PDF-1.4", "", "", Kind.PDF),
        (b"<!DOCTYPE html><html>", "", "", Kind.HTML),
        (b"\xef\xbb\xbf\n <html lang=en>", "text/plain", "", Kind.HTML),
        ("<!DOCTYPE html><html>".encode("utf-16"), "", "", Kind.HTML),
        (b"hello <b>world", "text/html; charset=utf-8", "", Kind.HTML),
        (b"# A\n\n- b\n- c\n", "", "", Kind.MARKDOWN),
        (b"<div align=center>\n<h1>A</h1>\n</div>", "", "README.md", Kind.MARKDOWN),
        (b"plain words\nand more", "text/plain", "a.txt", Kind.TEXT),
        (b"", "", "", Kind.TEXT),
    ],
)
def test_the_kind_is_seen(data: bytes, content_type: str, name: str, kind: Kind) -> None:
    assert kind_of(data, content_type, name) is kind


@pytest.mark.parametrize(
    "data", [b"\x89PNG\r\n\x1a\n", b"PK\x03\x04abc", b"\x1f\x8b\x08", bytes(range(256)) * 8, b"\x7fELF\0\0"]
)
def test_what_has_no_text_is_named(data: bytes) -> None:
    with pytest.raises(UnknownKind):
        kind_of(data, "text/html", "a.html")
