"""Footnotes: their texts taken out of the page, with the label by which the text names each."""

import re
from dataclasses import dataclass, field

from server.library.extraction.html.tree import Element, attached, drop, text_of, words

_PLACES = (
    './/*[contains(@class,"footnote") or contains(@class,"references") or contains(@class,"endnote") or '
    '@role="doc-endnotes" or @role="doc-footnote" or contains(@id,"footnotes")]//li[@id]'
    '|.//li[@role="doc-endnote" or @role="doc-footnote"]'
    '|.//li[starts-with(@id,"fn") or starts-with(@id,"cite_note") or starts-with(@id,"user-content-fn")]'
    '|.//li[starts-with(@id,"footnote")]'
    '|.//aside[contains(@class,"footnote") or @role="doc-footnote"][@id]'
    '|.//div[contains(concat(" ",@class," ")," footnote-definition ") or contains(@class,"footdef")]'
    '|.//div[@role="doc-footnote"][@id]'
    '|.//dl[contains(@class,"footnote") or contains(@class,"citation")]/dt[@id]'
    '|.//table[contains(@class,"footnote") or contains(@class,"citation")][@id]'
    '|.//*[contains(@class,"citation")][@id][self::div or self::aside]'
    '|.//p[starts-with(@id,"fn") or starts-with(@id,"footnote") or starts-with(@id,"_ftn")]'
)
_BACK = (
    './/a[starts-with(@href,"#fnref") or contains(@class,"backref") or contains(@href,"cite_ref")'
    ' or @role="doc-backlink" or contains(@class,"footnote-back") or contains(@class,"footnote-return")'
    ' or starts-with(@href,"#footnote-ref")]'
    '|.//span[@class="label" or @class="backrefs" or @class="fn-bracket" or contains(@class,"mw-cite-backlink")]'
    '|.//td[@class="label"]|.//sup[contains(@class,"footnote-definition-label")]'
)
_PREFIX = re.compile(
    r"^(?:user-content-)?(?:fn|cite[_-]note|footnotes?|_?ftnt?|note|id|endnote)(?:[:_.-]+|(?=\d|$))", re.I
)
_SIGN = re.compile(r"^[\s\[({]*(\d{1,3}|[*†‡§])[\s\])}.:]*$")
_ARROWS = re.compile(r"[\s\u21a9\u2191^\ufe0e↑]+$")
_LONG = 24


@dataclass
class Notes:
    """The footnotes of one part of a page."""

    labels: dict[str, str] = field(default_factory=dict[str, str])  # by the id of a note
    given: set[str] = field(default_factory=set[str])  # labels
    texts: list[tuple[str, Element]] = field(default_factory=list[tuple[str, Element]])  # label, what it says


def take_notes(part: Element) -> Notes:
    """Find the footnotes in a part, and take them out of it: only those that its text refers to."""
    notes = Notes()
    wanted = {one.get("href")[1:]: one for one in part.iter("a") if (one.get("href") or "").startswith("#")}
    taken: set[Element] = set()
    for one in part.xpath(_PLACES):
        name = str(one.get("id") or next((each for each in one.xpath(".//*[@id]/@id") if each in wanted), ""))
        if name not in wanted or name in notes.labels or not taken.isdisjoint((one, *one.iterancestors())):
            continue
        body = one if one.tag != "dt" else one.getnext()
        if body is None or body in taken or not words(text_of(body)):
            continue
        taken.add(body)
        notes.labels[name] = _label(name, wanted[name], notes)
        notes.given.add(notes.labels[name])
        notes.texts.append((notes.labels[name], body))
        if one.tag == "dt":
            drop(one)
    for _, body in notes.texts:
        _take(body, part)
    return notes


def is_note(name: str) -> bool:
    """Whether an id is named like that of a footnote."""
    return bool(_PREFIX.match(name))


def _label(name: str, link: Element, notes: Notes) -> str:
    """What the page calls the note, or else its number. One that has a name keeps it."""
    shown = text_of(link).strip().strip("[]()^ ")
    plain = re.sub(r"[^\w-]", "-", _PREFIX.sub("", name)).strip("-")
    label = plain if plain and len(plain) < _LONG else ""
    if _SIGN.match(shown) and (not label or label.isdigit() or re.fullmatch(r"\d+", shown) is None):
        label = label if label and not label.isdigit() else shown
    label = label or str(len(notes.labels) + 1)
    return label if label not in notes.given else f"{label}-{len(notes.labels) + 1}"


def _take(body: Element, part: Element) -> None:
    for one in body.xpath(_BACK):
        drop(one)
    above = body.getparent()
    drop(body)
    while above is not None and above is not part and _is_bare(above):
        if above.getparent() is None or not attached(above, part):
            break
        above, gone = above.getparent(), above
        drop(gone)


def _is_bare(element: Element) -> bool:
    """Whether nothing of it is text, code or an image; its first words tell."""
    return not any(words(text) for text in element.itertext()) and element.find(".//img") is None


def without_arrow(text: str) -> str:
    """A note's text without the sign that leads back."""
    return _ARROWS.sub("", text)
