"""The folder of a library: files whole, names that collide, links, and what a killed writer leaves."""

import os
from pathlib import Path

import pytest

from server.errors import UnknownDocument, WorkspaceUnusable
from server.library.document import Document, Kind
from server.library.front_matter import parse, render, text_sha256
from server.library.store import Library, is_library

TEXT = "# Muon\n\nIt orthogonalises.\n"


def made(title: str = "Muon", **more: object) -> Document:
    about = {"id": "", "kind": Kind.HTML, "source": "https://example.org/a", "title": title, "fetched": "2026-01-02"}
    return Document.model_validate(
        {**about, "sha256": "0" * 64, "text_sha256": text_sha256(TEXT), "words": 4, "extractor": "x", **more}
    )


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


def write(library: Library, document: Document) -> Document:
    with library.changing():
        return library.write(document, TEXT)


def names(library: Library) -> list[str]:
    return sorted(path.name for path in library.folder.iterdir() if not path.name.startswith("."))


def test_a_document_comes_back_as_it_was_written(library: Library) -> None:
    document = write(library, made(title='A "title": with --- \u2028 and \x1b[31m', tags=("a", "b: c"), lossy=True))
    found, text = library.get(document.id)
    assert found == document.model_copy(update={"title": 'A "title": with --- and [31m'}) and text == TEXT
    assert library.documents() == [found]


def test_what_says_nothing_is_left_out_of_the_front_matter() -> None:
    text = render(made(), TEXT)
    assert "licence" not in text and "commit" not in text and 'title: "Muon"\n' in text
    again = parse(text)
    assert again == (made(), TEXT)


def test_a_rule_in_a_document_does_not_end_its_front_matter() -> None:
    text = "---\nid: evil\n---\n\n# x\n"
    again = parse(render(made(), text))
    assert again is not None and again[1] == text and again[0].id == ""


@pytest.mark.parametrize(
    "text", ["", "# Notes\n", "---\nno end", "---\nid: x\n---\n# lacks fields\n", "---\n" * 3, "--- \x00"]
)
def test_files_of_other_people_are_no_documents_and_stay(library: Library, text: str) -> None:
    with library.changing():
        pass
    (library.folder / "muon.md").write_text(text, encoding="utf-8")
    assert library.documents() == []
    assert write(library, made()).id == "muon-2"
    assert (library.folder / "muon.md").read_text(encoding="utf-8") == text
    with pytest.raises(UnknownDocument):
        library.remove("muon")


def test_names_that_exist_are_numbered_whatever_their_capitals(library: Library) -> None:
    with library.changing():
        pass
    (library.folder / "MUON.md").write_text("mine", encoding="utf-8")
    assert [write(library, made()).id for _ in range(2)] == ["muon-2", "muon-3"]
    assert names(library) == ["MUON.md", "muon-2.md", "muon-3.md"]


def test_links_are_neither_followed_nor_written_through(library: Library, tmp_path: Path) -> None:
    secret = tmp_path / "secret.md"
    secret.write_text(render(made(title="Secret"), TEXT), encoding="utf-8")
    with library.changing():
        pass
    (library.folder / "muon.md").symlink_to(secret)
    (library.folder / "folder").symlink_to(tmp_path)
    (library.folder / "gone.md").symlink_to(tmp_path / "nowhere")
    os.mkfifo(library.folder / "pipe.md")
    assert library.documents() == []
    with pytest.raises(UnknownDocument):
        library.get("muon")
    before = secret.read_bytes()
    with library.changing():
        library.write(made(id="muon"), TEXT)
    assert secret.read_bytes() == before and not (library.folder / "muon.md").is_symlink()


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_stands_in_place_of_the_folder_is_refused(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "library"
    place.symlink_to(tmp_path) if kind == "link" else place.write_text("x", encoding="utf-8")
    with pytest.raises(WorkspaceUnusable, match="not a folder"):
        Library(place)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "muon/../../secret", "", ".", "..", "a\0b", ".gitignore"])
def test_no_id_leads_out_of_the_folder(library: Library, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.md").write_text(render(made(title="Secret"), TEXT), encoding="utf-8")
    write(library, made())
    with pytest.raises(UnknownDocument):
        library.get(name)
    with pytest.raises(UnknownDocument), library.changing():
        library.remove(name)
    assert (tmp_path / "secret.md").exists() and names(library) == ["muon.md"]


def test_a_wrong_id_is_answered_with_those_most_like_it(library: Library) -> None:
    write(library, made("Muon optimizer"))
    with pytest.raises(UnknownDocument) as refused:
        library.get("muon-optimiser")
    assert "muon-optimizer" in refused.value.next_step


def test_a_repository_is_written_and_removed_whole(library: Library) -> None:
    files = {path: (made(commit="c", id=f"thing@1234567/{path[:-3]}"), TEXT) for path in ("INDEX.md", "docs/a.md")}
    with library.changing():
        library.write_folder("thing@1234567", files)
    assert [one.id for one in library.documents()] == ["thing@1234567/INDEX", "thing@1234567/docs/a"]
    with library.changing():
        library.write_folder("thing@7654321", files, instead_of="thing@1234567")
    assert names(library) == ["thing@7654321"]
    with library.changing():
        assert len(library.remove("thing@7654321")) == 2
    assert names(library) == []


def test_a_write_that_fails_leaves_what_was_there(library: Library) -> None:
    files = {"INDEX.md": (made(commit="c"), TEXT)}
    with library.changing():
        library.write_folder("thing@1234567", files)
    before = (library.folder / "thing@1234567" / "INDEX.md").read_bytes()
    with pytest.raises(OSError), library.changing():
        library.write_folder("thing@1234567", {**files, "a.md": files["INDEX.md"], "a.md/b.md": files["INDEX.md"]})
    assert (library.folder / "thing@1234567" / "INDEX.md").read_bytes() == before
    assert sorted(path.name for path in library.folder.iterdir()) == [".gitignore", ".lock", "thing@1234567"]


def test_what_a_killed_writer_left_is_cleared_up(library: Library) -> None:
    write(library, made())
    (library.folder / ".muon.md.99.new").write_text("half", encoding="utf-8")
    (library.folder / ".thing@1.new").mkdir()
    (library.folder / ".thing@2.old").mkdir()  # it was killed between two renames
    with library.changing():
        pass
    assert sorted(path.name for path in library.folder.iterdir()) == [".gitignore", ".lock", "muon.md", "thing@2"]


def test_a_library_is_told_from_a_folder_of_the_same_name(library: Library, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / ".gitignore").write_text("*.pyc\n", encoding="utf-8")
    write(library, made())
    assert is_library(library.folder) and not is_library(other) and not is_library(tmp_path / "nowhere")


def test_a_folder_of_the_project_is_not_taken_for_a_library(library: Library) -> None:
    """The candidate may be working in it: made a library, it would be withheld from it."""
    (library.folder / "src").mkdir(parents=True)
    (library.folder / "notes.md").write_text("# Mine\n", encoding="utf-8")
    (library.folder / "src" / "code.c").write_text("int x;\n", encoding="utf-8")
    with pytest.raises(WorkspaceUnusable, match=r"folder of the project: it has src/code\.c"):
        write(library, made())
    assert names(library) == ["notes.md", "src"] and not is_library(library.folder)
    (library.folder / "src" / "code.c").unlink()
    assert write(library, made()).id == "muon" and is_library(library.folder)
