"""Bytes read as text: by the byte order mark, as UTF-8, by what was declared, by detection; and invisible characters.

A declaration is believed only where the bytes bear it out: servers and pages often name the wrong one.
"""

import re
import unicodedata

from charset_normalizer import from_bytes

_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_META = re.compile(rb"<(?:meta|\?xml)[^>]{0,300}?(?:charset|encoding)\s*=\s*[\"']?\s*([\w.:-]+)", re.I)
_HEAD = 8192
_SAMPLE = 100_000  # bytes that detection looks at
_FEW = 2000  # one unreadable character among so many is a slip of the page, not another charset
_LIKE_LATIN = {"latin1", "iso88591", "ascii", "usascii"}  # browsers read these as windows-1252
# Line and paragraph separators are blanks; soft hyphens, marks of direction, tags and zero-width characters are not
# seen, and can hide text from a reader that a model still gets. Joiners stay where a script needs them.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\ufeff\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e0fff\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]"
)
_JOINER = re.compile("[\u200c\u200d]")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Latin text is windows-1252, unless the page names one of the languages that need another: guesses mix them up.
_EASTERN = re.compile(rb"\slang\s*=\s*[\"']?(?:pl|cs|sk|hu|hr|sl|ro|tr|lt|lv|et|sq|bs)\b", re.I)
_JOINING = ("ARABIC", "SYRIAC", "MONGOLIAN", "NKO", "MANDAIC")
_INDIC = re.compile("[\u0900-\u0dff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff]")


def decode(data: bytes, declared: str = "") -> str:
    """The text of these bytes; what cannot be read becomes U+FFFD.

    Args:
        declared: the charset that the server named, if it did.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data.decode(name, "replace")
    if (wide := _without_mark(data)) is not None:
        return wide
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    found = _META.search(data[:_HEAD])
    for name in (declared, found[1].decode("ascii", "replace") if found else ""):
        if (text := _read_as(data, name)) is not None:
            return text
    return _detected(data)


def _without_mark(data: bytes) -> str | None:
    head = data[:_HEAD]
    for name, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if len(head) > 8 and zeros.count(0) > 0.4 * len(zeros):
            return data.decode(name, "replace")
    return None


def _read_as(data: bytes, name: str) -> str | None:
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    if not plain or plain in ("utf8", "utf16", "utf32"):  # tried already
        return None
    try:
        text = data.decode("cp1252" if plain in _LIKE_LATIN else name)
    except (LookupError, UnicodeDecodeError, ValueError):
        return None
    return text if isinstance(text, str) else None  # pyright: ignore[reportUnnecessaryIsInstance] - `hex` gives bytes


def _detected(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    if text.count("\ufffd") <= max(3, len(text) // _FEW):
        return text
    best = from_bytes(data[:_SAMPLE]).best()
    if best is None or (_is_latin(best.alphabets) and not _EASTERN.search(data[:_HEAD])):
        return data.decode("cp1252", "replace")
    return data.decode(best.encoding, "replace")


def _is_latin(alphabets: list[str]) -> bool:
    return all("Latin" in name or "Punctuation" in name or "Symbol" in name for name in alphabets)


def visible(text: str) -> str:
    """The text without characters that nobody sees, in composed form (NFC), with LF at the ends of lines."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n\n")
    if text.isascii():
        return _INVISIBLE.sub("", text)
    text = _SURROGATE.sub("\ufffd", _INVISIBLE.sub("", text))
    text = _JOINER.sub(lambda found: found[0] if _joins(text, found.start()) else "", text)
    return unicodedata.normalize("NFC", text)


def _joins(text: str, at: int) -> bool:
    """Whether the joiner there has a use: between letters of a script that joins them, or in an emoji."""
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if not before or not after:
        return False
    if _INDIC.match(before):
        return True
    if unicodedata.name(before, "").startswith(_JOINING):
        return unicodedata.name(after, "").startswith(_JOINING)
    return unicodedata.category(before) in ("So", "Sk", "Mn") and unicodedata.category(after) == "So"
