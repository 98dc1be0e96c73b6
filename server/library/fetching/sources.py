"""What an operator names as a source: an address, a paper, a file, a repository.

Secrets in an address are for the request alone: `Source.name` is what is saved and printed.
"""

import os
import re
from enum import StrEnum
from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit

from server.errors import SourceUnreachable
from server.records import Value

STDIN = "-"
_PREFIX = "git+"  # of an address that is git's, and does not look like it


class SourceKind(StrEnum):
    """How a source is fetched."""

    WEB = "web"
    ARXIV = "arxiv"
    FILE = "file"
    STDIN = "stdin"
    GIT = "git"
    FOLDER = "folder"  # a repository on this machine


class Source(Value):
    """One source, read from a command line."""

    kind: SourceKind
    name: str  # what is saved and printed
    target: str  # what is fetched: an address with its secrets, an arXiv id, or a path
    ref: str = ""  # of a repository: branch, tag or commit; empty: its default branch

    @property
    def is_remote(self) -> bool:
        return self.kind in (SourceKind.WEB, SourceKind.ARXIV, SourceKind.GIT)


_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_ARXIV = re.compile(r"(?:arxiv:\s*)?(\d{4}\.\d{4,5}(?:v\d+)?|[a-z-]+(?:\.[A-Z]{2})?/\d{7}(?:v\d+)?)", re.IGNORECASE)
_ARXIV_PATH = re.compile(r"/(?:abs|pdf|html|ps|format)/(.+?)(?:\.pdf)?/?")
_ARXIV_HOSTS = ("arxiv.org", "www.arxiv.org", "export.arxiv.org")
_FORGES = ("github.com", "www.github.com", "gitlab.com", "codeberg.org", "bitbucket.org", "git.sr.ht")
_NO_OWNER = ("features", "topics", "search", "marketplace", "sponsors", "orgs", "explore", "settings", "login")
_SCP = re.compile(r"[\w.-]+@[\w.-]+:(?!//)\S+")
_LIKE_ADDRESS = re.compile(r"(?:[a-z0-9-]+\.)+[a-z]{2,}(?:[:/]\S*)?", re.IGNORECASE)
_REF = re.compile(r"[\w./+-]{1,200}")
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_SECRET = frozenset(
    "access auth authorization credential credentials jwt key keyid apikey passwd password pass pwd secret session "
    "sessionid sid sig sign signature ticket token accesstoken authtoken nonce otp".split()
)
_SECRET_ENDS = ("token", "secret", "password", "signature", "apikey")


def read_source(told: str) -> Source:
    """What the operator means.

    Raises:
        SourceUnreachable: it is no source that is fetched, or a file that is not there.
    """
    told = told.strip() if told.strip() else told
    if told == STDIN:
        return Source(kind=SourceKind.STDIN, name="stdin", target=STDIN)
    if found := _ARXIV.fullmatch(told):
        return _paper(found[1])
    scheme = _SCHEME.match(told) or re.match(r"(git\+https)://", told)
    if scheme:
        return _remote(told, scheme[1].lower())
    return _local(told)


def without_secrets(address: str) -> str:
    """An address without user, password, fragment, and without the values of tokens, keys and signatures.

    >>> without_secrets("https://me:pw@example.org/a?page=2&api_key=xyz#part")
    'https://example.org/a?page=2&api_key='
    """
    try:
        parts = urlsplit(address)
        host = _host(parts)
    except ValueError:
        return re.sub(r"//[^/]*@", "//", address.partition("?")[0].partition("#")[0])
    query = "&".join(_without_value(one) for one in parts.query.split("&"))
    return urlunsplit((parts.scheme, host, parts.path, query, ""))


def _host(parts: SplitResult) -> str:
    name = parts.netloc.rpartition("@")[2]
    return name.lower() if name.isascii() else name


def _without_value(pair: str) -> str:
    name = pair.partition("=")[0]
    words = {word.lower() for word in _WORDS.findall(name.replace("%5F", "_").replace("%2D", "-"))}
    secret = bool(words & _SECRET) or name.lower().endswith(_SECRET_ENDS)
    return f"{name}=" if secret and "=" in pair else pair


def _paper(number: str) -> Source:
    return Source(kind=SourceKind.ARXIV, name=f"arXiv:{number}", target=number)


def _remote(told: str, scheme: str) -> Source:
    name = without_secrets(told)
    if scheme not in ("http", "https", "git+https"):
        step = "Give an https address; a file or a repository on this machine is named by its path."
        raise SourceUnreachable(f"{name[:200]}: {scheme}:// is not fetched.", step)
    try:
        parts = urlsplit(told)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        host = ""
    if not host or re.search(r"[\s\x00-\x1f\x7f]", told):
        raise SourceUnreachable(f"{name[:200]!r} is not a web address.", "Correct it.")
    parts = urlsplit(told)
    if host in _ARXIV_HOSTS and (found := _ARXIV_PATH.fullmatch(parts.path)) and (number := _ARXIV.fullmatch(found[1])):
        return _paper(number[1])
    if scheme == "git+https" or _is_repository(parts, host):
        return _repository(told.removeprefix(_PREFIX))
    return Source(kind=SourceKind.WEB, name=name, target=told)


def _is_repository(parts: SplitResult, host: str) -> bool:
    """Whether an address is git's: it ends in .git, or is the front page of a repository at a known forge."""
    path = parts.path.rstrip("/").rpartition("@")[0] or parts.path.rstrip("/")
    steps = [step for step in path.split("/") if step]
    if path.endswith(".git") and steps:
        return True
    return host in _FORGES and len(steps) == 2 and steps[0] not in _NO_OWNER and not parts.query


def _repository(address: str) -> Source:
    parts = urlsplit(address)
    if parts.scheme != "https":
        told = f"{without_secrets(address)}: a repository is fetched by https alone."
        raise SourceUnreachable(told, "Give its https address, or clone it yourself and name the folder.")
    path, at, ref = parts.path.rstrip("/").partition("@")
    if at and not is_ref(ref):
        raise SourceUnreachable(f"{ref[:100]!r} is not a branch, tag or commit.", "Correct what follows the @.")
    netloc = parts.netloc
    target = urlunsplit(("https", netloc, path, "", ""))
    known = _is_repository(parts, parts.hostname or "")
    name = ("" if known else _PREFIX) + without_secrets(target) + at + ref  # it is read again as it was
    return Source(kind=SourceKind.GIT, name=name, target=target, ref=ref)


def is_ref(text: str) -> bool:
    """Whether git can take a text for a branch, tag or commit, and for nothing else."""
    return bool(_REF.fullmatch(text)) and not text.startswith(("-", "/", ".")) and ".." not in text


def _local(told: str) -> Source:
    name = os.path.normpath(told)
    if "\0" not in told and os.path.isdir(told):
        if os.path.basename(name) in (".", ".."):  # its name, and it is found again from here
            name = os.path.join(name, "..", Path(told).resolve().name).removeprefix("./")
        return Source(kind=SourceKind.FOLDER, name=name, target=str(Path(told).absolute()))
    if "\0" not in told and os.path.lexists(told):
        return Source(kind=SourceKind.FILE, name=name, target=str(Path(told).absolute()))
    step = "Correct the path, or give an address that begins with https://."
    if _SCP.fullmatch(told):
        step = "A repository is fetched by https alone: give its https address, or clone it and name the folder."
    elif _LIKE_ADDRESS.fullmatch(told):
        step = f"For a web page give https://{told}."
    raise SourceUnreachable(f"There is no file {without_secrets(told)[:200]!r}.", step)
