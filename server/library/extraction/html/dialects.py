"""What pages write in ways of their own, put into the plain form: notes in margins, call-outs, lists of contents."""

import re
from collections.abc import Iterator

from server.library.extraction.html.tree import HEADINGS, Element, drop, has_class, text_of, words

_SIDE = './/*[contains(@class,"sidenote") or contains(@class,"marginnote") or contains(@class,"side-note")]'
_SIDES = ("sidenote", "marginnote", "side-note")
_SIDE_NUMBER = re.compile(r"^\W*\d{1,3}[.:)\]]?\s*")
_MARKS = './/span[contains(@class,"ltx_role_footnotemark")]//span[contains(@class,"ltx_note_outer")]'
_ALERT = re.compile(
    r"^(?:alert|callout|markdown-alert)-(?:block-)?(note|tip|important|warning|caution|info|danger|success)$"
)
_WORDS_NOTE = './/p[.//a[contains(@href,"#_ftnref")]]'  # of Word: without an id
_ALERT_TITLE = ("alert-heading", "alert-title", "callout-title", "markdown-alert-title")
CALL_OUT = "x-callout"  # class of the line that says of which kind a call-out is
_LEAST_ENTRIES = 3  # of a list of contents
_NUMBER = re.compile(r"^\s*(\d{1,3})\s*$")
_LOOSE = 60  # notes at most


def to_plain_form(root: Element) -> None:
    """Rewrite the tree. Called before what is hidden goes, as marks of side notes are."""
    for one in root.xpath(_MARKS):  # LaTeXML repeats the mark of a note there, with the word "footnotemark"
        drop(one)
    _side_notes(root)
    _loose_notes(root)
    _call_outs(root)
    _contents(root)


def _side_notes(root: Element) -> None:
    """A note in the margin becomes a footnote; one that stands below as well goes."""
    found = [one for one in root.xpath(_SIDE) if has_class(one, *_SIDES) and one.getparent() is not None]
    if not found:
        return
    whole = f" {' '.join(words(text_of(root)))} "
    for one in found[:_LOOSE]:
        text = " ".join(words(_SIDE_NUMBER.sub("", text_of(one))))
        if text and whole.count(f" {text} ") > 1:
            _link_mark(one)
            drop(one)


def _link_mark(note: Element) -> None:
    """The box that shows a side note on small screens is no part of the text; its label is the mark of the note."""
    box = note.getprevious()
    if box is None or box.tag != "input" or not box.get("id"):
        return
    label = box.getprevious()
    name = box.attrib.pop("id")
    if label is not None and label.tag == "label" and label.get("for") == name and words(text_of(label)):
        link = label.makeelement("a", {"href": f"#{name}"})
        link.text, link.tail = text_of(label), label.tail
        label.getparent().replace(label, link)


def _loose_notes(root: Element) -> None:
    """Paragraphs behind a rule that begin with the raised numbers of the text, in their order, are its footnotes."""
    for one in root.xpath(_WORDS_NOTE):
        back = next(link for link in one.iter("a") if "#_ftnref" in (link.get("href") or ""))
        if (number := back.get("href").rpartition("#_ftnref")[2]).isdecimal() and not one.get("id"):
            one.set("id", f"_ftn{number}")
            drop(back)
    for rule in root.iter("hr"):
        notes = list(_numbered_after(rule))
        starts = {start for _, start, _ in notes}
        marks: dict[str, Element] = {}
        for one in root.iter("sup") if notes else ():
            if (found := _NUMBER.match(text_of(one))) and not len(one) and one not in starts:
                marks.setdefault(found[1], one)
        if notes and all(number in marks for number, _, _ in notes):
            for number, start, paragraph in notes:
                mark = marks[number]
                link = mark.makeelement("a", {"href": f"#fn-{number}"})
                link.text, mark.text = mark.text, None
                mark.append(link)
                paragraph.set("id", f"fn-{number}")
                drop(start)
            return


def _numbered_after(rule: Element) -> Iterator[tuple[str, Element, Element]]:
    """(number, element that shows it, paragraph), as long as the numbers go on from 1."""
    wanted = 1
    for one in rule.itersiblings():
        start = one[0] if one.tag == "p" and len(one) and not (one.text or "").strip() else None
        if start is None or start.tag not in ("sup", "strong", "b"):
            continue
        if not (found := _NUMBER.match(text_of(start).rstrip(" .:"))) or int(found[1]) != wanted or wanted > _LOOSE:
            return
        yield found[1], start, one
        wanted += 1


def _call_outs(root: Element) -> None:
    """Bootstrap's alerts, GitHub's and Obsidian's become quotations under their kind, as Markdown writes them."""
    for one in root.xpath('.//*[contains(@class,"alert") or contains(@class,"callout")]'):
        kind = next((found[1] for name in (one.get("class") or "").split() if (found := _ALERT.match(name))), "")
        kind = kind or (one.get("data-callout") or "").lower()
        if one.tag not in ("div", "aside", "section", "blockquote") or not re.fullmatch(r"[a-z]{2,20}", kind):
            continue
        heads = [each for each in one.iter() if has_class(each, *_ALERT_TITLE)]
        title = " ".join(text_of(heads[0]).split()) if heads else ""
        for head in heads[:1]:
            drop(head)
        if not words(text_of(one)):
            continue
        head = one.makeelement("p", {"class": CALL_OUT})
        head.text = f"[!{kind}] {title or kind.capitalize()}"
        head.tail, one.text = one.text, None
        one.insert(0, head)
        one.tag = "blockquote"


def _contents(root: Element) -> None:
    """Remove lists of links to the headings of the page itself, with the heading above them."""
    heads = {one.get("id") for tag in HEADINGS for one in root.iter(tag) if one.get("id")}
    heads |= {
        above.get("id")
        for tag in HEADINGS
        for one in root.iter(tag)
        if (above := one.getparent()) is not None and above.get("id") and above[0] is one
    }
    heads |= {one.get("id") or one.get("name") for tag in HEADINGS for head in root.iter(tag) for one in head.iter("a")}
    if len(heads) < _LEAST_ENTRIES:
        return
    for one in list(root.iter("ul", "ol")):
        if one.getparent() is not None and _is_contents(one, heads):
            before = one.getprevious()
            if before is not None and before.tag in HEADINGS and not (before.tail or "").strip():
                drop(before)
            drop(one)


def _is_contents(one: Element, heads: set[str | None]) -> bool:
    links = one.findall(".//a")
    if len(links) < _LEAST_ENTRIES or any(not _leads_to(link, heads) for link in links):
        return False
    linked = sum(len(words(text_of(link))) for link in links)
    return linked >= 0.9 * len(words(text_of(one)))


def _leads_to(link: Element, heads: set[str | None]) -> bool:
    target = link.get("href") or ""
    return target.startswith("#") and target[1:] in heads
