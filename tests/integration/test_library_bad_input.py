"""Whatever an operator may add that cannot be read: one sentence and the next step for each, and nothing is written."""

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.cli.entry import app_of
from tests.server.library.extraction.test_pdf import pdf, raw_pdf
from tests.support.repositories import git
from tests.support.web_server import Handler, Site, page, redirect, serving

KEYS = f"/O <{'11' * 32}> /U <{'22' * 32}> /P -4 >> /ID [<{'33' * 16}> <{'33' * 16}>]"
ENCRYPT = f"/Encrypt << /Filter /Standard /V 1 /R 2 {KEYS}"
CIRCLES = ("<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [2 0 R] /Count 1 >>")
TEXT = [("F1", 10, 50, 700, "secret words of a paper")]
LINE = b"<html><body><p>" + b"The optimizer keeps a running average. " * 500_000 + b"</p></body></html>"
FILES = {
    "encrypted.pdf": (pdf([TEXT], ENCRYPT), "needs a password"),
    "scanned.pdf": (pdf([[], []]), "images without text"),
    "cut.pdf": (pdf([TEXT])[:200], "is damaged"),
    "circles.pdf": (raw_pdf(CIRCLES), "damaged"),
    "line.html": (LINE, "more than 6 million characters of text"),
    "large.html": (b"<p>words</p>" * 2_000_000, "more than 20 MB"),
    "picture.html": (b"\x89PNG\r\n\x1a\n" + bytes(99), "PNG"),
    "empty.html": (b"", "is empty"),
    "bare.html": (b"<html><body><div></div></body></html>", "no text"),
    "login.html": (b"<title>Log in</title><form><input type=password> Log in</form>", "login page"),
    "archive.zip": (b"PK\x03\x04" + bytes(99), "ZIP"),
}


def _endless(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while not handler.site.over.is_set():
        handler.wfile.write(bytes(1 << 16))


PAGES = {
    "/missing": (page(b"", 404), "no such page"),
    "/private": (page(b"", 401), "asks for a login"),
    "/loop": (redirect("/loop"), "redirects more than 5 times"),
    "/members": (redirect("/signin?next=/members"), "asks for a login"),
    "/inside": (redirect("http://169.254.169.254/latest"), "cloud's own service"),
    "/empty": (page(b""), "empty"),
    "/bomb": (page(gzip.compress(bytes(60_000_000)), Content_Encoding="gzip"), "more than 20 MB"),
    "/endless": (_endless, "more than 20 MB"),
    "/broken": (page(b"x", Content_Length="99"), "breaks off"),
}


@pytest.mark.thorough  # a process for each file; the parts have tests of their own
def test_each_is_one_sentence_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "program.md").write_text("# Goal\n", encoding="utf-8")
    for name, (data, _) in FILES.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "fresh").mkdir()
    git(tmp_path / "fresh", "init", "-q")
    (tmp_path / "link.html").symlink_to(tmp_path / "nowhere.html")
    said = {name: words for name, (_, words) in FILES.items()}
    said |= {
        "fresh": "no commit",
        "link.html": "cannot be read",
        "nowhere.html": "no file",
        "http://10.0.0.1/": "private",
    }
    with serving(Site({path: answer for path, (answer, _) in PAGES.items()})) as site:
        said |= {f"{site.url}{path}": words for path, (_, words) in PAGES.items()}
        done = CliRunner().invoke(app_of(), ["library", "add", *said, "--allow-address", "127.0.0.1", "--json"])
    answers = json.loads(done.stdout)
    assert done.exit_code == 1 and [one["state"] for one in answers] == ["refused"] * len(said)
    for answer, words in zip(answers, said.values(), strict=True):
        told = answer["problem"]
        assert words in told and told.endswith(".") and "\n" not in told and len(told) < 300, told
        assert answer["next_step"].endswith((".", "`")) and answer["source"] in said
    assert not (tmp_path / "library").exists()
