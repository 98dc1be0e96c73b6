"""Names of files are safe on every file system, whatever title or path they are made from."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.library.names import folded, numbered, safe_path, slug

LETTERS = list('aZcCoOnN09 .-_/\\:*?"<>|~$\0\n\x1b\x7féßİœ训ﬁ\u202e\u0301\ud800😀')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@settings(max_examples=30, deadline=None)
@given(st.text(LETTERS, max_size=100))
def test_a_slug_is_a_name_on_every_file_system(text: str) -> None:
    made = slug(text)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", made) and len(made) <= 70
    assert not _RESERVED.fullmatch(made)


@pytest.mark.parametrize(
    ("title", "made"),
    [
        ("Muon: An optimizer", "muon-an-optimizer"),
        ("../../etc/passwd", "etc-passwd"),
        ("Über Größe", "uber-grosse"),
        ("CON", "con-document"),
        ("训练", "document"),
        ("", "document"),
    ],
)
def test_slugs(title: str, made: str) -> None:
    assert slug(title) == made


@settings(max_examples=30, deadline=None)
@given(st.text(LETTERS, max_size=150))
def test_a_path_of_a_stranger_stays_below_its_folder(path: str) -> None:
    made = safe_path(path)
    if not made:
        return
    parts = made.split("/")
    assert not made.startswith("/") and "\\" not in made and "\0" not in made
    assert all(part not in ("", ".", "..") and not part.startswith(".") for part in parts)
    assert all(not part.endswith((".", " ")) and len(part.encode()) <= 200 for part in parts)
    assert not any(_RESERVED.fullmatch(part) for part in parts)


@pytest.mark.parametrize("path", ["../x.md", "a/../../x.md", "/etc/passwd", "a//b", "a/./b", "", "/".join("a" * 30)])
def test_a_path_that_climbs_is_none(path: str) -> None:
    assert safe_path(path) == ""


@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("docs/A guide.md", "docs/A guide.md"),
        (".github/CONTRIBUTING.md", "_github/CONTRIBUTING.md"),
        (".index.sqlite", "_index.sqlite"),
        ("nul.md", "nul_.md"),
        ("a\\b:c*.md", "a_b_c_.md"),
        ("trailing. ", "trailing_"),
    ],
)
def test_paths(path: str, made: str) -> None:
    assert safe_path(path) == made


def test_a_name_that_is_taken_gets_a_number() -> None:
    taken = {"a.md", "a-2.md", "docs/b.md"}
    assert numbered("a.md", taken.__contains__) == "a-3.md"
    assert numbered("docs/b.md", taken.__contains__) == "docs/b-2.md"
    assert numbered("free", taken.__contains__) == "free"


def test_capitals_and_ways_to_write_an_accent_make_no_other_name() -> None:
    assert folded("README.md") == folded("readme.MD") and folded("é") == folded("e\u0301")
