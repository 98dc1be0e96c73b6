"""The visible text of a Markdown file: what its reader would see on a page. Pure.

Removed is what an agent would read and a person would not: comments, hidden elements, scripts, characters without
width, bidirectional controls, tag characters, terminal sequences. Code in fences and in backticks stays as it is, but
for the characters.
"""

import re
from html import unescape

_BREAKS = re.compile("\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[@-_])|\x9b[0-?]*[ -/]*[@-~]")
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x1f\x7f-\x9f\xad\u034f\u061c\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\ufeff\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_JOINED = re.compile("[\u200c\u200d\ufe00-\ufe0f]{3,}")  # an alphabet of them
_HIDING = re.compile(
    r"(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|(?:left|top|text-indent)\s*:\s*-\d{3,}"
    r"|(?:font-size|opacity)\s*:\s*0*\.?0*(?![\d.]))",
    re.IGNORECASE,
)
_HIDDEN = re.compile(r"(?:^|\s)hidden(?=[\s=/]|$)", re.IGNORECASE)
_STYLE = re.compile(r"\bstyle\s*=\s*(\"[^\"]*\"|'[^']*'|\S+)", re.IGNORECASE)
_VALUE = re.compile(r"\"[^\"]*\"|'[^']*'")
_TOKEN = re.compile(
    r"(?:^|(?=[`<\]]))(?:"  # where nothing can begin, nothing else is tried
    r"^[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(?P<fence>`{3,}(?=[^`\n]*$)|~{3,})[^\n]*$"
    r"|(?P<ticks>`+)"
    r"|(?P<comment><!--)"
    r"|<(?P<code>script|style|template)\b[^<>]{0,1000}>"
    r"|<(?P<tag>[a-z][a-z0-9-]*)(?=[\s/])"
    r"|^\[[^\]\n]{0,99}\]:[ \t]*<?\#>?(?:[ \t]+|[ \t]*\n[ \t]*)[\"'(](?P<note>)"
    r"|\]\([ \t]*<?(?P<link>(?:javascript|vbscript|data):)"
    r")",
    re.MULTILINE | re.IGNORECASE,
)
# Possessive and bounded: no text makes it slow.
_ATTRIBUTES = re.compile(r"((?:[^<>\"']++|\"[^\"]{0,500}+\"|'[^']{0,500}+'){0,50}+)>")
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_LONGEST_CODE = 5000  # characters between backticks
_VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())


def visible(text: str) -> str:
    """The text without what its reader would not see; lines end in a line feed."""
    text = seen(_BREAKS.sub("\n", text))
    parts, at = list[str](), 0
    while found := _TOKEN.search(text, at):
        kept, end = _passed(text, found)
        parts += [text[at : found.start()], kept]
        at = end
    return "".join([*parts, text[at:]])


def one_line(text: str, most: int = 200) -> str:
    """A title, a name or an address: one line of it without what nobody sees, and no longer than `most`."""
    line = " ".join(seen(_BREAKS.sub(" ", text[: 10 * most])).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def seen(text: str) -> str:
    """The characters that are seen; joiners and variation selectors where a script needs them."""
    if "\x1b" in text or "\x9b" in text:
        text = _TERMINAL.sub("", text)
    return _JOINED.sub("", _UNSEEN.sub("", text))


def _passed(text: str, found: re.Match[str]) -> tuple[str, int]:
    """What stays of a token, and where the text goes on."""
    kind = found.lastgroup or ""
    if kind == "link":
        return "](#removed:", found.end()
    if kind == "code":
        return "", _closed(text, found["code"], found.end())
    if kind == "note":  # a link definition that stands for a comment
        return "", _line_end(text, found.end())
    read = {"fence": _fence, "ticks": _code, "comment": _comment, "tag": _element}[kind]
    return read(text, found)


def _fence(text: str, found: re.Match[str]) -> tuple[str, int]:
    """A fenced block, whole: to the line that closes it, or to the end."""
    mark = found["fence"]
    closing = re.compile(rf"^[ \t>]*{re.escape(mark[0])}{{{len(mark)},}}[ \t]*$", re.MULTILINE)
    last = closing.search(text, found.end())
    end = last.end() if last else len(text)
    return text[found.start() : end], end


def _code(text: str, found: re.Match[str]) -> tuple[str, int]:
    """Code between backticks, which ends in its paragraph; else the backticks alone."""
    most = found.end() + _LONGEST_CODE
    blank = _BLANK_LINE.search(text, found.end(), most)
    ticks = re.compile(rf"(?<!`){found[0]}(?!`)")
    last = ticks.search(text, found.end(), blank.start() if blank else most)
    end = last.end() if last else found.end()
    return text[found.start() : end], end


def _comment(text: str, found: re.Match[str]) -> tuple[str, int]:
    """Nothing of a comment. One that is not closed goes to the end where it begins a block, else it is no comment."""
    last = text.find("-->", found.start() + 2)
    if last >= 0:
        return "", last + 3
    begins = not text[text.rfind("\n", 0, found.start()) + 1 : found.start()].strip()
    return "", len(text) if begins else found.end()


def _element(text: str, found: re.Match[str]) -> tuple[str, int]:
    """Nothing of an element that is hidden; of another one the beginning of its tag, and the text goes on there."""
    tag = _ATTRIBUTES.match(text, found.end())
    if tag is None or not _hides(tag[1]):
        return found[0], found.end()
    done = found["tag"].lower() in _VOID or tag[1].endswith("/")
    return "", tag.end() if done else _closed(text, found["tag"], tag.end())


def _hides(attributes: str) -> bool:
    if _HIDDEN.search(_VALUE.sub('""', attributes)):
        return True
    return any(_HIDING.search(unescape(style[1])) for style in _STYLE.finditer(attributes))


def _closed(text: str, name: str, at: int) -> int:
    """Where an element ends that was opened before `at`; one that is not closed goes to the end."""
    depth = 1
    for tag in re.compile(rf"<(/?){re.escape(name)}\b[^<>]{{0,2000}}>", re.IGNORECASE).finditer(text, at):
        depth += -1 if tag[1] else not tag[0].endswith("/>")
        if depth == 0:
            return tag.end()
    return len(text)


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end
