"""Text that no reader of a page sees does not reach the Markdown."""

import pytest

from server.library.extraction.page.page import read_page

FILL = "<p>" + "Words that a reader sees, as many as a page has that is about something and says it. " * 3 + "</p>"

HIDDEN = (
    "<p style='display:none'>LEAK</p>",
    "<p style='color:red; DISPLAY : none !important'>LEAK</p>",
    "<p hidden>LEAK</p>",
    "<div hidden='hidden'><p>LEAK</p></div>",
    "<p style='visibility:hidden'>LEAK</p>",
    "<p style='opacity:0'>LEAK</p>",
    "<p style='opacity: 0.0;'>LEAK</p>",
    "<p style='font-size:0'>LEAK</p>",
    "<p style='font-size: 0.1px'>LEAK</p>",
    "<p style='position:absolute; left:-9999px'>LEAK</p>",
    "<p style='text-indent:-9999em'>LEAK</p>",
    "<p style='transform:scale(0)'>LEAK</p>",
    "<p style='clip:rect(0,0,0,0);position:absolute'>LEAK</p>",
    "<p style='clip-path: inset(100%)'>LEAK</p>",
    "<p style='color:transparent'>LEAK</p>",
    "<p style='height:0;overflow:hidden'>LEAK</p>",
    "<p style='overflow:hidden;width:1px'>LEAK</p>",
    "<span aria-hidden='true'>LEAK</span>",
    "<p class='sr-only'>LEAK</p>",
    "<template><p>LEAK</p></template>",
    "<noscript><p>LEAK</p></noscript>",
    "<script>LEAK</script>",
    "<style>LEAK</style>",
    "<!-- LEAK -->",
    "<svg><text>LEAK</text></svg>",
    "<iframe>LEAK</iframe>",
    "<p>a\U000e004c\U000e0045\U000e0041\U000e004b</p>",
    "<textarea>LEAK</textarea>",
    "<dialog>LEAK</dialog>",
)


@pytest.mark.parametrize("hidden", HIDDEN)
def test_hidden_text_is_removed(hidden: str) -> None:
    assert_clean(f"<article class='md-content__inner'>{FILL}{hidden}{FILL}</article>")


def test_hidden_text_is_removed_from_a_page_of_unknown_software() -> None:
    assert_clean(f"<div>{FILL}{FILL.join(HIDDEN)}{FILL}</div>")


def assert_clean(body: str) -> None:
    markdown = str(read_page(f"<html><body>{body}</body></html>".encode(), "", "")["markdown"])
    assert "LEAK" not in markdown and "\U000e004c" not in markdown
    assert "Words that a reader sees" in markdown


def test_what_is_shown_stays() -> None:
    shown = "<p style='opacity:0.9; font-size:10px; left:-2px'>SEEN</p><p style='display:block'>TOO</p><p hidden='until-found'>ALSO</p>"
    markdown = str(
        read_page(f"<article class='md-content__inner'>{FILL}{shown}</article>".encode(), "", "")["markdown"]
    )
    assert all(word in markdown for word in ("SEEN", "TOO", "ALSO"))


@pytest.mark.parametrize(
    "style",
    [
        "background:var(--ground);color:var(--letters)",
        "color:inherit;background:inherit",
        "color:#000;background:#fff",
    ],
)
def test_what_only_looks_hidden_stays(style: str) -> None:
    page = (
        f'<html><body><article class="md-content__inner"><div style="{style}">{FILL}SEEN</div></article></body></html>'
    )
    assert "SEEN" in str(read_page(page.encode(), "", "")["markdown"])
