"""What the library is made of: what a source answered, what was read out of it, a document with its front matter."""

from enum import StrEnum

from server.records import Value


class Kind(StrEnum):
    """What a document was made from."""

    HTML = "html"
    PDF = "pdf"
    MARKDOWN = "markdown"
    TEXT = "text"
    REPOSITORY = "repository"  # a file of one


class Fetched(Value):
    """What a source answered, before it is read."""

    data: bytes
    source: str  # as the operator named it, without secrets
    final_url: str = ""  # after redirects, without secrets; empty for a local file
    content_type: str = ""  # what the server said; kind_of looks at the bytes
    charset: str = ""  # what the server said
    fetched: str  # UTC, ISO 8601


class Extract(Value):
    """What was read out of a page or a paper."""

    kind: Kind
    markdown: str
    title: str = ""
    author: str = ""
    published: str = ""  # ISO date, where the source says one
    licence: str = ""
    extractor: str  # which way of extraction, with versions: it explains a later difference
    lossy: bool = False  # whether tables or mathematics were lost, as they are in a PDF


class Document(Value):
    """The front matter of one document in the library."""

    id: str  # the name of its file without .md; of a repository's file `repo@sha7/path`
    kind: Kind
    source: str
    final_url: str = ""
    title: str
    author: str = ""
    published: str = ""
    fetched: str
    sha256: str  # of the raw bytes
    text_sha256: str  # of the Markdown below the front matter
    licence: str = ""
    words: int
    extractor: str
    lossy: bool = False
    tags: tuple[str, ...] = ()
    commit: str = ""  # of a repository
    path: str = ""  # within it
    include: tuple[str, ...] = ()  # of its index: globs of the files that the operator has asked for
    said: tuple[str, ...] = ()  # which of title and licence are the operator's words: they hold when the source changes
