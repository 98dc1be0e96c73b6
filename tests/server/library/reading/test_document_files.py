"""What a document says of itself, however its front matter was written."""

import pytest

from server.library.reading.document_files import parse

BODY = "# Heading\n\nText."


@pytest.mark.parametrize(
    ("text", "title", "source"),
    [
        (
            f'---\nid: "a"\ntitle: "Adam: a \\"method\\" — 学"\nsource: "https://e.org"\n---\n\n{BODY}',
            'Adam: a "method" — 学',
            "https://e.org",
        ),
        (f"---\ntitle: Adam: a method\nsource: https://e.org\n---\n{BODY}", "Adam: a method", "https://e.org"),
        (f"\ufeff---\r\ntitle: Adam\r\nsource: here\r\n---\r\n{BODY}", "Adam", "here"),
        (f"---\ntitle: >\n  Adam,\n  a method\nsource: [a, b, {{c: d}}]\n...\n{BODY}", "Adam, a method", "a, b"),
        (f"---\ntitle: 2014-12-22\nsource: !!python/object:os.system x\n---\n{BODY}", "2014-12-22", "x"),
        (f"---\ntitle: 'a\u202eb\x1b[31mc'\n---\n{BODY}", "abc", ""),
        (f"---\nother: 1\n---\n{BODY}", "Heading", ""),
        (BODY, "Heading", ""),
        (f"```\n# code\n```\n\n{BODY}", "Heading", ""),
        ("Title\n=====\n\nText.", "Title", ""),
        ("Text alone.", "name", ""),
        ("", "name", ""),
        ("---", "name", ""),
        ("---\ntitle: never closed\n", "name", ""),
    ],
)
def test_title_and_source_are_read(text: str, title: str, source: str) -> None:
    found = parse("name", text)
    assert (found.entry.title, found.entry.source) == (title, source)
    assert BODY not in text.replace("\r", "") or found.body.endswith(BODY)
    assert "source:" not in found.body


def test_aliases_in_a_front_matter_do_not_grow() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    found = parse("name", f"---\n{bomb}title: *i\n---\n{BODY}")
    assert found.body == BODY and len(repr(found.entry)) < 1000
