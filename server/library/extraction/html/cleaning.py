"""What no reader of a page sees or wants goes: scripts, hidden text, buttons, signs beside headings."""

import re

from server.library.extraction.html.tree import Element, drop, has_class, text_of, words

_NEVER = (
    "script style template iframe object embed canvas svg form button input select textarea dialog clipboard-copy "
    "frame frameset applet audio video map head title link meta datalist option noframes progress meter"
).split()
_MOST_BESIDE = 100  # elements of a sentence with buttons in it
_SMALL_FORM = 60  # words; a longer form is a page in one (ASP.NET wraps all of it)
_ZERO = r"0+(?:\.0+)?\s*(?:px|r?em|pt|%|ex|ch|vw|vh)?\s*(?:!\s*important\s*)?(?:;|$)"
_HIDING = re.compile(
    r"(?:^|;)\s*(?:"
    r"display\s*:\s*none"
    r"|visibility\s*:\s*(?:hidden|collapse)"
    r"|content-visibility\s*:\s*hidden"
    rf"|(?:font-size|opacity|zoom)\s*:\s*{_ZERO}"
    r"|font-size\s*:\s*(?:0?\.\d+|1)px"
    r"|opacity\s*:\s*0?\.0\d*\s*(?:;|$)"
    r"|(?:left|top|right|bottom|text-indent)\s*:\s*-\d{3,}(?:\.\d+)?\s*(?:px|r?em|pt|vw|vh|%)"
    r"|margin(?:-left|-top|-right)?\s*:\s*-\d{4,}(?:\.\d+)?\s*(?:px|r?em|pt)"
    r"|transform\s*:[^;]*(?:scale[xy]?\(\s*0\s*[,)]|translate[xy]?\(\s*-\d{3,})"
    r"|clip\s*:\s*rect\(\s*(?:0|1px)[\s,]"
    r"|clip-path\s*:\s*(?:inset\(\s*(?:50|100)%|circle\(\s*0|polygon\(\s*0[^,]*\))"
    r"|color\s*:\s*(?:transparent|rgba\([^)]*,\s*0(?:\.0+)?\s*\))"
    r"|(?:max-)?(?:height|width)\s*:\s*[01](?:px)?\s*;(?:[^;]*;)*\s*overflow(?:-[xy])?\s*:\s*hidden"
    r"|overflow\s*:\s*hidden\s*;(?:[^;]*;)*\s*(?:max-)?(?:height|width)\s*:\s*[01](?:px)?\s*(?:;|$)"
    r")",
    re.I,
)
_COLOURS = re.compile(  # not var(...): two variables are no two equal colours
    r"(?:^|;)\s*(color|background(?:-color)?)\s*:\s*(#\w{3,8}|rgba?\([^)]*\)|[a-z]+\b(?!\())", re.I
)
_NO_COLOURS = {"inherit", "initial", "unset", "revert", "currentcolor"}
_UNSEEN_CLASS = re.compile(
    r"\s(?:sr-only|visually-?hidden|screen-reader(?:-text|-only)?|screenreader\S*|visuallyhidden|element-invisible|a11y-hidden|"
    r"assistive-text|skip-link|skip-to-content|d-none(?!.*\sd-\w+-(?:block|flex|inline|table|grid))|u-hidden|is-hidden|mw-jump-link|noprint|mw-editsection|"
    r"ltx_role_display|ltx_page_navbar|jp-InputPrompt|jp-OutputPrompt|prompt|anchorjs-link)\s",
    re.I,
)
_SIGN_CLASS = re.compile(
    r"\s(?:headerlink|anchor-link|header-anchor|heading-anchor|hash-link|heading-link|anchor|anchor-heading|headline-anchor"
    r"|heading-permalink|permalink|toc-anchor|self-link|viewcode-link|viewcode-back|sd-hide-link-text|octicon-link"
    r"|copybtn|copy-button|btn-copy|copy-btn|clipboard-copy|zeroclipboard-container)\s",
    re.I,
)
_FEW = 3  # words of a sign
_MORE_THAN_DECORATION = 25  # words with aria-hidden: a page that hides so much from screen readers shows it
_DANGEROUS = re.compile(r"^[\s\x00-\x20]*(?:javascript|data|vbscript|file|blob|about|chrome)[\s\x00-\x20]*:", re.I)


def clean(root: Element) -> None:
    """Remove it. Mathematics and code are taken out before, as both use what is removed here."""
    for one in root.iter("noscript"):
        if one.find(".//img") is None:
            one.text = None
            for child in list(one):
                one.remove(child)
    for one in list(root.iter(*_NEVER)):
        if one.getparent() is not None and not _stays(one):
            drop(one)
    drop_hidden(root)
    for one in root.xpath(".//*[@class]"):
        named = f" {one.get('class')} "
        if _UNSEEN_CLASS.search(named) or (_SIGN_CLASS.search(named) and _is_sign(one)):
            drop(one)


def _stays(one: Element) -> bool:
    """Whether something that is removed elsewhere is part of the text; the box of a task becomes `x-task`."""
    if one.tag == "form":
        return len(words(text_of(one))) >= _SMALL_FORM
    if one.tag == "button":
        return _in_text(one)
    if one.tag == "input" and one.get("type") == "checkbox" and _is_task(one):
        one.tag, one.text = "x-task", "[x]" if one.get("checked") is not None else "[ ]"
        return True
    return False


def drop_hidden(root: Element) -> None:
    """Remove what is hidden by attributes or by its own style: nobody sees it, and a model would read it."""
    for one in root.xpath(".//*[@hidden or @aria-hidden or @style]"):
        if one.getparent() is None or one.tag in ("body", "html", "x-math", "x-code"):
            continue
        if is_hidden(one) or _is_decoration(one):
            drop(one)


def is_hidden(one: Element) -> bool:
    """Whether its own attributes or its own style hide an element from those who see the page."""
    if one.get("hidden") is not None and one.get("hidden") != "until-found":
        return True
    style = one.get("style") or ""
    if _HIDING.search(style) and "background-clip" not in style:
        return True
    colours = {name.lower(): "".join(value.lower().split()) for name, value in _COLOURS.findall(style)}
    if (
        len(colours) == 2 and len(set(colours.values()) - _NO_COLOURS) == 1 and len(set(colours.values())) == 1
    ):  # letters in the colour of their ground
        return True
    return False


def _is_decoration(one: Element) -> bool:
    decorative = (one.get("aria-hidden") or "").lower() == "true"
    return decorative and not has_class(one, "line") and len(words(text_of(one))) < _MORE_THAN_DECORATION


def _is_task(box: Element) -> bool:
    above = box.getparent()
    while above is not None and above.tag in ("p", "label", "span", "div"):
        above = above.getparent()
    return above is not None and above.tag == "li"


def _in_text(button: Element) -> bool:
    """A button within a sentence is a word of it."""
    above = button.getparent()
    if above.tag not in ("p", "li", "td") or len(above) > _MOST_BESIDE:
        return False
    return len(words(text_of(above))) > len(words(text_of(button))) + 3


def _is_sign(one: Element) -> bool:
    return (
        one.tag in ("a", "span", "button", "div", "svg")
        and len(words(text_of(one))) <= _FEW
        and one.find(".//img") is None
    )


def is_dangerous(address: str) -> bool:
    """Whether a link would run something, or carry its target in itself."""
    return bool(_DANGEROUS.match(address))
