"""Blocks of code: their text with exact indentation, and their language, whatever highlighter made them."""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, cast

from server.library.extraction.html.tree import CODE, Element, drop, has_class, names, swap, text_of, words

_NUMBERS = re.compile(
    r"\s(?:lineno|linenos|linenodiv|lineno-\S+|ln|lnt|lnlinks|line-?numbers?|linenumber\S*|line-no|lineNumber\S*|hljs-ln-numbers?|"
    r"gutter|gutters|rouge-gutter|code-gutter|blob-num\S*|CodeMirror-gutter\S*|CodeMirror-linenumber|cm-gutters?|"
    r"react-syntax-highlighter-line-number|ltx_tag_listingline|copy-?btn|copybtn|copy-button|copy|btn-clipboard|code-copy\S*|toolbar-item)\s",
    re.I,
)
_TABLE = re.compile(
    r"highlighttable|lntable|rouge-table|linenos|hljs-ln|code|gutter|highlight|blob-wrapper|crayon", re.I
)
_WRAPPER = re.compile(
    r"highlight|code|prism|hljs|sourceCode|snippet|jp-|input|CodeMirror|cm-|listing|literal-block|shiki|expressive|pre",
    re.I,
)
_LANGUAGE = re.compile(
    r"\s(?:highlight-lang-|highlight-source-|highlight-text-|language-|lang-|ltx_lst_language_|sourceCode\s+|src\s+src-|src-|brush:\s*|"
    r"(?:code|prettyprint)\s+lang(?:uage)?[-:]|highlight-(?!lang|source|text))([A-Za-z][\w+#.-]*)"
)
_HIGHLIGHT = re.compile(r"\shighlight\s+([a-z][a-z0-9+#]*)\s", re.I)  # Hexo's
_NO_LANGUAGE = {"wrapper", "block", "text", "container", "table", "code", "box", "area", "none", "default", "plain"}
_ALIASES = {
    **dict.fromkeys(("ipython3", "python3", "py", "ipython", "py3", "python-traceback"), "python"),
    **dict.fromkeys(("sh", "shell", "zsh"), "bash"),
    **dict.fromkeys(
        ("default", "text", "none", "plaintext", "fallback", "notranslate", "txt", "plain", "nohighlight"), ""
    ),
    "js": "javascript",
    "ts": "typescript",
    "rs": "rust",
    "yml": "yaml",
    "c++": "cpp",
    "md": "markdown",
}
_ATTRIBUTES = ("data-lang", "data-language", "lang-name", "data-code-lang", "language", "syntax")
_FEW = 20  # elements beside a `code` that is all of its paragraph
_AROUND = 5  # ancestors of a block of code that may name its language
_PAGE = ("article", "main", "body", "section", "html")
_LINE = re.compile(
    r"\s(?:line|code-line|cm-line|CodeMirror-line|view-line|ec-line|token-line|hljs-ln-line|ltx_listingline|react-code-line\S*|blob-code\S*)\s"
)
_EDITORS = (
    './/*[contains(concat(" ",@class," ")," cm-content ") and .//*[contains(@class,"cm-line")] or '
    'contains(@class,"CodeMirror-code") or '
    'contains(concat(" ",@class," ")," view-lines ")]'
)


def take_code(root: Element) -> None:
    """Replace every block of code by an `x-code`."""
    for one in root.xpath(".//pre//button|.//pre//svg|.//pre//style|.//pre//script"):
        drop(one)
    _listings(root)
    for one in _placed(one for one in root.xpath(_EDITORS) if not _in_pre(one)):
        _put(one, _text(one), _language(one))
    for table in _placed(root.xpath(".//table")):
        _numbered_table(table)
    for pre in _placed(one for one in root.xpath(".//pre|.//listing|.//xmp") if not _in_pre(one)):
        _block(pre)
    for code in _placed(root.xpath(".//code")):
        if _is_block(code):
            _put(code, _text(code), _language(code))


def _placed(found: Iterable[Any]) -> Iterator[Any]:
    """Those that no earlier step has taken out."""
    return (one for one in found if one.getparent() is not None)


def _in_pre(one: Element) -> bool:
    return any(above.tag == "pre" for above in one.iterancestors())


def _listings(root: Element) -> None:
    """LaTeXML's: a line is an element there, and its number a part of it."""
    for one in root.xpath('.//*[contains(@class,"ltx_listing") or contains(@class,"ltx_lstlisting")]'):
        if one.getparent() is None or has_class(one, "ltx_listingline", "ltx_listing_data"):
            continue
        lines = one.xpath('.//*[contains(concat(" ",@class," ")," ltx_listingline ")]')
        if not lines or one.find(f".//{CODE}") is not None or any(above.tag == CODE for above in one.iterancestors()):
            continue
        for line in lines:
            _drop_numbers(line)
        text = "\n".join(text_of(line).replace("\n", " ") for line in lines)
        _put(one, text, _language(one))


def _numbered_table(table: Element) -> None:
    """A table of line numbers and code beside each other, as one block."""
    blocks = table.xpath(".//pre")
    named = " ".join(names(one) for one in (table, *table.iter("td", "div", "figure"), *_above(table, 2)))
    if not _TABLE.search(named):
        return
    if len(blocks) in (1, 2) and len(table.xpath(".//tr")) == 1:
        pre = blocks[-1]
        language = _language(pre) or _language(table)
        _put(table, _text(pre), language)
        return
    rows = [[one for one in row if one.tag in ("td", "th")] for row in table.iter("tr")]
    numbered = [
        row for row in rows if len(row) >= 2 and (_NUMBERS.search(names(row[0])) or row[0].get("data-line-number"))
    ]
    if rows and len(numbered) >= 0.8 * len(rows):
        language = _language(table)
        pre = next((one for one in table.iterancestors("pre")), table)
        _put(pre, "\n".join(_text(row[-1]) for row in rows if row), language)


def _block(pre: Element) -> None:
    if _is_prose(pre):
        pre.tag = "div"
        return
    language, text, top = _language(pre), _text(pre), pre
    size = len(words(text))
    while (above := top.getparent()) is not None and above.tag in ("div", "figure", "span", "pre", "p", "code"):
        if not _WRAPPER.search(names(above)) and above.tag in ("div", "figure", "p"):
            break
        if (
            sum(1 for _ in islice(cast("Iterator[Any]", above.iter("pre", CODE)), 2)) != 1
            or len(text_of(above)) > 2 * len(text) + 80
        ):
            break
        if above.find(".//figcaption") is not None or len(words(text_of(above))) > size + 4:
            break
        top = above
    _put(top, text, language)


def _is_prose(pre: Element) -> bool:
    """Some pages wrap whole articles in `pre`: with paragraphs or headings in it, it is no code."""
    return (
        len(pre.xpath(".//p|.//h1|.//h2|.//h3|.//ul|.//table[not(ancestor::code)]")) > 1 and pre.find(".//code") is None
    )


def _is_block(code: Element) -> bool:
    """Whether a `code` outside `pre` is shown as a block."""
    text = text_of(code)
    lines = text.strip("\n").count("\n") >= 1 and bool(re.search(r"\n[ \t]+\S", text))
    style = code.get("style") or ""
    display = has_class(code, "hljs", "block", "sourceCode", "code-block") or re.search(
        r"white-space\s*:\s*pre|display\s*:\s*block", style
    )
    above = code.getparent()
    alone = code.find(".//br") is not None and len(above) < _FEW and len(words(text_of(above))) == len(words(text))
    return bool((lines and display) or (alone and len(words(text)) > 3))


def _put(element: Element, text: str, language: str) -> None:
    text = "\n".join(line.rstrip() for line in text.replace("\xa0", " ").split("\n")).strip("\n")
    if text.strip():
        swap(element, CODE, text, lang=language)
    else:
        drop(element)


def _drop_numbers(element: Element) -> None:
    for one in element.xpath(".//*[@class or @data-line-number]"):
        if (
            one.getparent() is not None
            and _NUMBERS.search(f" {one.get('class') or ''} ")
            and not _LINE.search(f" {one.get('class') or ''} ")
        ):
            drop(one)
    for one in element.xpath('.//span[contains(@style,"user-select")]'):  # Chroma's, without classes
        if text_of(one).strip().isdigit() and re.search(r"user-select\s*:\s*none", one.get("style")):
            drop(one)


def _text(element: Element) -> str:
    """The code in an element. Where each line is an element and no line feed stands between them, one is put there."""
    _drop_numbers(element)
    for one in element.iter("br"):
        one.tail = "\n" + (one.tail or "")
    text = text_of(element)
    rows = [one for one in element.iter() if _is_line(one)]
    if len(rows) < 2:
        rows = _divs(element)
    if len(rows) > 1 and text.strip("\n").count("\n") < len(rows) - 1:
        every = set(rows)
        inner = [one for one in rows if every.isdisjoint(one.iterancestors())]
        return "\n".join(text_of(one).removesuffix("\n") for one in inner)
    return text


def _is_line(one: Element) -> bool:
    return one.tag in ("span", "div", "td", "code", "p") and bool(
        _LINE.search(f" {one.get('class') or ''} ") or one.get("data-line") is not None
    )


def _divs(element: Element) -> list[Element]:
    """Lines without a class: all children are blocks, or all are `code`."""
    inner = element
    while len(inner) == 1 and inner[0].tag in ("code", "span", "div") and not (inner.text or "").strip():
        inner = inner[0]
    children = [one for one in inner if isinstance(one.tag, str)]
    alike = {one.tag for one in children}
    return children if len(children) > 1 and len(alike) == 1 and alike <= {"div", "code", "p", "li"} else []


def _above(element: Element, most: int) -> list[Element]:
    found: list[Element] = []
    for one in element.iterancestors():
        if len(found) == most or one.tag in _PAGE:
            break
        found.append(one)
    return found


def _language(block: Element) -> str:
    for one in (block, *block.iter("code"), *_above(block, _AROUND)):
        for name in _ATTRIBUTES:
            if (told := (one.get(name) or "").strip().lower()) and re.fullmatch(r"[a-z][\w+#.-]{0,30}", told):
                return _ALIASES.get(told, told)
        given = f" {one.get('class') or ''} "
        for pattern in (_LANGUAGE, _HIGHLIGHT):
            if (found := pattern.search(given)) and found[1].lower() not in _NO_LANGUAGE:
                return _ALIASES.get(found[1].lower(), found[1].lower())
        if (
            has_class(one, "highlight-ipython3", "jp-InputArea", "input_area", "jp-CodeCell")
            or " hl-ipython3 " in given
        ):
            return "python"
    return ""
