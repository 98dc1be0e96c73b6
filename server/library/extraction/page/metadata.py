"""Title, author, date and licence of a page, from the many dialects of metadata and from its text."""

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from html import unescape
from typing import Any, NamedTuple, cast

from server.library.extraction.html.tree import Element, text_of, words
from server.library.extraction.text.charset import visible

_TITLES = (
    "citation_title",
    "og:title",
    "dc.title",
    "dcterms.title",
    "twitter:title",
    "title",
    "parsely-title",
    "sailthru.title",
)
_AUTHORS = (
    "citation_author",
    "author",
    "article:author",
    "dc.creator",
    "dcterms.creator",
    "parsely-author",
    "sailthru.author",
    "byl",
)
_DATES = (
    *("article:published_time", "citation_publication_date", "citation_date", "citation_online_date", "datepublished"),
    *(
        "dc.date",
        "dcterms.date",
        "dc.date.issued",
        "dcterms.created",
        "og:published_time",
        "date",
        "pubdate",
        "publishdate",
    ),
    *("parsely-pub-date", "sailthru.date", "publication_date", "article.published", "last-modified", "revised"),
)
_LICENCES = (
    "dc.rights",
    "dcterms.rights",
    "dcterms.license",
    "dc.rights.license",
    "license",
    "licence",
    "rights",
    "copyright",
)
_DATE = re.compile(r"\b(\d{4})[-/.](\d{1,2})(?:[-/.](\d{1,2}))?")
_MONTHS: tuple[str, ...] = (*"jan feb mar apr may jun jul aug sep oct nov dec".split(),)
_WORDED = re.compile(
    r"\b(?:(\d{1,2})(?:st|nd|rd|th)?\s+)?([A-Za-z]{3})[a-z]*\.?\s+(?:(\d{1,2})(?:st|nd|rd|th)?,?\s+)?(\d{4})\b"
)
_KNOWN_LICENCES = (
    (re.compile(r"creativecommons\.org/licenses/([a-z-]+)/(\d\.\d)", re.I), "CC {0} {1}"),
    (re.compile(r"creativecommons\.org/publicdomain/zero/(\d\.\d)", re.I), "CC0 {0}"),
    (re.compile(r"arxiv\.org/licenses/nonexclusive-distrib/(\d\.\d)", re.I), "arXiv non-exclusive {0}"),
)
_MOST_LD = 2_000_000  # characters
_MOST_PARTS = 2000
_LONG = 300
_ABOUT = re.compile(r"Article|Posting|WebPage|Report|Chapter|Book|Dataset|SoftwareSource|Creative|Review")
_BELOW = ("@graph", "mainEntity", "mainEntityOfPage", "hasPart")
_DIVIDERS = re.compile(r"\s+(?:[|•·»:–—-]|::|\\|/)\s+")
_NO_NAME = re.compile(r"^(?:https?:|www\.|@)|^(?:admin|administrator|author|unknown|none|staff)$", re.I)


class Metadata(NamedTuple):
    title: str = ""
    author: str = ""
    published: str = ""  # ISO date
    licence: str = ""


def read_metadata(root: Element) -> Metadata:
    """What the page says of itself; empty where it says nothing. Called before the page is cleaned."""
    named = _meta(root)
    told = list(_linked_data(root))
    return Metadata(
        _title(root, named, told),
        _author(root, named, told),
        _published(root, named, told),
        _licence(root, named, told),
    )


def _meta(root: Element) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in root.iter("meta"):
        name = (one.get("name") or one.get("property") or one.get("itemprop") or "").strip().lower()
        content = _line(one.get("content") or "")
        if name and content:
            found.setdefault(name, []).append(content)
    return found


def article_body(root: Element) -> str:
    """The text of an article as its linked data give it; empty where they give none."""
    given = (one.get("articleBody") for one in _linked_data(root))
    text = max((one for one in given if isinstance(one, str)), key=len, default="")
    return re.sub(r"<[^<>]{1,500}>", " ", unescape(text))


def _linked_data(root: Element) -> Iterator[dict[str, Any]]:
    """Every object of JSON-LD that is about a text."""
    for one in root.xpath('.//script[@type="application/ld+json"]'):
        text = (one.text or "")[:_MOST_LD]
        try:
            ahead = deque[Any](
                [json.loads(re.sub(r"^\s*(?://\s*)?<!\[CDATA\[|(?://\s*)?\]\]>\s*$", "", text), strict=False)]
            )
        except (ValueError, RecursionError):
            continue
        for part, _ in zip(_parts(ahead), range(_MOST_PARTS), strict=False):
            if any(_ABOUT.search(str(one)) for one in _list(part.get("@type"))):
                yield part


def _list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return cast("list[Any]", value)
    return [] if value is None else [value]


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _parts(ahead: deque[Any]) -> Iterator[dict[str, Any]]:
    while ahead:
        one = ahead.popleft()
        if isinstance(one, list):
            ahead += _list(one)
        elif part := _object(one):
            yield part
            ahead += [part[name] for name in _BELOW if isinstance(part.get(name), list | dict)]


def _title(root: Element, named: dict[str, list[str]], told: list[dict[str, Any]]) -> str:
    """The heading that the page's title contains; else what metadata say; else the page's title without the site."""
    whole = _line(root.findtext(".//title") or "")
    headings = [_line(text_of(one)).rstrip("¶# ") for one in root.iter("h1")]
    headings = [one for one in headings if one and len(one) < _LONG]
    flat = " ".join(words(whole))
    inside = [one for one in headings if " ".join(words(one)) in flat and words(one)]
    given = [named[name][0] for name in _TITLES if name in named]
    given += [_line(part["headline"]) for part in told if isinstance(part.get("headline"), str)]
    if "citation_title" in named:
        return given[0]
    if inside:
        return max(inside, key=len)
    if given:
        return _without_site(given[0], named)
    return _without_site(whole, named) if whole else next(iter(headings), "")


def _without_site(title: str, named: dict[str, list[str]]) -> str:
    parts = _DIVIDERS.split(title)
    site = " ".join(words(named.get("og:site_name", [""])[0]))
    if len(parts) > 1:
        if site and " ".join(words(parts[-1])) == site:
            return title[: title.rindex(parts[-1])].rstrip(" |•·»:–—-\\/")
        if len(parts[0]) >= len(title) // 2:
            return parts[0]
    return title


def _author(root: Element, named: dict[str, list[str]], told: list[dict[str, Any]]) -> str:
    given: list[str] = next((named[name] for name in _AUTHORS if name in named), list[str]())
    if not (found := _people(given)):
        found = _people(name for part in told for name in _names_of(part.get("author")))
    if not found:
        marked = root.xpath('.//*[@rel="author" or @itemprop="author"]|.//*[contains(@class,"ltx_personname")]')
        found = _people(_line(text_of(one)) for one in marked[:20])
    return ", ".join(found)[:_LONG]


def _people(given: Iterable[str]) -> list[str]:
    clean = (re.sub(r"^by\s+", "", _line(one), flags=re.I) for one in given)
    return list(dict.fromkeys(one for one in clean if one and len(one) < 120 and not _NO_NAME.search(one)))


def _names_of(value: Any) -> list[str]:
    names = [_object(one).get("name") if isinstance(one, dict) else one for one in _list(value)]
    return [_line(one) for one in names if isinstance(one, str)]


def _published(root: Element, named: dict[str, list[str]], told: list[dict[str, Any]]) -> str:
    given: list[Any] = [one for name in _DATES[:-2] for one in named.get(name, [])]
    given[:0] = [part["datePublished"] for part in told if isinstance(part.get("datePublished"), str)]
    given += [
        one.get("datetime") or one.get("content") for one in root.xpath('.//*[@itemprop="datePublished" or @pubdate]')
    ]
    given += [one.get("datetime") for one in root.xpath(".//time[@datetime]")[:1]]
    given += [text_of(one) for one in root.xpath('.//*[contains(@class,"ltx_date")]|.//div[@class="dateline"]')]
    given += [one for name in _DATES[-2:] for one in named.get(name, [])]
    return next((date for one in given if one and (date := iso_date(str(one)))), "")


def iso_date(text: str) -> str:
    """The date in a text as YYYY-MM-DD, or YYYY-MM where it has no day; empty where there is none."""
    if found := _DATE.search(text):
        year, month, day = int(found[1]), int(found[2]), int(found[3] or 0)
    elif (found := _WORDED.search(text)) and found[2].lower() in _MONTHS:
        year, month, day = int(found[4]), _MONTHS.index(found[2].lower()) + 1, int(found[1] or found[3] or 0)
    else:
        return ""
    if not (1900 <= year <= 2200 and 1 <= month <= 12 and day <= 31):
        return ""
    return f"{year:04}-{month:02}" + (f"-{day:02}" if day else "")


def _licence(root: Element, named: dict[str, list[str]], told: list[dict[str, Any]]) -> str:
    links = root.xpath('.//*[contains(concat(" ",@rel," ")," license ") or contains(concat(" ",@rel," ")," licence ")]')
    links += root.xpath('.//a[contains(@href,"creativecommons.org/") or contains(@href,"arxiv.org/licenses/")]')
    given = [one.get("href") or "" for one in links]
    given += [one for part in told for one in _names_of(part.get("license"))]
    given += [
        one
        for part in told
        if isinstance(part.get("license"), dict)
        for one in [part["license"].get("url") or ""]
        if one
    ]
    given += [one for name in _LICENCES for one in named.get(name, [])]
    for one in given:
        for pattern, name in _KNOWN_LICENCES:
            if found := pattern.search(one):
                return name.format(*(part.upper() for part in found.groups()))
    shown = [_line(text_of(one)) for one in links if one.get("rel")]
    return next((one for one in [*shown, *given] if one), "")[:_LONG]


def _line(text: str) -> str:
    return " ".join(visible(text).split())
