"""Markdown of fragments of HTML, by the whole way from bytes to text without the process around it."""

import pytest

from server.library.document import Kind
from server.library.extraction.page.page import read_page

FILL = (
    "<p>"
    + "Some words that make a page out of a fragment, twenty and more of them, so that it is taken as it is. " * 2
    + "</p>"
)


def markdown(fragment: str, head: str = "") -> str:
    page = f"<html><head><title>T</title>{head}</head><body><article class='md-content__inner'>{FILL}<hr>{fragment}</article></body></html>"
    found = read_page(page.encode(), "", "https://site.org/docs/page.html")
    assert found["kind"] is Kind.HTML
    return str(found["markdown"]).partition("---\n\n")[2].rstrip("\n")


BLOCKS = {
    "heading levels": ("<h2>One<a class='headerlink' href='#one'>¶</a></h2><h4>Two</h4>", "## One\n\n#### Two"),
    "emphasis": ("<p>a <b>b </b>c <i><b>d</b></i></p>", "a **b** c ***d***"),
    "line break": ("<p>a<br>b</p>", "a  \nb"),
    "two breaks divide": ("<div>a b c<br><br>d e f</div>", "a b c\n\nd e f"),
    "quote": ("<blockquote><p>a</p><p>b</p></blockquote>", "> a\n>\n> b"),
    "nested lists": ("<ul><li>a<ol start=3><li>b</li><li>c</li></ol></li><li>d</li></ul>", "- a\n  3. b\n  4. c\n- d"),
    "list as a child of a list": ("<ul><li>a</li><ul><li>b</li></ul></ul>", "- a\n  - b"),
    "ten items": (f"<ol start=9>{'<li><p>x</p><p>y</p></li>' * 2}</ol>", "9. x\n\n   y\n\n10. x\n\n    y"),
    "task list": (
        "<ul><li><input type=checkbox checked disabled> a</li><li><input type=checkbox> b</li></ul>",
        "- [x] a\n- [ ] b",
    ),
    "code in an item": ("<ul><li>a<pre>x\n  y</pre></li></ul>", "- a\n\n  ```\n  x\n    y\n  ```"),
    "definitions": ("<dl><dt>a</dt><dd><p>b</p><p>c</p></dd></dl>", "a\n:   b\n\n    c"),
    "no list": ("<p>1. a</p><p>- b</p><p># c</p>", "1\\. a\n\n\\- b\n\n\\# c"),
    "no emphasis": ("<p>a*b* 2 * 3 snake_case _x_</p>", "a\\*b\\* 2 * 3 snake_case \\_x\\_"),
    "no tag": ("<p>List&lt;int&gt; 1 &lt; 2</p>", "List\\<int> 1 < 2"),
    "code span": ("<p><code>a`b</code> <code>*x*</code></p>", "``a`b`` `*x*`"),
    "table": (
        "<table><tr><th>a</th><th>b|c</th></tr><tr><td>1<br>2</td><td><code>x|y</code></td></tr></table>",
        "| a | b\\|c |\n| --- | --- |\n| 1<br>2 | `x\\|y` |",
    ),
    "spans": (
        "<table><thead><tr><th colspan=2>a</th><th>b</th></tr></thead><tr><td rowspan=2>1</td><td>2</td><td>3</td></tr>"
        "<tr><td>4</td><td>5</td></tr></table>",
        "| a |  | b |\n| --- | --- | --- |\n| 1 | 2 | 3 |\n| 1 | 4 | 5 |",
    ),
    "table without head": (
        "<table><tr><td>1</td><td>2</td></tr><tr><td>3</td><td>4</td></tr></table>",
        "|  |  |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |",
    ),
    "layout table": ("<table role=presentation><tr><td>a</td><td>b</td></tr></table>", "a\n\nb"),
    "image": ("<p><img src='/i.png' alt='A [b]\nc'></p>", "![A b c](https://site.org/i.png)"),
    "late image": (
        "<p><img src='data:image/gif;base64,xx' data-src='i.png' alt=x></p>",
        "![x](https://site.org/docs/i.png)",
    ),
    "summary": ("<details><summary>More</summary><p>a</p></details>", "**More**\n\na"),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_is_written(name: str) -> None:
    html, expected = BLOCKS[name]
    assert markdown(html) == expected


CODE = {
    "plain": ("<pre>\nif x:\n\ty = 1\n    z\n</pre>", "```\nif x:\n\ty = 1\n    z\n```"),
    "class of code": (
        "<pre><code class='language-rust'>fn a() {\n    b\n}\n</code></pre>",
        "```rust\nfn a() {\n    b\n}\n```",
    ),
    "Sphinx": (
        "<div class='highlight-python notranslate'><div class='highlight'><pre><span></span><span class='k'>def</span> f():\n"
        "    <span class='k'>pass</span>\n</pre></div></div>",
        "```python\ndef f():\n    pass\n```",
    ),
    "table of line numbers": (
        "<div class='highlight'><table class='highlighttable'><tr><td class='linenos'><div class='linenodiv'><pre>1\n2</pre></div>"
        "</td><td class='code'><div><pre>a\n  b</pre></div></td></tr></table></div>",
        "```\na\n  b\n```",
    ),
    "a row for each line": (
        "<table class='hljs-ln'><tr><td class='hljs-ln-numbers' data-line-number=1></td><td>a</td></tr>"
        "<tr><td class='hljs-ln-numbers' data-line-number=2></td><td>  b</td></tr></table>",
        "```\na\n  b\n```",
    ),
    "line numbers within": (
        "<pre class='chroma'><code class='language-go' data-lang='go'><span class='line'><span class='ln'>1</span>"
        "<span class='cl'>a\n</span></span><span class='line'><span class='ln'>2</span><span class='cl'>  b\n</span></span></code></pre>",
        "```go\na\n  b\n```",
    ),
    "line numbers told by a style": (
        "<pre><code><span><span style='user-select:none'> 1</span><span>a\n</span></span>"
        "<span><span style='user-select:none'> 2</span><span>  b\n</span></span></code></pre>",
        "```\na\n  b\n```",
    ),
    "a theme, not an editor": ("<div class=cm-content>text</div><pre>a</pre>", "text\n\n```\na\n```"),
    "breaks": ("<pre>a<br>  b</pre>", "```\na\n  b\n```"),
    "an element for each line": ("<pre><code><div>a</div><div>  b</div></code></pre>", "```\na\n  b\n```"),
    "lines without line feeds": ("<pre><span class=line>a</span><span class=line>  b</span></pre>", "```\na\n  b\n```"),
    "copy button": ("<div class='highlight'><pre>a<button>Copy</button></pre></div>", "```\na\n```"),
    "fence in code": ("<pre>```\nx\n```</pre>", "````\n```\nx\n```\n````"),
    "notebook": (
        "<div class='jp-InputArea'><div class='highlight hl-ipython3'><pre>x = 1</pre></div></div>",
        "```python\nx = 1\n```",
    ),
    "GitHub": ("<div class='highlight highlight-source-shell'><pre>ls</pre></div>", "```bash\nls\n```"),
}


@pytest.mark.parametrize("name", CODE)
def test_a_block_of_code_keeps_its_text_and_language(name: str) -> None:
    html, expected = CODE[name]
    assert markdown(html) == expected


KATEX = (
    "<span class='katex'><span class='katex-mathml'><math><semantics><mrow><mi>x</mi></mrow><annotation encoding='application/x-tex'>"
    "x^2</annotation></semantics></math></span><span class='katex-html' aria-hidden='true'>x2</span></span>"
)
MATHS = {
    "KaTeX": (f"<p>a {KATEX} b</p>", "a $x^2$ b"),
    "KaTeX on its own line": (f"<p>a</p><span class='katex-display'>{KATEX}</span>", "a\n\n$$\nx^2\n$$"),
    "MathML": ("<p>a <math><mfrac><mi>α</mi><mn>2</mn></mfrac></math></p>", "a $\\frac{\\alpha }{2}$"),
    "alternative text": ("<p>a <math alttext='\\beta'><mi>b</mi></math></p>", "a $\\beta$"),
    "script of MathJax": (
        "<p>a <span class='MathJax_Preview'>?</span><span class='MathJax'>x</span><script type='math/tex'>y_1</script> b</p>",
        "a $y_1$ b",
    ),
    "display script": ("<script type='math/tex; mode=display'>y\n=1</script>", "$$\ny =1\n$$"),
    "delimited": (
        "<div class='math notranslate'>\\[a_b *c*\\]</div><p><span class='math'>\\(d\\)</span></p>",
        "$$\na_b *c*\n$$\n\n$d$",
    ),
    "a picture whose text is TeX": (
        "<p>a <img src=/e.svg alt='\\exp(x) - \\log(y)'> <img src=/f.png alt='From C:\\Windows'></p>",
        "a $\\exp(x) - \\log(y)$ ![From C:\\Windows](https://site.org/f.png)",
    ),
    "raw in text": ("<p>a $x_1 * y_2$ and \\(z\\) for $5 and $6</p>", "a $x_1 * y_2$ and $z$ for $5 and $6"),
    "LaTeXML": (
        "<table class='ltx_equation ltx_eqn_table'><tr><td><math alttext='\\displaystyle a=b' display=block></math></td><td>(1)</td></tr></table>",
        "$$\na=b\n$$",
    ),
    "Wikipedia": (
        "<p>a <span class='mwe-math-element'><span class='mwe-math-mathml-inline' style='display: none;'><math><semantics><mi>x</mi>"
        "<annotation encoding='application/x-tex'>{\\displaystyle x}</annotation></semantics></math></span><img alt='{\\displaystyle x}' "
        "class='mwe-math-fallback-image-inline'></span></p>",
        "a $x$",
    ),
}


@pytest.mark.parametrize("name", MATHS)
def test_mathematics_becomes_tex(name: str) -> None:
    html, expected = MATHS[name]
    assert markdown(html) == expected


NOTES = {
    "Markdown's": (
        "<p>a<sup id='fnref:1'><a class='footnote-ref' href='#fn:1'>1</a></sup></p><div class='footnote'><hr><ol><li id='fn:1'><p>Note."
        "&#160;<a class='footnote-backref' href='#fnref:1'>&#8617;</a></p></li></ol></div>",
        "a[^1]\n\n[^1]: Note.",
    ),
    "Sphinx, named": (
        "<p>a<a class='footnote-reference brackets' href='#named' id='id1' role='doc-noteref'><span class='fn-bracket'>[</span>1<span "
        "class='fn-bracket'>]</span></a></p><aside class='footnote brackets' id='named' role='doc-footnote'><span class='label'><span "
        "class='fn-bracket'>[</span><a role='doc-backlink' href='#id1'>1</a><span class='fn-bracket'>]</span></span><p>Note.</p></aside>",
        "a[^named]\n\n[^named]: Note.",
    ),
    "docutils, old": (
        "<p>a<a class='footnote-reference' href='#fn-x' id='id1'>[2]</a></p><dl class='footnote'><dt class='label' id='fn-x'>"
        "<span class='brackets'><a class='fn-backref' href='#id1'>2</a></span></dt><dd><p>Note.</p></dd></dl>",
        "a[^x]\n\n[^x]: Note.",
    ),
    "GitHub's": (
        "<p>a<sup><a href='#user-content-fn-n' data-footnote-ref>1</a></sup></p><section data-footnotes class='footnotes'><ol><li "
        "id='user-content-fn-n'><p>Note. <a href='#user-content-fnref-n' class='data-footnote-backref'>↩</a></p></li></ol></section>",
        "a[^n]\n\n[^n]: Note.",
    ),
}


@pytest.mark.parametrize("name", NOTES)
def test_a_footnote_is_marked_and_written_below(name: str) -> None:
    html, expected = NOTES[name]
    assert markdown(html) == expected


def test_links_are_made_whole_by_the_base_of_the_page() -> None:
    html = "<p><a href='b.html'>b</a> <a href='#c'>c</a> <a href='//x.org/a b'>d</a></p>"
    assert markdown(html, "<base href='/v2/'>") == "[b](https://site.org/v2/b.html) c [d](https://x.org/a%20b)"


@pytest.mark.parametrize(
    "address",
    ["javascript:alert(1)", " JavaScript :x", "data:text/html,x", "vbscript:x", "java\nscript:x", "file:///etc/passwd"],
)
def test_a_dangerous_link_is_its_text(address: str) -> None:
    assert markdown(f"<p><a href='{address}'>text</a> <img src='{address}' alt='x'></p>") == "text"
