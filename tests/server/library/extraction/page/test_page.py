"""What a page says of itself, where its text is, and pages without text."""

import time
from collections.abc import Callable

import pytest

from server.library.extraction.html import tree
from server.library.extraction.html.tree import parse, words
from server.library.extraction.page.blocks import blocks_of
from server.library.extraction.page.metadata import iso_date, read_metadata
from server.library.extraction.page.page import read_page
from server.library.extraction.page.vote import coverage, settle
from server.library.extraction.text.reasons import Reason, Unreadable
from tests.support.growth import require_even

TEXT = "The optimizer keeps an average of the gradient, and divides each step by its root, which helps rare features. "
LD = (
    '<script type="application/ld+json">{"@graph":[{"@type":"NewsArticle","headline":"H","author":[{"name":"A B"},{"name":"C D"}],'
    '"datePublished":"2023-04-05T06:07:08Z","license":"https://creativecommons.org/licenses/by-sa/4.0/"}]}</script>'
)


def read(page: str, url: str = "https://site.org/a") -> dict[str, str]:
    return {name: str(value) for name, value in read_page(page.encode(), "", url).items()}


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (LD, ("H", "A B, C D", "2023-04-05", "CC BY-SA 4.0")),
        (
            "<meta name=citation_title content=T><meta name=citation_author content='E, F'><meta name=citation_author content='G, H'>"
            "<meta name=citation_date content=2021/02/03>",
            ("T", "E, F, G, H", "2021-02-03", ""),
        ),
        (
            "<title>Name | Site</title><meta property=og:site_name content=Site><meta property=article:published_time content='2020-01-02T'>"
            "<link rel=license href=https://site.org/MIT>",
            ("Name", "", "2020-01-02", "https://site.org/MIT"),
        ),
        ("<title>Only</title><script type='application/ld+json'>{broken</script>", ("Only", "", "", "")),
    ],
)
def test_metadata_are_found(head: str, expected: tuple[str, str, str, str]) -> None:
    assert read_metadata(parse(f"<html><head>{head}</head><body><p>x</p></body></html>")) == expected


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("May 3, 2024", "2024-05-03"),
        ("3 May 2024", "2024-05-03"),
        ("2024-13-01", ""),
        ("20 words", ""),
        ("[Submitted on 12 Jun 2017]", "2017-06-12"),
    ],
)
def test_a_date_is_written_as_iso_has_it(text: str, date: str) -> None:
    assert iso_date(text) == date


CONTAINERS = {
    "GitHub": "<article class='markdown-body entry-content'>{}</article>",
    "LaTeXML": "<article class='ltx_document'>{}</article>",
    "MkDocs": "<article class='md-content__inner md-typeset'>{}</article>",
    "Sphinx": "<div class='rst-content'><div class=document role=main><div itemprop=articleBody>{}</div></div></div>",
    "nbconvert": "<main class='jp-Notebook'>{}</main>",
    "MediaWiki": "<div id=mw-content-text><div class='mw-parser-output'>{}</div></div>",
    "Docusaurus": "<div class='theme-doc-markdown markdown'>{}</div>",
    "rustdoc": "<section id=main-content>{}</section>",
}


@pytest.mark.parametrize("made_by", CONTAINERS)
def test_the_container_of_known_software_is_the_text(made_by: str) -> None:
    inside = CONTAINERS[made_by].format(f"<h1>Title</h1><p>{TEXT * 2}</p>")
    found = read(f"<body><nav>{'<a href=x>Elsewhere</a> ' * 40}</nav>{inside}<footer>{TEXT}FOOT</footer></body>")
    assert made_by in found["extractor"]
    assert found["markdown"].startswith("# Title\n\nThe optimizer")
    assert "Elsewhere" not in found["markdown"] and "FOOT" not in found["markdown"]


def test_of_an_unknown_page_the_text_is_kept_and_what_is_around_goes() -> None:
    text = "".join(f"<p>{TEXT}{number}.</p>" for number in range(12))
    page = (
        f"<body><div class=menu>{'<a href=x>Elsewhere</a> ' * 40}</div><div class=story><h2>Part</h2>{text}<pre>code()</pre></div>"
        f"<div class=related><h3>More</h3>{'<li><a href=y>Another story of the day</a></li>' * 10}</div></body>"
    )
    markdown = read(page)["markdown"]
    assert (
        all(f"features. {number}." in markdown for number in range(12))
        and "## Part" in markdown
        and "code()" in markdown
    )
    assert "Elsewhere" not in markdown and "Another story" not in markdown


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("<html><body><nav></nav></body></html>", Reason.EMPTY),
        ("   ", Reason.EMPTY),
        (
            "<title>Log in</title><form><p>User</p><input name=u><input type=password name=p><button>Go</button></form>",
            Reason.LOGIN,
        ),
        (
            "<title>Just a moment...</title><body><noscript>Enable JavaScript and cookies to continue</noscript><script>x</script></body>",
            Reason.SCRIPTED,
        ),
        ("<body><div id=root></div><script src=app.js></script></body>", Reason.SCRIPTED),
    ],
)
def test_a_page_without_text_is_refused(page: str, reason: Reason) -> None:
    with pytest.raises(Unreadable) as refused:
        read(page)
    assert refused.value.reason is reason


@pytest.mark.parametrize(
    "tag", [pytest.param("div", marks=pytest.mark.thorough), "blockquote", "ul><li", "span", "b", "table><tr><td"]
)
def test_a_page_of_any_depth_is_read(tag: str) -> None:
    opening = f"<{tag}>" * 5000
    assert "The optimizer" in read(f"<body><p>{TEXT}</p>{opening}<p>{TEXT}deep</p></body>")["markdown"]


def test_an_article_at_the_bottom_of_a_deep_page_is_read() -> None:
    for between in ("", "x"):
        page = f"<body>{f'<div>{between}' * 5000}<article class='md-content__inner'><h2>Deep</h2><p>{TEXT * 2}</p></article></body>"
        assert "## Deep\n\nThe optimizer" in read(page)["markdown"]


def test_parts_that_react_sends_late_are_put_where_they_belong() -> None:
    late = "<div hidden id='S:1'><h2>Second</h2>" + f"<p>{TEXT}</p>" * 3 + "</div>"
    page = (
        f"<body><article><h2>First</h2><p>{TEXT}</p><template id='B:1'></template><p>Last. {TEXT}</p></article>{late}"
    )
    found = read(page + "<div hidden id='S:2'><p>LEAK</p></div></body>")["markdown"]
    assert found.index("First") < found.index("Second") < found.index("Last.") and "LEAK" not in found


def test_the_text_of_a_page_of_unknown_software_keeps_its_code_and_headings() -> None:
    code = "<div class=highlight><pre>import torch\nfrom torch import nn</pre></div>"
    part = f"<h2>Advice</h2><p>{TEXT}</p>{code}<p><span class=math-block data-math='x^2'></span></p>"
    page = f"<head><title>Of the page</title></head><body><article><h1>Of the page</h1><p>{TEXT}</p>{part * 2}</article></body>"
    found = read(page)
    assert found["markdown"].count("import torch\n") == found["markdown"].count("## Advice") == 2
    assert found["markdown"].count("$$\nx^2\n$$") == 2
    assert found["title"] == "Of the page" and "# Of" not in found["markdown"].replace("## ", "")  # told once


def test_a_page_whose_blocks_are_all_unlikely_has_the_text_of_the_longer_opinion() -> None:
    body = parse(f"<body><div class=menu>Home</div>{f'<p>{TEXT}</p>' * 3}<p>Our offers</p></body>").find(".//body")
    blocks = blocks_of(body)
    seen = [coverage(blocks, words(text)) for text in (TEXT, "Our offers")]
    kept = settle(blocks, [False] * len(blocks), seen, frozenset())
    assert [block.text for block, keep in zip(blocks, kept, strict=True) if keep] == [TEXT] * 3


def test_every_post_of_a_discussion_is_read() -> None:
    posts = (f"<div class='comment-body markdown-body'><p>{says}</p></div>" for says in ("Why?", TEXT, "Thanks."))
    found = read(f"<body><div class=menu>NOT</div>{''.join(posts)}</body>")
    assert found["markdown"].split("\n\n")[0] == "Why?" and found["markdown"].endswith("Thanks.\n")
    assert "GitHub" in found["extractor"] and "NOT" not in found["markdown"]


def test_a_footnote_that_the_text_refers_to_is_read_wherever_it_stands() -> None:
    """In a part of the page that is no text by its name, on a page of unknown software."""
    text = f"<div><p>{TEXT}<a href='#fn:1'>1</a></p><p>{TEXT}</p></div>"
    note = "<div class='sidebar widget'><ol><li id='fn:1'><p>See the notes.</p></li></ol><p>Our offers today.</p></div>"
    found = read(f"<body>{text * 1}{f'<p>{TEXT}</p>' * 4}{note}</body>")["markdown"]
    assert "[^1]: See the notes." in found and "offers" not in found


@pytest.mark.parametrize("says", ["Read more: ", "Lesen Sie auch: ", "Le puede interesar: "])
def test_a_line_that_only_leads_to_another_page_is_no_text(says: str) -> None:
    away = f"<p>{says}<a href='/b'>Ten rules for a learning rate</a></p>"
    found = read(f"<body><article>{f'<p>{TEXT}</p>' * 3}{away}{f'<p>{TEXT}</p>' * 3}</article></body>")["markdown"]
    assert found.count("The optimizer") == 6 and "Ten rules" not in found


def test_code_between_two_paragraphs_is_kept_whatever_stands_around_it() -> None:
    code = "<div class='frame widget'><div><b>Copy</b><pre>tasks.withType { x }</pre></div></div>"
    found = read(f"<body><article>{f'<p>{TEXT}</p>' * 3}{code}{f'<p>{TEXT}</p>' * 3}</article></body>")["markdown"]
    assert "tasks.withType { x }" in found


def test_an_element_that_is_named_as_the_text_counts_where_nothing_of_it_is_likely() -> None:
    short = "<div class='js-article-content'><h2>Section</h2><p>The step is divided by the root of the average.</p>"
    short += (
        "<p>It needs a warm-up of a hundred steps, or the second moment is wrong at first, and the loss goes up.</p>"
    )
    short += "<p>Decay goes apart from the gradient, on matrices only.</p></div>"
    long = f"<div class=legal>{f'<p>{TEXT}</p>' * 20}</div>"
    found = read(f"<body><main>{short}{long}</main></body>")["markdown"]
    assert "needs a warm-up" in found


def test_a_menu_with_dishes_is_text() -> None:
    body = parse("<body><div id=menu><p>Soup</p><p>Bread</p></div><div class=menu><a href=/>Home</a></div></body>")
    assert [block.junk for block in blocks_of(body.find(".//body"))] == [0, 0, 1]


THREADS = {
    "GitHub's discussions": "<div class=js-comment><h3><a class=author>{who}</a> <relative-time datetime={when}T10:00:00Z>then"
    "</relative-time></h3><div class='comment-body markdown-body'><p>{text}</p></div></div>",
    "Discourse": "<div class='topic-body crawler-post'><span itemprop=author><a>{who}</a></span><time datetime={when}>then</time>"
    "<div class=post itemprop=text><p>{text}</p></div></div>",
    "phpBB": "<div class=postbody><p><a class=username>{who}</a> <time datetime={when}>then</time></p>"
    "<div class=content>{text}</div></div>",
}


@pytest.mark.parametrize("made_by", THREADS)
def test_of_a_thread_each_answer_says_who_wrote_it_and_when(made_by: str) -> None:
    posts = (("ada", "2026-01-01", "What is the rate?"), ("b*b", "2026-01-02", "Some 0.02 of it."))
    body = "".join(THREADS[made_by].format(who=who, when=when, text=text) for who, when, text in posts)
    found = read(f"<html><body><p>Log in</p>{body}<p>Powered by it</p></body></html>")
    assert found["markdown"] == "What is the rate?\n\n**b\\*b** · 2026-01-02\n\nSome 0.02 of it.\n"
    assert made_by in found["extractor"]


def test_a_page_of_which_nothing_is_likely_text_still_has_its_text() -> None:
    assert read("<html><body><p>words<br>" + "line<br>" * 2000 + "</p></body></html>")["markdown"].startswith("words")


@pytest.mark.parametrize(("name", "says"), [("MOST_TEXT", "characters of text"), ("MOST_ELEMENTS", "elements")])
def test_a_page_with_too_much_in_it_is_refused_before_it_is_read(
    name: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, name, 20)
    with pytest.raises(Unreadable) as refused:
        read("<html><body>" + "<p>Some words of it.</p>" * 30 + "<script>long</script></body></html>")
    assert refused.value.reason is Reason.LARGE and says in refused.value.detail


def test_a_long_name_and_a_long_style_of_an_element_cost_no_more_than_a_short_one() -> None:
    root = parse(f"<p class='{'a ' * 90_000}' style='{'height:1px;' * 90_000}color:red'>Words of it.</p>")
    (one,) = root.iter("p")
    assert max(map(len, one.attrib.values())) < 5000 and one.get("style").endswith("color:red")


GROWING: dict[str, Callable[[int], str]] = {
    "blocks with text between": lambda n: "<div>some words here</div>tail " * n,
    "items": lambda n: "<ul>" + "<li>item <b>x</b> words" * n + "</ul>",
    "blocks of code": lambda n: "<pre><code>x = 1\ny = 2</code></pre>" * n,
    "headings": lambda n: "".join(f"<h1>Heading {at} of it</h1>" for at in range(n)),
    "buttons": lambda n: "<p>Words " + "<button>word</button> and " * n,
    "code in lines": lambda n: "<p>" + "<code>x<br>y z w</code> and " * n,
    "footnotes": lambda n: (
        "<p>"
        + "".join(f"x<sup><a href='#fn{at}'>{at}</a></sup> " for at in range(n))
        + "<div class=footnotes><ol>"
        + "".join(f"<li id='fn{at}'>note {at}</li>" for at in range(n))
    ),
    "linked data": lambda n: (
        f"<script type='application/ld+json'>[{'1,' * 40 * n}1]</script><p>Some words of a page</p>"
    ),
    "a tag that never ends": lambda n: "<div>" * 300 + "words of it" + "<" + "a" * 40 * n,
    "a style": lambda n: f"<p style='{'height:1px;' * 10 * n}'>Some words of a page</p>",
}


@pytest.mark.thorough  # seconds each
@pytest.mark.parametrize("kind", GROWING)
def test_no_page_takes_time_that_grows_faster_than_it(kind: str) -> None:
    def seconds(size: int) -> float:
        page = f"<html><body>{GROWING[kind](size)}</body></html>".encode()
        began = time.process_time()
        try:
            read_page(page, "", "")
        except Unreadable:
            pass
        return time.process_time() - began

    seconds(10)  # the libraries are loaded
    require_even(seconds, 8000)
