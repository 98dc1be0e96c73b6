"""Lines and lists that lead to other pages, and labels of tags and of nothing, are no text of a page."""

from collections.abc import Sequence

import pytest

from server.library.extraction.html.prepared import prepare
from server.library.extraction.html.tree import parse
from server.library.extraction.page.blocks import blocks_of
from server.library.extraction.page.endings import without_endings

_PROSE = "<p>The update is made orthogonal by five steps of an iteration, which costs little.</p>"
_LINKS = "<ul><li><a href='/a'>One other page of this site</a></li><li><a href='/b'>And another one</a></li></ul>"
_TAGS = "<ul><li><a href='/t/x'>optimizers</a></li><li><a href='/t/y'>training</a></li></ul>"


def left(html: str, dropped: Sequence[str] = ()) -> str:
    """The texts that stay; `dropped`: those that were no text before."""
    root = parse(f"<html><body>{html}</body></html>")
    prepare(root)
    blocks = blocks_of(root.find(".//body"))
    kept = without_endings(blocks, [block.text not in dropped for block in blocks])
    return " / ".join(" ".join(block.text.split()) for block, keep in zip(blocks, kept, strict=True) if keep)


@pytest.mark.parametrize(
    "end",
    [
        f"<h3>Mehr zum Thema auf dieser Seite</h3>{_LINKS}",
        f"<p><b>Read more:</b></p>{_LINKS}",
        f"<h2>Schlagworte</h2>{_TAGS}",
        f"<div>Tags:</div>{_TAGS}",
        "<p>Read also: <a href='/x'>another page</a></p>",
    ],
)
def test_what_leads_elsewhere_goes_and_the_text_around_it_stays(end: str) -> None:
    assert left(f"{_PROSE}{end}{_PROSE}").count("The update is made") == 2
    assert left(f"{_PROSE}{end}{_PROSE}") == left(_PROSE + _PROSE)


def test_a_label_goes_with_the_text_that_it_announces() -> None:
    assert "Blogs" not in left(f"{_PROSE}<h3>Blogs that take part</h3><p>Some links</p>", ["Some links"])
    assert "Topics:" not in left(f"{_PROSE}<p>Topics:</p><p>Some links</p>", ["Some links"])


@pytest.mark.parametrize(
    "text",
    [
        f"<h3>Further papers</h3>{_LINKS}",  # a list of links may be what a page is for
        "<h3>Tags</h3><p>Each run of the trainer has tags, and one can look for them.</p>",
        "<p>It should be read like this:</p><p>Some links</p>",
        "<h2>Related work</h2><p>Others have done the same with other optimizers.</p>",
    ],
)
def test_labels_and_links_of_a_text_stay(text: str) -> None:
    assert left(_PROSE + text, ["Some links"]).count(" / ") >= 1
    assert text.partition(">")[2].partition("<")[0] in left(_PROSE + text, ["Some links"])
