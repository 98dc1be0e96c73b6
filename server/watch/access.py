"""Who may see the page: a secret link, a cookie for its path alone, and a second secret for whatever changes something.

The link's token, as a header, lets a request in as the cookie does: the first data come without a second round trip.

Path, cookie and CSRF token are made from one secret of the repository, so an open tab survives a restart. A cookie is
sent to every port of a host: its path, which only the link tells, keeps it from other programs on this machine.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import stat
from pathlib import Path
from typing import NamedTuple, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.errors import Unavailable
from server.paths import Home

COOKIE = "autoresearch"
CSRF = "x-csrf"
TOKEN = "x-token"
_OURS = ("same-origin", "none")  # none: typed, or opened by another program
_FOLLOWED = ("navigate", "document")
_SHORTEST = 32  # characters
_PATH = 16  # characters of the secret path
_MOST = 64 * 1024  # bytes of what is posted


class Refused(NamedTuple):
    """Why a request is not answered."""

    status: int
    words: str

    def response(self) -> Response:
        return JSONResponse({"error": self.words}, self.status)


class PageAccess:
    """The secrets of one repository's page."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self.token, self._cookie, self._csrf = secret, self._of("cookie"), self._of("csrf")
        self.prefix = f"/{self._of('path')[:_PATH]}"

    @classmethod
    def of(cls, home: Home) -> "PageAccess":
        """Those of a repository. The first use makes the secret's file; where none can be made it is forgotten.

        Raises:
            Unavailable: others can read the file.
        """
        return cls(_read_or_make(home.page_token))

    def _of(self, what: str) -> str:
        made = hmac.new(self._secret, what.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(made).decode().rstrip("=")

    def link(self, origin: str) -> str:
        """The link that lets a browser in. The token is in the fragment, which no browser sends."""
        return f"{origin}{self.prefix}/#t={self.token}"

    def knows(self, token: object) -> bool:
        """Whether this is the token of the link."""
        return isinstance(token, str) and hmac.compare_digest(token.encode(errors="replace"), self.token.encode())

    def admits(self, request: Request) -> bool:
        """Whether the request has the cookie of a browser that was let in, or the token of the link."""
        cookie = request.cookies.get(COOKIE, "")
        return hmac.compare_digest(cookie.encode(), self._cookie.encode()) or self.knows(request.headers.get(TOKEN))

    def let_in(self) -> Response:
        """The answer to a link that is right: a cookie that no script reads, and the token for requests."""
        answer = JSONResponse({"csrf": self._csrf})
        answer.set_cookie(COOKIE, self._cookie, path=f"{self.prefix}/", httponly=True, samesite="strict")
        return answer

    def csrf(self) -> Response:
        """The token for requests, for a tab that has the cookie."""
        return JSONResponse({"csrf": self._csrf})

    def refuses(self, request: Request, open_to_all: bool = False) -> Refused | None:
        """Why a request is not answered; None if it is.

        Args:
            open_to_all: it needs no cookie: the page itself, which holds no data, and the exchange of the link.
        """
        headers = request.headers
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        # A link may stand anywhere; what it leads to shows itself in no frame, and holds no data.
        followed = open_to_all and (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == _FOLLOWED
        if (site not in _OURS and not followed) or (
            origin is not None and origin.partition("://")[2] != headers.get("host")
        ):
            return Refused(403, "Other pages may not call this page.")
        if request.method == "POST" and headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return Refused(415, "Post JSON.")
        if open_to_all:
            return None
        if not self.admits(request):
            return Refused(401, "Open the link that `autoresearch watch` prints.")
        if request.method == "POST" and not hmac.compare_digest(headers.get(CSRF, "").encode(), self._csrf.encode()):
            return Refused(403, f"The header {CSRF} is missing or wrong.")
        return None


async def posted(request: Request) -> dict[str, object]:
    """The JSON object that was posted; an empty one for anything else."""
    size = request.headers.get("content-length", "0")
    if not size.isdecimal() or int(size) > _MOST:
        return {}
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MOST:
            return {}
    try:
        told: object = json.loads(bytes(body))
    except (ValueError, RecursionError):  # RecursionError: brackets in brackets
        return {}
    return cast("dict[str, object]", told) if isinstance(told, dict) else {}


def _read_or_make(file: Path) -> str:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as fresh:
            fresh.write(secrets.token_urlsafe(_SHORTEST) + "\n")
    except FileExistsError:
        pass
    except OSError:
        return secrets.token_urlsafe(_SHORTEST)  # a disk that is full or read-only: the page works until the end
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise Unavailable(f"Users other than its owner can read {file}.", f"Remove it, or run `chmod 600 {file}`.")
    token = file.read_text(encoding="utf-8", errors="replace").strip()
    if len(token) < _SHORTEST or not token.isascii():  # cut off by a full disk
        file.unlink()
        return _read_or_make(file)
    return token
