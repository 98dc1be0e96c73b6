"""Sources added to a library: twice the same is the same byte for byte, and what fails leaves no trace."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.errors import AutoresearchError, SourceUnreachable, SourceUnreadable
from server.library.adding.add import Adding, State, Wishes
from server.library.fetching.addresses import Allowed
from server.library.fetching.reach import Reach
from server.library.fetching.web import Limits, Pace, Web
from server.library.store import Library
from tests.support.repositories import git
from tests.support.web_server import Site, page, redirect, serving

MUON = b"# Muon\n\nIt orthogonalises the momentum.\n"
SAVED = b"""<!-- saved from url=(0033)https://example.org/blog/muon.html?token=s3cret -->
<html><head><title>Muon explained</title></head><body><article><h1>Muon explained</h1>
<p>Muon orthogonalises the momentum of each weight matrix by a few steps, and is used for hidden layers.</p>
<p>All the others are left to Adam, as <a href="../adam.html">this page</a> says.</p></article></body></html>"""


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as made:
        yield made


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    monkeypatch.chdir(tmp_path)
    return Library(tmp_path / "library")


def adding(library: Library) -> Adding:
    reach = Reach(Allowed(["127.0.0.1"]))
    return Adding(library, reach, Web(reach, Limits(seconds=20), Pace(0)))


def state(library: Library) -> dict[str, bytes]:
    """All of the folder, but for when it was written."""
    files = (path for path in library.folder.rglob("*") if path.is_file())
    return {path.relative_to(library.folder).as_posix(): path.read_bytes() for path in files}


def test_a_page_is_fetched_once_and_again_only_with_refresh(site: Site, library: Library) -> None:
    site.pages["/muon.md"] = page(MUON, Content_Type="text/markdown")
    address = f"{site.url}/muon.md?api_key=s3cret"
    first = adding(library).add(address, Wishes(licence="MIT", tags=("optimizer",)))
    assert (first.state, first.id, first.title) == (State.ADDED, "muon", "Muon")
    before = state(library)
    assert adding(library).add(address, Wishes()).state is State.KNOWN
    assert len(site.asked) == 1
    assert adding(library).add(address, Wishes(refresh=True)).state is State.UNCHANGED
    assert state(library) == before and b"s3cret" not in before["muon.md"]
    site.pages["/muon.md"] = page(MUON + b"\nAnd more.\n", Content_Type="text/markdown")
    again = adding(library).add(address, Wishes(refresh=True))
    assert (again.state, again.id) == (State.REPLACED, "muon")
    document, text = library.get("muon")
    assert text.endswith("And more.\n") and (document.licence, document.tags) == ("MIT", ("optimizer",))


@pytest.mark.thorough
def test_a_file_is_read_each_time_and_another_of_its_name_is_another(library: Library, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "muon.md").write_bytes(MUON + folder.encode())
    assert [adding(library).add(f"{one}/muon.md", Wishes()).id for one in "ab"] == ["muon", "muon-2"]
    before = state(library)
    assert adding(library).add("./a/muon.md", Wishes()).state is State.UNCHANGED
    assert state(library) == before
    (tmp_path / "a" / "muon.md").write_bytes(b"# Other\n\nText.\n")
    assert adding(library).add("a/muon.md", Wishes()).id == "muon"
    assert library.get("muon")[1] == "# Other\n\nText.\n"


@pytest.mark.thorough
def test_a_page_that_a_browser_has_saved_knows_where_it_is_from(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("trafilatura")
    (tmp_path / "page.html").write_bytes(SAVED)
    assert adding(library).add("page.html", Wishes()).id == "muon-explained"
    document, text = library.get("muon-explained")
    assert document.final_url == "https://example.org/blog/muon.html?token="
    assert "(https://example.org/adam.html)" in text
    before = state(library)
    for expected in (State.ADDED, State.UNCHANGED):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(SAVED)))
        assert adding(library).add("-", Wishes()).state is expected
    assert before.items() <= state(library).items()


@pytest.mark.thorough
def test_a_web_archive_is_a_page_too(library: Library, tmp_path: Path) -> None:
    pytest.importorskip("trafilatura")
    (tmp_path / "page.mhtml").write_bytes(
        b"From: <Saved by Blink>\r\nSnapshot-Content-Location: https://example.org/blog/muon.html\r\n"
        b'Content-Type: multipart/related; type="text/html"; boundary="x"\r\n\r\n--x\r\nContent-Type: text/html\r\n'
        b"Content-Location: https://example.org/blog/muon.html\r\n\r\n" + SAVED + b"\r\n--x--\r\n"
    )
    adding(library).add("page.mhtml", Wishes())
    document, text = library.get("muon-explained")
    assert document.final_url == "https://example.org/blog/muon.html" and "orthogonalises" in text


def test_what_fails_leaves_no_trace(site: Site, library: Library, tmp_path: Path) -> None:
    site.pages |= {"/loop": redirect("/loop"), "/image": page(b"\x89PNG\r\n\x1a\n" + bytes(100)), "/empty": page(b" ")}
    (tmp_path / "image.pdf").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (tmp_path / "empty.md").write_bytes(b"")
    (tmp_path / "large.txt").write_bytes(b"x" * 20_000_001)
    (tmp_path / "folder").mkdir()
    (tmp_path / "gone").symlink_to("nowhere")
    addresses = [f"{site.url}/{name}" for name in ("loop", "image", "empty", "none")]
    for source in (*addresses, "image.pdf", "empty.md", "large.txt", "folder", "gone", "/dev/null", "http://10.0.0.1/"):
        with pytest.raises(AutoresearchError) as refused:
            adding(library).add(source, Wishes())
        assert refused.value.problem.endswith(".") and "\n" not in str(refused.value), source
    assert not library.folder.exists()


def test_a_repository_is_added_and_follows_its_commits(library: Library, tmp_path: Path) -> None:
    folder = tmp_path / "thing"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "README.md").write_bytes(MUON)
    (folder / "train.py").write_text("def train():\n    pass\n", encoding="utf-8")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "one")
    first = adding(library).add("thing", Wishes(tags=("fork",)))
    assert (first.state, first.documents) == (State.ADDED, 2)
    assert first.id == f"thing@{git(folder, 'rev-parse', 'HEAD')[:7]}"
    before = state(library)
    assert adding(library).add("thing", Wishes()).state is State.UNCHANGED
    assert state(library) == before
    wider = adding(library).add("thing", Wishes(include=("*.py",)))
    assert (wider.state, wider.documents, wider.id) == (State.REPLACED, 3, first.id)
    assert adding(library).add("thing", Wishes()).state is State.UNCHANGED  # what was asked for once stays
    (folder / "new.py").write_text("def new():\n    pass\n", encoding="utf-8")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "two")
    later = adding(library).add("thing", Wishes())
    assert later.state is State.REPLACED and later.id != first.id
    assert {one.path for one in library.documents()} == {"", "README.md", "train.py", "new.py"}
    assert {one.id.partition("/")[0] for one in library.documents()} == {later.id}
    assert {one.tags for one in library.documents()} == {("fork",)}


def test_what_the_operator_has_said_holds_and_the_rest_follows_the_source(library: Library, tmp_path: Path) -> None:
    for told, wishes in (("First", Wishes(title="Mine")), ("Second", Wishes())):
        (tmp_path / "page.md").write_text(f"---\ntitle: {told}\nlicense: {told}\n---\n\nA text.\n", encoding="utf-8")
        name = adding(library).add("page.md", wishes).id
    document = library.get(name)[0]
    assert (document.title, document.licence) == ("Mine", "Second")


def test_without_the_extra_no_page_is_fetched(site: Site, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "readability", None)  # as Python has it where there is none
    site.pages["/a"] = page(SAVED)
    for source in (f"{site.url}/a", "2502.16982"):
        with pytest.raises(SourceUnreadable) as refused:
            adding(library).add(source, Wishes())
        assert "readability is missing" in refused.value.problem and "pip install" in refused.value.next_step
    assert not site.asked
    with pytest.raises(SourceUnreachable, match="no such page"):
        adding(library).add(f"{site.url}/notes.md?raw=1", Wishes())
    assert len(site.asked) == 1


def test_nothing_is_piped_in(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SourceUnreachable, match="Nothing is piped in"):
        adding(library).add("-", Wishes())
