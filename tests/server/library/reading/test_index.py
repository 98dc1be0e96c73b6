"""The index: it follows the documents, survives damage and rivals, and takes any text as a question."""

import os
import sqlite3
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from server.library.reading.index import Index
from server.paths import LIBRARY_INDEX
from tests.support.commands import write_tree

PAGES = {
    "adam.md": "---\ntitle: Adam\n---\n# Adam\n\nEstimates of the moments adapt each learning rate.\n",
    "muon.md": "# Muon\n\nOrthogonalise the momentum by a Newton-Schulz iteration.\n\n## Cost\n\nFive matmuls.\n",
    "repo@ab12cd3/docs/warmup.md": "# Warm-up\n\nRaise the rate linearly, then warm down to zero.\n",
    "cjk.md": "# 学习率\n\n学习率预热可以提高稳定性。\n\nウォームアップは学習率を上げる。\n\n학습률을 천천히 올린다.\n",
}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    write_tree(tmp_path / "library", PAGES)
    return tmp_path / "library"


def first(index: Index, question: str, document: str = "") -> str:
    found = index.search(question, 8, 0, document)
    return found[0].id if found else ""


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("how are moments estimated", "adam"),  # another form of the word
        ("newton schulz", "muon"),
        ("raising the rate", "repo@ab12cd3/docs/warmup"),
        ("ORTHOGONALISÉ", "muon"),  # whatever the case and the accents
        ("预热", "cjk"),
        ("学习率预热", "cjk"),
        ("ウォームアップ", "cjk"),
        ("학습률", "cjk"),
        ("thogonalis", "muon"),  # a part of a word
        ("ortogonalise", "muon"),  # a slip
        ("moments AND NOT adam", "adam"),
        ("zqzqzq", ""),
        ("", ""),
        ("🙂 ⌘ —", ""),
    ],
)
def test_what_answers_comes_first(library: Path, question: str, wanted: str) -> None:
    assert first(Index(library), question) == wanted


@pytest.mark.parametrize(
    "question",
    [
        '"',
        "'",
        '"unclosed',
        "a OR",
        "NEAR(a b, 2)",
        "text : momentum",
        "{title text} : momentum",
        "-momentum",
        "^momentum *",
        "momentum*",
        "(((",
        ") OR 1=1 --",
        "; DROP TABLE stems",
        "\x00momentum",
        "a\ud800b",
        "_ __ ___",
        "🏴\U000e0067 🙂" * 50,
        "学" * 5000,
        "momentum " * 1200,
        " ".join(f"word{n}" for n in range(2000)),
        "x" * 10_000,
        "%_%",
        "momentum\n\t\r\u2028",
    ],
)
def test_any_text_is_a_question(library: Path, question: str) -> None:
    index = Index(library)
    assert isinstance(index.search(question, 8), list) and isinstance(index.search(question, 3, 2, "muon"), list)
    assert (library / LIBRARY_INDEX).exists(), "it was answered by the index, and not because that was given up"


def test_a_search_in_one_document_finds_nothing_of_another(library: Path) -> None:
    index = Index(library)
    assert [hit.id for hit in index.search("learning rate momentum matmuls", 8, 0, "muon")] == ["muon", "muon"]
    assert index.search("adapt", 8, 0, "muon") == [] and index.search("moments", 8, 0, "nobody") == []


def test_pages_of_hits_are_one_list(library: Path) -> None:
    index = Index(library)
    whole = index.search("rate step momentum warm", 20)
    assert [index.search("rate step momentum warm", 1, at)[0] for at in range(len(whole))] == whole


def test_the_index_follows_the_documents(library: Path) -> None:
    index = Index(library)
    assert first(index, "gossip") == ""
    (library / "new.md").write_text("Gossip averages weights.")
    assert first(index, "gossip") == "new"
    before = (library / "new.md").stat()
    (library / "new.md").write_text("Banjos averages weights.")  # as long, at the same time
    os.utime(library / "new.md", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (first(index, "gossip"), first(index, "banjos")) == ("", "new")
    (library / "new.md").rename(library / "old.md")
    assert first(index, "banjos") == "old"
    (library / "old.md").unlink()
    assert first(index, "banjos") == "" and first(index, "moments") == "adam"
    os.utime(library / "adam.md", (1, 1))
    assert first(index, "moments") == "adam"


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "no database":
        path.write_bytes(b"not a database at all, " * 500)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "pages":
        data[4096:] = os.urandom(len(data) - 4096)
        path.write_bytes(data)
    elif how == "deleted":
        path.unlink()
    else:
        with sqlite3.connect(path) as connection:
            connection.executescript(how)
        connection.close()


@pytest.mark.parametrize(
    "how",
    [
        *("no database", "empty", "cut", "pages", "deleted"),
        "DROP TABLE stems",
        "DROP TABLE files",
        "DELETE FROM places",
        "PRAGMA user_version = 99",
        "CREATE TRIGGER t AFTER INSERT ON files BEGIN DELETE FROM files; END; DROP TABLE places",
    ],
)
def test_a_damaged_index_is_made_again(library: Path, how: str) -> None:
    index = Index(library)
    assert first(index, "moments") == "adam"
    damage(library / LIBRARY_INDEX, how)
    (library / "new.md").write_text("Gossip averages weights.")
    assert (first(index, "moments"), first(index, "gossip")) == ("adam", "new")
    with sqlite3.connect(library / LIBRARY_INDEX) as connection:
        assert connection.execute("SELECT count(*) FROM files").fetchone() == (len(PAGES) + 1,)
    connection.close()


def test_an_index_that_is_a_link_is_not_written_to(library: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (library / LIBRARY_INDEX).symlink_to(victim)
    assert first(Index(library), "moments") == "adam" and victim.read_text() == "precious"


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_searched_in_memory(library: Path) -> None:
    library.chmod(0o555)
    try:
        index = Index(library)
        assert first(index, "moments") == "adam" and first(index, "newton") == "muon"
        assert not (library / LIBRARY_INDEX).exists()
    finally:
        library.chmod(0o755)


def test_an_index_that_another_process_holds_is_not_waited_for_in_vain(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.library.reading.index._BUSY_SECONDS", 0.05)
    Index(library).refresh()
    (library / "new.md").write_text("Gossip averages weights.")
    holder = sqlite3.connect(library / LIBRARY_INDEX, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    assert first(Index(library), "gossip") == "new"
    holder.close()


def test_many_readers_and_a_changing_library(library: Path) -> None:
    """Several indexes, as several processes have them, while documents come and go."""
    stop = threading.Event()

    def change() -> None:
        for number in range(25):
            (library / f"n{number}.md").write_text(f"Gossip number {number} averages weights.")
            (library / f"n{number - 3}.md").unlink(missing_ok=True)
        stop.set()

    def ask(_: int) -> int:
        index, asked = Index(library), 0
        while not stop.is_set() or not asked:
            assert first(index, "moments") == "adam"
            asked += 1
        return asked

    with ThreadPoolExecutor(4) as pool:
        changing = pool.submit(change)
        assert all(pool.map(ask, range(3)))
        changing.result()
    assert {hit.id for hit in Index(library).search("gossip", 20)} == {"n22", "n23", "n24"}


def test_links_and_devices_are_no_documents(library: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("Gossip of the owner.")
    write_tree(tmp_path / "elsewhere", {"a.md": "Gossip elsewhere."})
    (library / "link.md").symlink_to(tmp_path / "secret.md")
    (library / "folder").symlink_to(tmp_path / "elsewhere")
    (library / ".hidden").mkdir()
    (library / ".hidden" / "a.md").write_text("Gossip in hiding.")
    (library / "a.txt").write_text("Gossip as text.")
    if sys.platform != "win32":
        os.mkfifo(library / "pipe.md")
    assert first(Index(library), "gossip") == ""
    (tmp_path / "linked").symlink_to(library)
    assert first(Index(tmp_path / "linked"), "moments") == ""


def test_a_document_of_any_bytes_is_read(library: Path) -> None:
    (library / "latin.md").write_bytes("Müßiggang averages".encode("latin-1"))
    (library / "nul.md").write_bytes(b"\xff\xfe\x00gossip\x00 averages")
    (library / "empty.md").write_bytes(b"")
    index = Index(library)
    assert {hit.id for hit in index.search("averages", 8)} == {"latin", "nul"} and first(index, "moments") == "adam"
