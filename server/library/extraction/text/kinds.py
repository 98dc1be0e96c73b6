"""Which kind of source some bytes are: the bytes decide, then the file's name, then what a server said. Pure."""

import re

from server.library.document import Kind

_BINARY = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"PK\x03\x04": "a ZIP archive or an office document",
    b"\x1f\x8b": "a gzip archive",
    b"\xfd7zXZ": "an xz archive",
    b"BZh": "a bzip2 archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x7fELF": "a program",
    b"\xd0\xcf\x11\xe0": "an old office document",
    b"SQLite format 3": "an SQLite database",
    b"OggS": "a sound or a film",
    b"ID3": "a sound",
    b"RIFF": "a sound, a film or an image",
    b"{\\rtf": "a document in RTF",
    b"%!PS": "a document in PostScript",
}
_HEAD = 4096
_PDF_HEAD = 1024  # bytes, within which readers look for a PDF's first words
_HTML = re.compile(
    rb"<(?:!doctype\s+html|html|head|body|article|main|meta|title|div|section|table|script|p|h[1-6])(?=[\s>/])", re.I
)
_MARKDOWN_NAME = re.compile(r"\.(?:md|markdown|mdx|mkd|qmd|rmd)(?:$|[?#])", re.I)
_TEXT_NAME = re.compile(r"\.(?:txt|text|log|csv|rst|tex|py|json|ya?ml|toml)(?:$|[?#])", re.I)
_HTML_NAME = re.compile(r"\.(?:x?html?|xht)(?:$|[?#])", re.I)
_MARKDOWN_SIGN = re.compile(
    r"^(?:---\n[\w-]+\s*:|#{1,6} \S|```|~~~|[-*+] \S|\d+\. \S|\|.+\|$|> \S|={4,}$)|\]\(\S+\)|\*\*\S", re.M
)
_CONTROLS = bytes({*range(0x20)} - {*b"\t\n\r\f\x1b\x08"})
_WIDE = (b"\xff\xfe", b"\xfe\xff")


class UnknownKind(ValueError):
    """No text is in these bytes. The text says what they are."""


def kind_of(data: bytes, content_type: str = "", name: str = "") -> Kind:
    """What the bytes of a source are.

    Args:
        content_type: what a server said; it decides only between kinds of text. name: of a file, or an address.

    Raises:
        UnknownKind: they are no page, no paper and no text.
    """
    if b"%PDF-" in data[:_PDF_HEAD]:
        return Kind.PDF
    for magic, what in _BINARY.items():
        if data.startswith(magic):
            raise UnknownKind(what)
    head = data[:_HEAD]
    if not head.startswith(_WIDE) and len(head.translate(None, _CONTROLS)) < len(head) * 0.99:
        raise UnknownKind("a binary file of an unknown kind")
    return _kind_of_text(data, content_type.lower(), name)


def is_plain_name(name: str) -> bool:
    """Whether a name or an address ends as Markdown's or a text's does."""
    return bool(_MARKDOWN_NAME.search(name) or _TEXT_NAME.search(name))


def _kind_of_text(data: bytes, content_type: str, name: str) -> Kind:
    if _MARKDOWN_NAME.search(name) or "markdown" in content_type:
        return Kind.MARKDOWN
    head = data[:_HEAD].replace(b"\0", b"")  # of two bytes a character
    start = head.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")[:1]
    if "html" in content_type or _HTML_NAME.search(name) or (start == b"<" and _HTML.search(head)):
        return Kind.HTML
    if _TEXT_NAME.search(name):
        return Kind.TEXT
    if len(_HTML.findall(data[: 16 * _HEAD])) >= 3 and start == b"<":
        return Kind.HTML
    return Kind.MARKDOWN if len(_MARKDOWN_SIGN.findall(head.decode("utf-8", "replace"))) >= 2 else Kind.TEXT
