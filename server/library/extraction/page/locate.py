"""Where the text of a page is, on pages whose software is known by its marks."""

import re
from collections.abc import Sequence
from itertools import islice

from server.library.extraction.html.inline import plain
from server.library.extraction.html.tree import MATHS, Element, drop, has_class, names, text_of, with_class, words

# (what made the page, where its text is), the most certain first.
_KNOWN = (
    ("GitHub", '//*[contains(@class,"markdown-body") and contains(@class,"entry-content")]'),
    ("GitHub's discussions", '//*[contains(@class,"markdown-body") and contains(@class,"comment-body")]'),
    ("Discourse", '//div[contains(@class,"topic-body")]//div[contains(concat(" ",@class," ")," cooked ")]'),
    ("Discourse", '//div[contains(@class,"crawler-post")]//div[@class="post"]'),
    ("Reddit", '//div[contains(@class,"thing")]//div[contains(@class,"usertext-body")]/div[contains(@class,"md")]'),
    ("Reddit", '//shreddit-post//*[@slot="text-body"]|//shreddit-comment/*[@slot="comment"]'),
    ("phpBB", '//div[contains(@class,"postbody")]//div[@class="content"]'),
    ("XenForo", '//article[contains(@class,"message-body")]//div[@class="bbWrapper"]'),
    ("LaTeXML", '//article[contains(@class,"ltx_document")]'),
    ("LaTeXML", '//div[contains(concat(" ",@class," ")," ltx_document ")][not(@role)]'),
    ("LaTeXML", '//div[contains(concat(" ",@class," ")," ltx_page_content ")]'),
    ("MkDocs", '//article[contains(@class,"md-content__inner")]'),
    ("Sphinx", '//article[@id="furo-main-content"]'),
    ("Sphinx", '//article[contains(@class,"bd-article")]'),
    ("Sphinx", '//article[contains(@class,"pytorch-article")]'),
    (
        "Sphinx",
        '//div[@itemprop="articleBody"][ancestor::*[contains(@class,"rst-content") or contains(@class,"document")]]',
    ),
    ("Sphinx", '//div[contains(@class,"document") or contains(@class,"documentwrapper")]//div[@role="main"]'),
    ("Sphinx", '//div[contains(concat(" ",@class," ")," body ")][@role="main"]'),
    ("MkDocs", '//div[contains(@class,"col-md-9")][@role="main"]'),
    (
        "MkDocs",
        '//div[@role="main"][contains(@class,"section")][ancestor::*[contains(@class,"rst-content")]]',
    ),
    (
        "nbconvert",
        '//main[contains(@class,"jp-Notebook")]|//body[contains(@class,"jp-Notebook")]|//div[contains(@class,"jp-Notebook")]',
    ),
    ("nbconvert", '//div[@id="notebook-container"]'),
    ("MediaWiki", '//div[@id="mw-content-text"]//div[contains(@class,"mw-parser-output")]'),
    ("Docusaurus", '//div[contains(@class,"theme-doc-markdown")]'),
    ("Docusaurus", '//article[contains(@class,"theme-doc")]|//div[@id="__blog-post-container"]'),
    ("rustdoc", '//section[@id="main-content"]'),
    ("mdBook", '//div[@id="content"]/main|//div[@id="mdbook-content"]/main'),
    ("GitBook", '//main//div[contains(@class,"page-body") or contains(@class,"markdown-section")]'),
    ("Hugo", '//div[contains(concat(" ",@class," ")," td-content ")]'),
    ("Doxygen", '//div[@class="contents"][preceding-sibling::div[@class="header"]]'),
    ("Javadoc", '//main[@role="main"][.//section[contains(@class,"class-description")]]'),
    (
        "MDN",
        '//main[@id="content"]//article[contains(@class,"main-page-content")]|//main[@id="content"]//*[contains(@class,"reference-layout__body")]',
    ),
    ("Jekyll", '//*[contains(@class,"markdown-body")]'),
    ("Stack Exchange", '//div[contains(concat(" ",@class," ")," s-prose ")]'),
    ("Substack", '//div[contains(@class,"available-content")]//div[contains(concat(" ",@class," ")," body ")]'),
)
_MARK = re.compile(r'"( ?[\w-]{5,} ?)"')  # a class or an id in a path
_LEAST = 20  # words of a part that is one
THREADS = ("GitHub's discussions", "Discourse", "Reddit", "phpBB", "XenForo")  # a text answers the one before
_MOST_POSTS = {"Stack Exchange": 12, **dict.fromkeys(THREADS, 50)}  # pages of several texts
_WHO = (
    './/*[@itemprop="author" or @data-user-card or contains(concat(" ",@class," ")," author ") '
    'or contains(@class,"username")]'
)
_WHEN = ".//relative-time[@datetime]|.//time[@datetime]"
_LONG = 80  # characters of a name
_FAR = 8  # ancestors of a post that may name its author
# Parts of such pages that are no text: lists of pages, editors' links, footers of the software.
_AROUND = re.compile(
    r"\s(?:printfooter|navbox\S*|vertical-navbox|catlinks|md-source-file|md-content__button|prev-next-\S+|ltx_page_footer|ltx_page_header|"
    r"ltx_page_logo|ltx_dates|post-footer|toctree-wrapper|mw-empty-elt|toc|toctoggle|toc-\S+|ltx_TOC|reference-backlink|related|"
    r"sphinxsidebar|rst-footer-buttons|theme-doc-footer|theme-doc-breadcrumbs|theme-doc-toc\S*|pagination-nav|tocCollapsible\S*|"
    r"md-feedback|feedback|edit-this-page|article-footer|section-feedback|content-icon-container|bd-header-article|header-article\S*|"
    r"sidebar-drawer|back-to-top|mw-indicators|ambox|metadata|sistersitebox|portalbox|noprint|mw-authority-control|breadcrumbs?|"
    r"nav-chapters|nav-wrapper|rustdoc-breadcrumbs|out-of-band|src-link|package-report-error|arXivbar|html-header-\S*|pytorch-call-to-action-links)\s",
    re.I,
)


def known_parts(root: Element) -> tuple[str, list[Element]]:
    """What made the page, and its parts with text, in order; nothing if it is unknown."""
    given = set(root.xpath(".//@class|.//@id|.//@itemprop"))
    marks = " ".join(given)
    for made_by, path in _KNOWN:
        if not any(mark.strip() in marks for mark in _MARK.findall(path)):
            continue
        found = [one for one in root.xpath(path) if made_by in _MOST_POSTS or _has_text(one)]
        if found:
            inner = set(found)
            outer = [one for one in found if inner.isdisjoint(one.iterancestors())]
            if made_by in _MOST_POSTS:
                return made_by, outer[: _MOST_POSTS[made_by]]
            return made_by, [max(outer, key=lambda one: len(text_of(one)))]
    return "", []


def byline(part: Element, others: Sequence[Element]) -> str:
    """Who wrote a post of a page with several, and when, as Markdown; empty where neither is told beside it."""
    for above in islice(part.iterancestors(), _FAR):
        if any(other is not part and above in other.iterancestors() for other in others):
            break
        names_there, dates = (
            [one for one in above.xpath(path) if part not in one.iterancestors()] for path in (_WHO, _WHEN)
        )
        who = next((shown for one in names_there if (shown := " ".join(text_of(one).split()))), "")
        if who:
            when = next((one.get("datetime")[:10] for one in dates), "")
            return f"**{plain(who[:_LONG])}**" + (f" · {when}" if when else "")
    return ""


def _has_text(part: Element) -> bool:
    return len(words(text_of(part))) > _LEAST or part.find(f".//{MATHS}") is not None


def trim(part: Element) -> None:
    """Remove what the software puts around the text."""
    for one in with_class(part, _AROUND):
        if one is not part and one.getparent() is not None and one.tag not in ("body", "main", "article", "section"):
            drop(one)
    for one in list(part.iter("nav", "footer")):
        if (
            one is not part
            and one.getparent() is not None
            and not has_class(one, "footnotes")
            and "footnote" not in names(one)
        ):
            drop(one)
