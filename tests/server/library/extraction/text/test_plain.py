"""Markdown and plain text pass as they are, but for their front matter and what nobody sees."""

import pytest

from server.library.document import Kind
from server.library.extraction.text.plain import read_plain
from server.library.extraction.text.reasons import Unreadable


def test_front_matter_becomes_metadata() -> None:
    text = "---\ntitle: A\nauthors: [B, {name: C}]\ndate: 2024-05-06\nlicense: MIT\n---\n\n# A\n\n```\n---\n<!-- x -->\n```\n<!-- y -->\n"
    found = read_plain(text.encode(), "", Kind.MARKDOWN, "")
    assert found["markdown"] == "# A\n\n```\n---\n<!-- x -->\n```\n"
    assert [found[name] for name in ("title", "author", "published", "licence")] == ["A", "B, C", "2024-05-06", "MIT"]


def test_a_title_is_read_as_people_write_it() -> None:
    """As the reader of the library does, which has the same front matters before it."""
    found = read_plain(b"---\ntitle: Adam: a method\n---\n# B\n", "", Kind.MARKDOWN, "")
    assert (found["title"], found["markdown"]) == ("Adam: a method", "# B\n")


@pytest.mark.parametrize("front", ["author: 0x" + "f" * 9000, "a: [", "a: &a [*a, *a]", "- a\n- b", "x: " + "[" * 5000])
def test_front_matter_of_a_stranger_cannot_break_it(front: str) -> None:
    found = read_plain(f"---\n{front}\n---\n# B\n".encode(), "", Kind.MARKDOWN, "")
    assert "# B" in str(found["markdown"]) and found["title"] == "B"


def test_plain_text_keeps_its_lines() -> None:
    assert read_plain(b"a\r\n\tb  \r\n\r\n\r\n\r\n\r\n# c", "", Kind.TEXT, "")["markdown"] == "a\n    b\n\n\n# c\n"


def test_nothing_is_refused() -> None:
    with pytest.raises(Unreadable):
        read_plain(b"---\ntitle: A\n---\n\n", "", Kind.MARKDOWN, "")
