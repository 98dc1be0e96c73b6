"""The whole way, with the process around it: what comes back, and what hostile bytes can do."""

import json
import socket
from pathlib import Path

import pytest

from server.errors import SourceUnreadable
from server.library.document import Fetched, Kind
from server.library.extraction import extract as of_extract
from server.library.extraction.confinement import run_confined
from server.library.extraction.extract import extract

PAGE = (
    b"<html><head><title>T</title></head><body><article class='md-content__inner'><p>"
    + b"Words of a page. " * 20
    + b"</p></article></body></html>"
)


def fetched(data: bytes, **more: str) -> Fetched:
    return Fetched(data=data, source=more.pop("source", "https://site.org/a"), fetched="2026-01-02T03:04:05Z", **more)


def test_a_page_becomes_an_extract() -> None:
    found = extract(fetched(PAGE))
    assert (found.kind, found.title, found.lossy) == (Kind.HTML, "T", False)
    assert found.markdown.startswith("Words of a page.") and "MkDocs" in found.extractor


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "has no text"),
        (b" \n\0", "has no text"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (bytes(range(256)) * 100, "binary"),
        (b"a" * 20_000_001, "too large"),
    ],
)
def test_what_needs_no_process_is_refused_at_once(data: bytes, says: str) -> None:
    with pytest.raises(SourceUnreadable) as refused:
        extract(fetched(data))
    assert says in refused.value.problem and refused.value.next_step.endswith(".")


def test_a_refusal_in_the_process_is_a_sentence_here() -> None:
    with pytest.raises(SourceUnreadable) as refused:
        extract(fetched(b"<html><body></body></html>", source="a\nb"))
    assert refused.value.problem == "a b has no text to read."


@pytest.mark.thorough
def test_a_page_of_5_mb_is_read_within_the_limits() -> None:
    item = b"<p>The optimizer keeps an average of the gradient, and <b>divides</b> each step by its <a href='x'>root</a>.</p>"
    page = b"<html><body><div class='story'>" + item * (5_000_000 // len(item)) + b"</div></body></html>"
    assert extract(fetched(page)).markdown.count("The optimizer") == page.count(b"The optimizer")


HOSTILE = {
    "crash": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashes the program that reads it (SIGSEGV)"),
    "loop": ("while True: pass", "takes too long"),
    "memory": (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); x = bytearray(8 << 30)",
        "takes too much memory",
    ),
    "flood": ("while True: print('x' * 100_000)", "too large"),
    "nonsense": ("print('no JSON')", "its answer cannot be read"),
    "wrong": ("print('{}')", "its answer makes no sense"),
    "error": ("raise ValueError('odd')", "ValueError: odd"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_whatever_happens_to_the_reader_is_one_sentence(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code, says = HOSTILE[what]
    monkeypatch.setattr(of_extract, "_PROGRAM", ("-c", code))
    if what == "loop":
        monkeypatch.setattr(of_extract, "_SECONDS", 0.5)
    with pytest.raises(SourceUnreadable) as refused:
        extract(fetched(PAGE))
    assert says in refused.value.problem and "\n" not in refused.value.problem


def test_the_reader_reaches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "key")
    (tmp_path / "secret").write_text("hidden")
    corpus = Path(__file__).parents[4] / "trainer" / "datasets" / "corpus.py"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        program = f"""
import json, os, socket, sys
def tried(action):
    try:
        return str(action())
    except OSError as error:
        return type(error).__name__
print(json.dumps([
    tried(lambda: open({str(tmp_path / "secret")!r}).read()),
    tried(lambda: open({str(corpus)!r}).read()[:9]),
    tried(lambda: socket.create_connection(("127.0.0.1", {listener.getsockname()[1]}), 5)),
    os.environ.get("API_KEY"),
    sys.stdin.read(),
]))"""
        ended = run_confined(("-c", program), b"input", 60, 10_000)
    secret, code, connected, key, given = json.loads(ended.output)
    assert (key, given) == (None, "input")
    if ended.guards["files"] == "held":
        assert secret == code == "PermissionError"
    if ended.guards["network"] == "held":
        assert connected == "PermissionError"
