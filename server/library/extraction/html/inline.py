"""What stands within a line, as Markdown: emphasis, code, links, images, footnote marks, mathematics."""

import re
from collections.abc import Callable, Mapping
from urllib.parse import quote, urljoin, urlsplit

from server.library.extraction.html.cleaning import is_dangerous
from server.library.extraction.html.maths import clean_tex
from server.library.extraction.html.tree import CODE, MATHS, Element, elements, has_class, text_of
from server.library.extraction.text.charset import visible

BREAK = "\x01"  # a line break, until blanks are collapsed
_BLANKS = re.compile(r"[ \t\r\n\f\v\xa0\u2000-\u200a\u202f\u205f\u3000]+")
_TEX = re.compile(
    r"(\\\(.{1,1000}?\\\)|\\\[.{1,2000}?\\\]|\$\$[^$]{1,2000}?\$\$"
    r"|(?<![\w$\\])\$(?![ $])[^$\n]{1,300}?(?<![ \\])\$(?![\w$]))"
)
_ESCAPED = re.compile(
    r"\\(?=[!-/:-@\[-`{-~])"  # a backslash that would escape
    r"|`"
    r"|\*(?=\S)|(?<=\S)\*"
    r"|(?<!\w)_(?=\w)|(?<=\w)_(?!\w)"
    r"|<(?=[A-Za-z/!?])"
    r"|\](?=[(\[:])"
    r"|\[(?=\^)"
)
_ALT = re.compile(r"[\[\]]|\s+")
_LAZY = ("data-src", "data-original", "data-lazy-src", "data-lazy", "data-hi-res-src", "data-image", "data-full-src")
_MOST_ALT = 500
_KEPT_IN_ADDRESSES = "/:?#[]@!$&'*+,;=%~-._|"
_SCHEMES = ("http", "https", "mailto", "ftp", "tel", "doi", "arxiv")
_SIGNS = {"strong": "**", "b": "**", "em": "*", "i": "*", "dfn": "*", "del": "~~", "s": "~~", "strike": "~~"}
_CODE = ("code", "kbd", "samp", "tt")
_NOTHING = ("rp", "source", "track", "style", "script", "wbr", "input")


def collapse(text: str) -> str:
    """Runs of blanks become one, or a line break where one is marked."""
    return _BLANKS.sub(" ", text)


def one_line(text: str) -> str:
    return collapse(text.replace(BREAK, " ")).strip()


class Inline:
    """Writes what stands within a line. `labels` are the footnotes of the part: by id."""

    def __init__(self, base: str, labels: Mapping[str, str]) -> None:
        self._base, self._labels = base, labels
        self._writers: dict[str, Callable[[Element], str]] = {
            MATHS: lambda one: maths(one),
            CODE: lambda one: code_span(one.text or ""),
            "br": lambda _: BREAK,
            "img": self.image,
            "a": self.link,
            "q": lambda one: f"\u201c{self.inside(one)}\u201d",
            "rt": lambda one: f"({self.inside(one)})" if self.inside(one).strip() else "",
            "sup": self._raised,
            "sub": self._raised,
            "x-task": lambda one: f"{one.text} ",
            **dict.fromkeys(_SIGNS, self._emphasis),
            **dict.fromkeys(_CODE, self._code),
            **dict.fromkeys(_NOTHING, lambda _: ""),
        }

    def inside(self, element: Element) -> str:
        """Text and children of an element; blanks collapsed, line breaks marked by BREAK."""
        parts = [plain(element.text)]
        for child in element:
            parts += [self.one(child), plain(child.tail)]
        return collapse("".join(parts))

    def one(self, element: Element) -> str:
        """One element, without the text after it."""
        if not isinstance(element.tag, str):
            return ""
        return self._writers.get(element.tag, self.inside)(element)

    def address(self, given: str) -> str:
        """The whole address of a link; empty for one that leads nowhere or is dangerous."""
        given = visible(given).strip().replace("\n", "").replace("\t", "")
        if not given or is_dangerous(given):
            return ""
        try:
            whole = urljoin(self._base, given)
            scheme = urlsplit(whole).scheme
        except ValueError:
            return ""
        if is_dangerous(whole) or (scheme and scheme not in _SCHEMES):
            return ""
        return quote(whole, safe=_KEPT_IN_ADDRESSES).replace("|", "%7C") if scheme or not self._base else ""

    def image(self, one: Element) -> str:
        """The image with its alternative text; a picture of a character is that character."""
        alt = _ALT.sub(" ", visible(one.get("alt") or "")).strip()[:_MOST_ALT]
        if has_class(one, "emoji", "wp-smiley", "smiley", "emojione"):
            return alt
        if (one.get("width") or "").rstrip("px") in ("0", "1") or (one.get("height") or "").rstrip("px") in ("0", "1"):
            return ""
        address = self.address(_source(one))
        return f"![{alt}]({address})" if address else ""

    def link(self, one: Element) -> str:
        """The link; one within the page is its text, or the mark of a footnote."""
        given, text = (one.get("href") or "").strip(), self.inside(one)
        if given.startswith("#") or not text.strip():
            label = self._labels.get(given[1:]) if given.startswith("#") else None
            return f"[^{label}]" if label else text
        address = self.address(given)
        shown = one_line(text)
        if not address or "](" in re.sub(r"!\[[^\]]*\]\([^)]*\)", "", shown) or shown.startswith("[^"):
            return text
        return _around(text, f"[{shown}]({address})")

    def _emphasis(self, one: Element) -> str:
        text, sign = self.inside(one), _SIGNS[one.tag]
        core = text.strip(" " + BREAK)
        again = core.startswith(sign) and core.endswith(sign) and not (sign == "*" and core.startswith("**"))
        if not core or again or core.startswith(("![", "[^")):
            return text
        inner = core.replace(BREAK, " ") if core.count(BREAK) < 3 else core
        return _around(text, f"{sign}{inner}{sign}") if inner.strip("*_~ ") else text

    def _raised(self, one: Element) -> str:
        text = self.inside(one)
        core = text.strip()
        if not core or core.startswith("[^") or (len(one) == 1 and one[0].tag == "a" and not (one.text or "").strip()):
            return text
        return f"<{one.tag}>{core}</{one.tag}>"

    def _code(self, one: Element) -> str:
        if one.find(f".//{MATHS}") is not None or one.find(".//img") is not None:
            return self.inside(one)
        text = _BLANKS.sub(" ", text_of(one))
        return _around(text, code_span(text.strip())) if text.strip() else text


def maths(one: Element) -> str:
    """A formula between dollar signs."""
    tex = (one.text or "").strip()
    if not tex:
        return ""
    return f"$${tex}$$" if one.get("display") else f"${tex}$"


def code_span(text: str) -> str:
    """Text between as many back quotes as it takes."""
    text = _BLANKS.sub(" ", text).strip()
    runs = {len(run) for run in re.findall("`+", text)}
    sign = "`" * next(length for length in range(1, len(runs) + 2) if length not in runs)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{sign}{pad}{text}{pad}{sign}"


def plain(text: str | None) -> str:
    """Text with the signs of Markdown escaped, but for formulas in it, which stay as they are."""
    if not text:
        return ""
    if "$" not in text and "\\" not in text:
        return _ESCAPED.sub(r"\\\g<0>", text)
    parts = _TEX.split(collapse(text))
    for at, part in enumerate(parts):
        if at % 2 == 0:
            parts[at] = _ESCAPED.sub(r"\\\g<0>", part)
        else:
            sign = "$$" if part.startswith(("\\[", "$$")) else "$"
            parts[at] = f"{sign}{clean_tex(part)}{sign}"
    return "".join(parts)


def _around(text: str, core: str) -> str:
    """`core` with the blanks and breaks that stand around the text."""
    left = len(text) - len(text.lstrip(" \n" + BREAK))
    right = len(text.rstrip(" \n" + BREAK))
    return text[:left] + core + text[right:]


def _source(image: Element) -> str:
    """Where the picture is; pages that load pictures late put it elsewhere."""
    given = image.get("src") or ""
    if not given or is_dangerous(given) or any(word in given for word in ("placeholder", "blank.gif", "spacer", "1x1")):
        sets = image.get("data-srcset") or image.get("srcset") or ""
        for one in elements(image.getparent() if image.getparent() is not None else ()):
            sets = sets or (one.get("srcset") or "" if one.tag == "source" else "")
        late = next((image.get(name) for name in _LAZY if image.get(name)), "")
        given = late or sets.split(",")[0].strip().split(" ")[0] or given
    return given
