"""Names of files that every file system can have, made from titles and from paths of strangers. Pure."""

import re
import unicodedata
from collections.abc import Callable
from itertools import count

_LONGEST = 60  # characters of a slug
_LONGEST_PART = 120  # of a path's part: with a number and an ending below all limits
_MOST_PARTS = 20
# Windows and macOS share the folders of many operators.
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d|conin\$|conout\$)(?=\.|$)", re.IGNORECASE)
_APART = str.maketrans({"ß": "ss", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "œ": "oe", "ð": "d", "þ": "th"})


def slug(text: str, otherwise: str = "document") -> str:
    """A short name of lower-case letters, digits and hyphens.

    >>> slug("Muon: An optimizer — for hidden layers"), slug("../../etc"), slug("NUL")
    ('muon-an-optimizer-for-hidden-layers', 'etc', 'nul-document')
    """
    folded = unicodedata.normalize("NFKD", text.casefold().translate(_APART))
    words = re.findall(r"[a-z0-9]+", "".join(one for one in folded if not unicodedata.combining(one)))
    made = "-".join(words)
    if len(made) > _LONGEST:
        made = made[: _LONGEST + 1].rpartition("-")[0] or made[:_LONGEST]
    if _RESERVED.match(made):
        return f"{made}-document"
    return made or otherwise


def safe_path(path: str) -> str:
    """A path of a repository as it is written below its folder; empty if it is no path that is written at all.

    >>> safe_path("docs/A guide?.md"), safe_path(".github/x.md"), safe_path("a/../b"), safe_path("aux.md")
    ('docs/A guide_.md', '_github/x.md', '', 'aux_.md')
    """
    parts = path.split("/")
    if len(parts) > _MOST_PARTS or any(part in ("", ".", "..") for part in parts):
        return ""
    return "/".join(_safe_part(part) for part in parts)


def _safe_part(part: str) -> str:
    plain = unicodedata.normalize("NFC", part.encode("utf-8", "replace").decode("utf-8"))
    made = "".join(one if one.isalnum() or one in " ._-+@=,()" else "_" for one in plain)
    made = re.sub(r"^\.", "_", made)
    made = re.sub(r"[. ]+$", "_", made.lstrip())
    if len(made.encode()) > _LONGEST_PART:
        stem, dot, end = made.rpartition(".")
        keep = f"{dot}{end}" if 0 < len(end) <= 10 else ""
        made = (stem if keep else made).encode()[: _LONGEST_PART - len(keep)].decode("utf-8", "ignore") + keep
    if found := _RESERVED.match(made):
        made = f"{made[: found.end()]}_{made[found.end() :]}"
    return made or "_"


def numbered(name: str, is_taken: Callable[[str], bool]) -> str:
    """The name, or with the first number behind it that is free: `muon-2`, `docs/guide-2.md`."""
    stem, dot, end = name.rpartition(".") if "." in name.rpartition("/")[2] else (name, "", "")
    tries = (f"{stem}-{number}{dot}{end}" for number in count(2))
    return name if not is_taken(name) else next(one for one in tries if not is_taken(one))


def folded(name: str) -> str:
    """What two names have in common that some file system takes for one."""
    return unicodedata.normalize("NFC", name).casefold()
