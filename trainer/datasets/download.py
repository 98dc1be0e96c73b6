"""Files from the network: resumed where a connection was cut, tried again, and never taken for what they are not.

TARGET          the file, whole
TARGET.part     what has come so far
TARGET.sha256   its checksum when it came: a file that changed since is fetched again
"""

import http.client
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer.datasets.artifact_store import sha256
from trainer.datasets.errors import DataUnavailable

_BLOCK = 1 << 20
_TIMEOUT = 30.0  # seconds without a byte
_LONGEST_PAUSE = 15.0  # seconds
_BUSY = {408, 425, 429, 500, 502, 503, 504}  # answers that another try may change
_STATED = re.compile(r'"?([0-9a-f]{64})"?')  # a sha256 in an ETag, as Hugging Face gives it for large files
Advance = Callable[[int, int | None], None]  # (bytes so far, bytes in all or None)


class _Damaged(Exception):
    """All bytes came, and they are not the file."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows ten redirects at most, relative ones too, and none that leaves https.

    Remembers the checksum that is stated with a redirect: the host that it leads to does not know it.
    """

    stated = ""

    def redirect_request(self, *told: Any, **_: Any) -> Any:
        request, answer, code, _, headers, url = told
        before, after = (urllib.parse.urlsplit(one).scheme.lower() for one in (request.full_url, url))
        if after not in ("https", before):
            raise urllib.error.HTTPError(url, code, f"and leaves {before} for {after}", headers, answer)
        self.stated = headers.get("X-Linked-ETag") or self.stated
        return super().redirect_request(*told)


def fetch(url: str, target: Path, advance: Advance, retries: int = 5, pause: float = 0.5) -> str:
    """Have the file of `url` at `target`, and return its sha256.

    Args:
        advance: told how far it is. retries: how many times in a row it may fail without a new byte.
        pause: seconds before the first of them; each next is twice as long.

    Raises:
        DataUnavailable: it cannot be had; what came is kept for the next time.
    """
    record = target.with_name(target.name + ".sha256")
    if target.exists() and record.exists() and sha256(target) == record.read_text(encoding="utf-8"):
        return record.read_text(encoding="utf-8")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    failures = 0
    while True:
        before = _size(part)
        try:
            found = _attempt(url, part, advance)
            break
        except (OSError, http.client.HTTPException, _Damaged) as error:  # URLError and HTTPError are OSErrors
            failures = 1 if _size(part) > before else failures + 1
            if failures > retries or _final(error):
                raise _told(url, error) from error
        time.sleep(min(pause * 2 ** (failures - 1), _LONGEST_PAUSE))
    part.replace(target)
    record.write_text(found, encoding="utf-8")
    return found


def _attempt(url: str, part: Path, advance: Advance) -> str:
    """Get what is missing of the file; returns its sha256."""
    redirects = _Redirects()
    size = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={size}-"} if size else {})
    try:
        answer = urllib.request.build_opener(redirects).open(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # more is here than there is there
            part.unlink()
        raise
    with answer, part.open("ab" if answer.status == 206 else "wb") as file:
        total = None if answer.length is None else file.tell() + answer.length
        while block := answer.read(_BLOCK):
            file.write(block)
            advance(file.tell(), total)
        size = file.tell()
    if total is not None and size < total:
        raise ConnectionError(f"the connection was cut after {size} of {total} bytes")
    return _checked(part, redirects.stated or answer.headers.get("ETag", ""))


def _checked(part: Path, stated: str) -> str:
    found, due = sha256(part), _STATED.fullmatch(stated.strip())
    if due and due[1] != found:
        part.unlink()
        raise _Damaged(f"it arrived with sha256 {found}, and {due[1]} was stated")
    return found


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _final(error: Exception) -> bool:
    return isinstance(error, urllib.error.HTTPError) and error.code not in {*_BUSY, 416}


def _told(url: str, error: Exception) -> DataUnavailable:
    if isinstance(error, urllib.error.HTTPError):
        problem = f"{url} cannot be downloaded: the server answers {error.code} {' '.join(str(error.reason).split())}."
    else:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        problem = f"{url} cannot be downloaded: {reason}."
    return DataUnavailable(
        problem,
        "Check the network (HF_ENDPOINT names a mirror) and run the command again: it goes on where it stopped.",
    )
