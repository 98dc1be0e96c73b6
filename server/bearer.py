"""The token that opens the server over HTTP: from the environment, or a file that only its owner can read."""

import hmac
import os
import secrets
import stat
from pathlib import Path

from server.errors import Unavailable

VARIABLE = "AUTORESEARCH_TOKEN"
_SHORTEST = 16  # characters


class Bearer:
    """One static token. It is never shown: `where` says where it is."""

    def __init__(self, file: Path) -> None:
        """Take the token of the environment, else the file's; the first use makes the file.

        Raises:
            Unavailable: the token is too short, or others can read the file.
        """
        told = os.environ.get(VARIABLE)
        self.where = f"in the variable {VARIABLE}" if told is not None else f"in {file}"
        self._token = _checked(told if told is not None else _read(file), self.where).encode()

    def opens(self, header: str) -> bool:
        """Whether an Authorization header carries the token; takes as long for a near miss as for nonsense."""
        scheme, _, token = header.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self._token)


def _checked(token: str, where: str) -> str:
    token = token.strip()
    if len(token) < _SHORTEST or not token.isascii() or " " in token:
        problem = f"The token {where} has fewer than {_SHORTEST} characters, or others than letters, digits and signs."
        raise Unavailable(problem, "Make one with `openssl rand -hex 24`, or remove it: the server then makes one.")
    return token


def _read(file: Path) -> str:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as fresh:
            fresh.write(secrets.token_urlsafe(32) + "\n")
    except FileExistsError:
        pass
    except OSError as error:
        raise Unavailable(f"{file} cannot be written: {error.strerror}.", f"Set {VARIABLE} instead.") from error
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise Unavailable(f"Others than its owner can read {file}.", f"Remove it, or run `chmod 600 {file}`.")
    return file.read_text(encoding="utf-8")
