"""What a page hides from its reader is not read by an agent either, and what it shows stays."""

import time

import pytest

from server.library.reading.visible import one_line, visible
from tests.support.growth import require_even

# One document of each kind: what it hides is SECRET, and what it shows is seen.
HIDING = {
    "a comment": "seen <!-- SECRET --> seen",
    "a comment over blank lines": "seen\n\n<!-- SECRET\n\nSECRET -->\nseen",
    "a comment around a fence": "seen\n<!--\n```\nSECRET\n```\n-->\nseen",
    "a comment between two lone backticks": "seen ` tick\n\n<!-- SECRET -->\n\nseen ` tick",
    "a comment without an end": "seen\n\n<!-- SECRET\n\nSECRET",
    "display none": '<div style="display:none">SECRET</div>seen',
    "display none, in other letters": "<DIV STYLE='color:red; Display : NONE'>SECRET</DIV>seen",
    "display none, with a reference to its colon": '<p style="display&#58;none">SECRET</p>seen',
    "elements within a hidden one": '<div style="display:none">SECRET<div>SECRET</div>SECRET</div>seen',
    "the attribute hidden": "<p hidden>SECRET</p>seen",
    "the attribute hidden with a value": '<p class="a" hidden="until-found">SECRET</p>seen',
    "the attribute after a > in quotes": '<p title=">" hidden>SECRET</p>seen',
    "a hidden element over several lines": "seen\n<section\n  hidden\n>\n\nSECRET\n\n</section>\nseen",
    "a hidden element without an end": "seen\n\n<p hidden>SECRET\n\nSECRET",
    "no visibility": '<span style="visibility:hidden">SECRET</span>seen',
    "letters of size 0": '<span style="font-size:0px">SECRET</span>seen',
    "letters of size 0.0": '<span style="font-size: 0.0em">SECRET</span>seen',
    "no opacity": '<span style="opacity:0">SECRET</span>seen',
    "a place far to the left": '<p style="position:absolute;left:-9999px">SECRET</p>seen',
    "a script": "<script>SECRET</script>seen",
    "a style sheet": "<style type='a'>SECRET</style>seen",
    "a template": "<template id=a>SECRET</template>seen",
    "a link definition as a comment": "[//]: # (SECRET)\nseen",
    "a link definition as a comment, its text below": "[comment]: <#>\n  'SECRET'\nseen",
    "tag characters": "seen" + "".join(chr(0xE0000 + ord(char)) for char in "SECRET"),
    "joiners as an alphabet": "seen" + "\u200c\u200d\u200c\u200d" * 8,
    "variation selectors as an alphabet": "seen" + "\ufe00\ufe01\ufe02\ufe03" * 8,
    "more variation selectors": "seen" + "\U000e0100\U000e0101" * 8,
    "characters without width": "s\u200be\u2060e\ufeffn",
    "a soft hyphen": "se\xaden",
    "an embedding of the other direction": "\u202eseen\u202c",
    "an isolate of the other direction": "\u2067seen\u2069",
    "a mark of direction": "\u200fseen\u061c",
    "terminal colours": "\x1b[31mseen\x1b[0m",
    "a terminal title": "\x1b]0;SECRET\x07seen",
    "controls": "s\x00e\x08e\x7fn\x9b1m",
}
SHOWN = [
    "`<!-- code -->` seen",
    "``a ` <!-- code -->`` seen",
    "```html\n<!-- code -->\n<p hidden>code</p>\n```",
    "~~~\n```\n<!-- code -->\n~~~",
    "- item\n  ```\n  <!-- code -->\n  ```",
    "an inline <span style='font-size:0.9em'>small</span> and <b style=\"opacity:0.5\">pale</b>",
    "<div data-hidden='1' aria-hidden=true class=\"hidden\">seen</div>",
    "x < y and y > z, <a href='h'>t</a>, hidden words, display: none as words",
    "[a link](https://example.org 'title') and [one][two]\n\n[two]: https://example.org 'title'",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "\u2764\ufe0f\u200d\U0001f525 \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "def f(x):\n\treturn x  # tab",
    "seen ` tick ` seen `` seen",
]


@pytest.mark.parametrize("text", HIDING.values(), ids=HIDING.keys())
def test_what_a_page_hides_is_gone(text: str) -> None:
    told = visible(text)
    assert "SECRET" not in told and "seen" in told
    assert not any(0xE0000 <= ord(char) or 0x202A <= ord(char) <= 0x202E or char in "\u200b\x1b" for char in told)
    assert not any(mark * 2 in told for mark in ("\u200c\u200d", "\ufe00\ufe01"))


@pytest.mark.parametrize("text", SHOWN)
def test_what_a_page_shows_stays(text: str) -> None:
    assert visible(text) == text


def test_lines_end_in_a_line_feed_and_nothing_else_ends_one() -> None:
    assert visible("a\r\nb\rc\x0bd\x0ce\x85f\u2028g\u2029h\x1ci") == "\n".join("abcdefghi")
    assert one_line("a\r\n  b\u2028c\x1b[2Jd\u202e" + "e" * 500, 20) == "a b cd" + "e" * 13 + "…"


def test_links_that_run_something_or_hold_data_lead_nowhere() -> None:
    told = visible("[a](javascript:alert(1)) ![b]( DATA:image/png;base64,AAAA) [c](<vbscript:x>) [d](https://data:1)")
    assert not any(word in told.lower() for word in ("javascript:", "data:image", "vbscript:"))
    assert "[d](https://data:1)" in told


@pytest.mark.parametrize(
    "unit",
    [
        "<a ",
        '<a "',
        "<a '<b \"",
        "<!--",
        "<p hidden>",
        "<p hidden></p>",
        "`",
        "` ``",
        "```\n",
        "[a]: # ",
        "](",
        "<p style=",
    ],
)
def test_no_text_makes_it_slow(unit: str) -> None:
    def seconds(size: int) -> float:
        begun = time.process_time()
        visible(unit * (size // len(unit)) + "\n\nend")
        return time.process_time() - begun

    require_even(seconds, 200_000)
