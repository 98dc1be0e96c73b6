"""Mathematics of a page as TeX: from annotations, KaTeX, MathJax, LaTeXML and images; MathML alone is translated."""

import re

from server.library.extraction.html.cleaning import is_hidden
from server.library.extraction.html.mathjax import drawn
from server.library.extraction.html.mathml import to_tex
from server.library.extraction.html.tree import MATHS, Element, drop, has_class, names, swap, text_of

_WRAPPERS = (
    "katex",
    "katex-display",
    "mwe-math-element",
    "MathJax",
    "MathJax_Display",
    "MathJax_SVG",
    "MathJax_Preview",
)
_DISPLAY = (
    "katex-display",
    "MathJax_Display",
    "MathJax_SVG_Display",
    "ltx_equation",
    "ltx_equationgroup",
    "ltx_DisplayMath",
)
_ROUND = 7  # ancestors that may belong to one formula
_STYLE = re.compile(r"\{\\(?:displaystyle|textstyle)\s*(.*)\}", re.S)
_DELIMITERS = (("\\(", "\\)"), ("\\[", "\\]"), ("$$", "$$"), ("$", "$"))
_DELIMITED = re.compile(r"\s*(?:\\\(|\\\[|\$)")
_MARKED = re.compile(
    r"\s(?:math|arithmatex|math-inline|math-display|math-tex|tex2jax_process|math-block|katex-block|katex-inline)\s"
)
_IMAGES = './/img[contains(@class,"math") or contains(@class,"latex") or contains(@class,"tex")][@alt]'
_DATA = ("data-math", "data-tex", "data-latex", "data-expr", "data-katex", "data-formula")
_CERTAIN = re.compile(
    r"\\[A-Za-z]{2,}[\s{\\_^(].*(?:\\[A-Za-z]{2,}|[_^{])", re.S
)  # in a text that may be about anything
_COMMAND = re.compile(r"\\[A-Za-z]+|[_^{}=]")


def take_maths(root: Element) -> None:
    """Replace every formula by an `x-math`."""
    _latexml_equations(root)
    _mathjax_scripts(root)
    _from_attributes(root)
    for one in root.xpath('.//*[local-name()="math"]'):
        if one.getparent() is not None:
            _mathml(one)
    for one in root.xpath('.//*[contains(concat(" ",@class," ")," katex ")]'):  # without MathML
        if one.getparent() is not None and one.find(f".//{MATHS}") is None and (found := _annotation(one)):
            _put(one, found, has_class(one.getparent(), *_DISPLAY))
    marked = set(root.xpath(_IMAGES))
    for one in root.xpath(".//img[@alt]"):
        pattern = _COMMAND if one in marked else _CERTAIN
        if pattern.search(one.get("alt")) or (one in marked and "mwe-math" in names(one)):
            _put(one, one.get("alt"), _is_display(one))
    _delimited(root)
    _drawn(root)


def clean_tex(text: str) -> str:
    """Without the delimiters and the style around it, on one line."""
    text = text.strip()
    if found := _STYLE.fullmatch(text):
        text = found[1]
    for start, end in _DELIMITERS:
        if text.startswith(start) and text.endswith(end) and len(text) >= len(start) + len(end):
            text = text[len(start) : -len(end)]
            break
    return re.sub(r"\s+", " ", re.sub(r"(?<!\\)%\s*\n\s*", "", text)).strip()


def _drawn(root: Element) -> None:
    """What MathJax has drawn, and left nothing else of."""
    for one in list(root.iter("mjx-container", "mjx-assistive-mml")):
        if one.getparent() is None:
            continue
        for hidden in [each for each in one.iter() if is_hidden(each)]:  # drawn is what is seen
            drop(hidden)
        if one.getparent() is not None and (tex := clean_tex(to_tex(drawn(one)))):
            _put(one, tex, _is_display(one))
        else:
            drop(one)


def _put(element: Element, tex: str, display: bool) -> None:
    tex = clean_tex(tex)
    if tex:
        swap(element, MATHS, tex, display="1" if display else "")


def _latexml_equations(root: Element) -> None:
    """An equation is a table there, a group of them a table of rows; its number is not part of it."""
    for one in root.xpath('.//table[contains(@class,"ltx_equation") or contains(@class,"ltx_eqn_table")]'):
        if one.getparent() is None:
            continue
        rows = list(one.iter("tr")) or [one]
        lines: list[str] = []
        for row in rows:
            parts = [clean_tex(part.get("alttext") or "") for part in row.iter("math")]
            if line := " ".join(re.sub(r"^\\displaystyle\s*", "", part) for part in parts if part):
                lines.append(line)
        if lines:
            new = swap(one, MATHS, lines[0], display="1")
            for line in reversed(lines[1:]):
                more = new.makeelement(MATHS, {"display": "1"})
                more.text = line
                new.addnext(more)
                more.tail, new.tail = new.tail, None


def _mathjax_scripts(root: Element) -> None:
    for one in root.xpath('.//script[starts-with(@type,"math/")]'):
        before = one.getprevious()
        while (
            before is not None
            and not (before.tail or "").strip()
            and re.search("MathJax|mjx", names(before) + str(before.tag))
        ):
            before, gone = before.getprevious(), before
            drop(gone)
        if one.get("type").startswith("math/mml"):
            drop(one)
            continue
        display = "mode=display" in one.get("type")
        above = one.getparent()
        _put(one, one.text or "", display)
        if above.tag in ("span", "div") and has_class(above, "MathJax_Display"):
            above.attrib.pop("style", None)


def _from_attributes(root: Element) -> None:
    for one in root.xpath(".//*[" + " or ".join(f"@{name}" for name in _DATA) + "]"):
        if one.getparent() is None or one.tag == "math" or not any(above is root for above in one.iterancestors()):
            continue
        tex = next(one.get(name) for name in _DATA if one.get(name) is not None)
        _put(one, tex, _is_display(one) or has_class(one, "math-block", "katex-block") or one.tag == "div")


def _annotation(element: Element) -> str:
    for one in element.iter():
        if isinstance(one.tag, str) and one.tag.rpartition("}")[2] == "annotation":
            if "tex" in (one.get("encoding") or "").lower() and (one.text or "").strip():
                return one.text
    return ""


def _mathml(element: Element) -> None:
    tex = _annotation(element) or element.get("alttext") or to_tex(element)
    display, top = _is_display(element), element
    for depth, above in enumerate(element.iterancestors()):
        if depth >= _ROUND:
            break
        if has_class(above, *_WRAPPERS) or above.tag == "mjx-container":
            top = above
    if has_class(top, "mwe-math-element"):
        display = "block" in names(top) or element.get("display") == "block"
    if clean_tex(tex):
        _put(top, tex, display)
    else:
        drop(top)


def _is_display(element: Element) -> bool:
    if element.get("display") == "block":
        return True
    for depth, one in enumerate((element, *element.iterancestors())):
        if depth >= _ROUND:
            break
        if has_class(one, *_DISPLAY) or (one.tag == "mjx-container" and one.get("display") == "true"):
            return True
    return False


def _delimited(root: Element) -> None:
    r"""Formulas that scripts of the page would have found: \(...\) in an element that is marked."""
    found = [one for one in root.xpath(".//*[@class]") if _MARKED.search(f" {one.get('class')} ")]
    for one in [*found, *root.iter("math-renderer")]:
        if one.getparent() is None or one.find(f".//{MATHS}") is not None or one.find(".//pre") is not None:
            continue
        text = text_of(one).strip()
        if _DELIMITED.match(text) and clean_tex(text) != text:
            lines = one.tag == "div" or has_class(one, "math-display", "display")
            swap(one, MATHS, clean_tex(text), display="1" if text[:2] in ("\\[", "$$") or lines else "")
        elif has_class(one, "math") and has_class(one, "inline", "display"):  # pandoc's
            swap(one, MATHS, clean_tex(text), display="1" if has_class(one, "display") else "")
