"""Files of the operator: pages as browsers save them know where they are from."""

from pathlib import Path

import pytest

from server.errors import SourceUnreachable
from server.library.fetching.local_files import read_file

PAGE = b"<html><head><title>Muon</title></head><body><p>Muon orthogonalises.</p></body></html>"
ADDRESS = "https://example.org/blog/muon.html"


@pytest.mark.parametrize(
    "head",
    [
        b"<!-- saved from url=(0034)https://example.org/blog/muon.html -->",
        b"<!--\n Page saved with SingleFile\n url: https://example.org/blog/muon.html\n saved date: Mon Jan 1\n-->",
        b'<link href="https://example.org/blog/muon.html" rel="canonical">',
        b"<link rel=canonical href=https://example.org/blog/muon.html>",
    ],
)
def test_a_saved_page_knows_where_it_is_from(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "a.html").write_bytes(head + PAGE)
    found = read_file(tmp_path / "a.html", "a.html")
    assert (found.source, found.final_url, found.content_type) == ("a.html", ADDRESS, "text/html")


def test_a_web_archive_is_the_page_in_it(tmp_path: Path) -> None:
    (tmp_path / "a.mhtml").write_bytes(
        b"From: <Saved by Blink>\r\nSnapshot-Content-Location: https://example.org/blog/muon.html\r\n"
        b'Content-Type: multipart/related; type="text/html"; boundary="x"\r\n\r\n--x\r\n'
        b"Content-Type: text/html; charset=utf-8\r\n\r\n" + PAGE + b"\r\n--x--\r\n"
    )
    found = read_file(tmp_path / "a.mhtml", "a.mhtml")
    assert found.data.strip() == PAGE and (found.final_url, found.charset) == (ADDRESS, "utf-8")


def test_a_web_archive_without_a_page_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mhtml").write_bytes(
        b'Content-Type: multipart/related; boundary="x"\r\n\r\n--x\r\nContent-Type: image/png\r\n\r\nx\r\n--x--\r\n'
    )
    with pytest.raises(SourceUnreachable, match="without a page"):
        read_file(tmp_path / "a.mhtml", "a.mhtml")
