"""What pages write in ways of their own: call-outs, side notes, loose notes, contents, and formulas that are drawn."""

import pytest

from tests.server.library.extraction.html.test_writer import markdown


def drawn(tag: str, *inside: str) -> str:
    return f"<mjx-{tag}>{''.join(inside)}</mjx-{tag}>"


def letter(code: str, shown: str = "") -> str:
    return f'<mjx-c class="mjx-c{code}">{shown}</mjx-c>'


X = drawn("mi", letter("1D465", "𝑥"))
N = drawn("mi", letter("1D45B"))
TWO = drawn("mn", letter("32"))
SUM = drawn("mo", letter("2211", "∑"))
FORMULAS = {
    "a fraction": (
        drawn(
            "mfrac",
            drawn(
                "frac",
                drawn("num", "<mjx-nstrut></mjx-nstrut>", X),
                drawn(
                    "dbox",
                    drawn(
                        "dtable", "<mjx-line></mjx-line>", drawn("row", drawn("den", "<mjx-dstrut></mjx-dstrut>", N))
                    ),
                ),
            ),
        ),
        r"\frac{x}{n}",
    ),
    "a root": (drawn("msqrt", drawn("sqrt", drawn("surd", drawn("mo", letter("221A"))), drawn("box", N))), r"\sqrt{n}"),
    "an index": (drawn("msub", X, drawn("script", N)), "x_{n}"),
    "both indices": (drawn("msubsup", X, drawn("script", TWO, "<mjx-spacer></mjx-spacer>", N)), "x_{n}^{2}"),
    "limits of a sum": (
        drawn(
            "munderover",
            drawn("over", N),
            drawn("box", drawn("munder", drawn("row", drawn("base", SUM)), drawn("row", drawn("under", TWO)))),
        ),
        r"\sum _{2}^{n}",
    ),
    "a picture": (
        '<svg><g data-mml-node="math"><g data-mml-node="msup"><g data-mml-node="mi"><use data-c="1D465"></use></g>'
        '<g data-mml-node="mn"><use data-c="32"></use></g></g></g></svg>',
        "x^{2}",
    ),
}


@pytest.mark.parametrize("what", FORMULAS)
def test_a_formula_that_is_only_drawn_is_read(what: str) -> None:
    html, tex = FORMULAS[what]
    found = markdown(
        f'<p>So <mjx-container class="MathJax" jax="CHTML"><mjx-math>{html}</mjx-math></mjx-container>.</p>'
    )
    assert found == f"So ${tex}$."


def test_what_is_hidden_within_a_formula_stays_hidden() -> None:
    shown, unseen = f"<mjx-math>{X}</mjx-math>", '<mjx-mi style="display:none">SECRET</mjx-mi>'
    assert markdown(f"<p>So <mjx-container>{shown}{unseen}</mjx-container> it is.</p>") == "So $x$ it is."
    assert markdown(f'<p>So <mjx-container style="display:none">{shown}</mjx-container>it is.</p>') == "So it is."


def test_a_formula_that_was_never_drawn_leaves_nothing() -> None:
    assert markdown("<p>So <mjx-container><mjx-lazy></mjx-lazy></mjx-container>it is.</p>") == "So it is."


CALLS_OUT = {
    "Bootstrap with a title": (
        '<div class="alert alert-info"><p class="alert-heading">Mind</p><p>One thing.</p></div>',
        "> [!info] Mind\n>\n> One thing.",
    ),
    "Bootstrap": (
        '<div class="alert alert-warning" role="alert">One thing.</div>',
        "> [!warning] Warning\n>\n> One thing.",
    ),
    "GitHub": (
        '<div class="markdown-alert markdown-alert-note"><p class="markdown-alert-title">Note</p><p>One thing.</p></div>',
        "> [!note] Note\n>\n> One thing.",
    ),
    "Obsidian": (
        '<div data-callout="tip" class="callout"><div class="callout-title">Try</div><p>One thing.</p></div>',
        "> [!tip] Try\n>\n> One thing.",
    ),
    "none": ('<div class="alerts"><p>One thing.</p></div>', "One thing."),
}


@pytest.mark.parametrize("what", CALLS_OUT)
def test_a_call_out_is_a_quotation_of_its_kind(what: str) -> None:
    html, wanted = CALLS_OUT[what]
    assert markdown(html) == wanted


NOTES = {
    "in the margin and below": (
        '<p>One<sup><a href="#fn-1">1</a></sup><span class="sidenote"><span class="sidenote-number">1. </span>It is so.</span> '
        'two.</p><div class="footnotes"><ol><li id="fn-1">It is so.</li></ol></div>',
        "One[^1] two.\n\n[^1]: It is so.",
    ),
    "in the margin alone": ('<p>One <span class="sidenote">It is so.</span> two.</p>', "One It is so. two."),
    "with a box for small screens": (
        '<p>One<label class="footref" for="fn.1">1</label><input id="fn.1" type="checkbox"><span class="sidenote"><sup>1</sup>'
        ' It is so.</span> two.</p><div class="footdef"><sup><a id="fn.1" href="#fnr.1" role="doc-backlink">1</a></sup> '
        '<div class="footpara"><p>It is so.</p></div></div>',
        "One[^1] two.\n\n[^1]: It is so.",
    ),
    "behind a rule": (
        "<p>One<sup>1</sup> two<sup>2</sup>.</p><hr><p><sup>1</sup> It is so.</p><p><b>2.</b> It is not.</p>",
        "One[^1] two[^2].\n\n---\n\n[^1]: It is so.\n\n[^2]: It is not.",
    ),
    "no notes behind a rule": (
        "<p>One x<sup>2</sup>.</p><hr><p><b>1</b> of the things.</p>",
        "One x<sup>2</sup>.\n\n---\n\n**1** of the things.",
    ),
    "of Word": (
        '<p>One<sup><a href="#_ftn1">[1]</a></sup>.</p><p><sup><a href="//x#_ftnref1">[1]</a></sup> It is so.</p>',
        "One[^1].\n\n[^1]: It is so.",
    ),
    "of LaTeXML, repeated": (
        '<p>One<span class="ltx_note ltx_role_footnotemark"><sup class="ltx_note_mark">2</sup><span class="ltx_note_outer">'
        '<span class="ltx_note_content"><sup class="ltx_note_mark">2</sup><span class="ltx_note_type">footnotemark: </span>'
        '<span class="ltx_tag">2</span></span></span></span>.</p>',
        "One<sup>2</sup>.",
    ),
}


@pytest.mark.parametrize("what", NOTES)
def test_notes_are_told_once_whatever_marks_them(what: str) -> None:
    html, wanted = NOTES[what]
    assert markdown(html) == wanted


def test_a_list_of_the_pages_own_headings_is_left_out() -> None:
    parts = "".join(f"<h3 id='p{n}'>Part {n}</h3><p>Words {n}.</p>" for n in range(3))
    contents = "<h2>Contents</h2><ul>" + "".join(f"<li><a href='#p{n}'>Part {n}</a></li>" for n in range(3)) + "</ul>"
    assert markdown(contents + parts).startswith("### Part 0\n\nWords 0.")
    other = "<ul>" + "".join(f"<li><a href='#p{n}'>Part</a> which says more of it</li>" for n in range(3)) + "</ul>"
    assert markdown(other + parts).startswith("- Part which says more")
