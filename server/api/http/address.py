"""Where the server listens, and what clients call it by: addresses and URLs as people write them."""

import ipaddress
import re
import socket
from urllib.parse import SplitResult, urlsplit

from server.api.http.auth import LOOPBACK
from server.errors import Unavailable
from server.serve_options import DEFAULT_ADDRESS, DEFAULT_PORT

PATH = "/mcp"
BACKLOG = 128  # so many are accepted at once, before one can be hung up on
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # what is listened on, and what this machine calls it by
_NAME = re.compile(r"[^\s/?#@\[\]:%]+|[0-9A-Fa-f:.]+(?:%[^\s\]/]+)?")


class Address:
    """Where to listen."""

    def __init__(self, told: str) -> None:
        """Read HOST:PORT, [IPV6]:PORT, HOST, PORT, or the URL that clients are given. Raises Unavailable."""
        parts = _split(told.strip(), f"Write HOST:PORT, such as {DEFAULT_ADDRESS}.")
        if parts.scheme == "https":
            raise Unavailable(
                f"{told!r} asks for https, which the server does not speak.",
                "Listen on HOST:PORT behind a proxy with a certificate (docs/remote.md).",
            )
        if parts.path.rstrip("/").lower() not in ("", PATH):
            raise Unavailable(f"{told!r} has a path: the server answers at {PATH}.", "Write HOST:PORT alone.")
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port
        if self.port is None:
            self.port = DEFAULT_PORT

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    def bind(self) -> socket.socket:
        """Listen. Raises Unavailable."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            return socket.create_server((self.host, self.port), family=family, backlog=BACKLOG)
        except (OSError, UnicodeError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or error
            problem = f"{self.host}:{self.port} cannot be listened on: {why}."
            raise Unavailable(problem, "Name another with --http HOST:PORT, or end what listens there.") from error

    def url(self, port: int) -> str:
        """What this machine calls the server by, once it listens on `port`."""
        return f"http://{_bracketed(_EVERYWHERE.get(self.host, self.host))}:{port}{PATH}"

    def names(self) -> list[str]:
        """What clients may call this server, beside loopback's names."""
        return [] if self.loopback else [self.host, socket.gethostname(), socket.getfqdn()]


def client_url(told: str) -> str:
    """The URL that a client is given, made whole: what is left away is as `serve --http` has it. Raises Unavailable."""
    step = f"Write it as the server tells it, such as http://{DEFAULT_ADDRESS}{PATH}."
    parts = _split(told.strip(), step)
    host, port = parts.hostname or "127.0.0.1", parts.port
    if port == 0:
        raise Unavailable(f"{told!r} has no port that a server listens on.", step)
    if port is None and (is_loopback(host) or not _SCHEME.match(told.strip())):
        port = DEFAULT_PORT  # else the scheme's own, as of a proxy
    path = parts.path.rstrip("/")
    path = PATH if path.lower() in ("", PATH) else path
    where = _bracketed(_EVERYWHERE.get(host, host)) + (f":{port}" if port is not None else "")
    return f"{parts.scheme}://{where}{path}"


def is_loopback(host: str) -> bool:
    """Whether only this machine is called so."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() in LOOPBACK


def _split(told: str, step: str) -> SplitResult:
    """The parts of an address or a URL, its host without brackets. Raises Unavailable, which shows no password."""
    scheme = _SCHEME.match(told)
    if scheme and scheme[1].lower() not in ("http", "https"):
        raise Unavailable(f"{scheme[1]}:// is no address of a server over HTTP.", step)
    rest = told[scheme.end() :] if scheme else told
    if rest.isdecimal() and not scheme:
        rest = f":{rest}"
    elif _is_number(rest, 6) and not _is_number(rest.rpartition(":")[0], 6):
        rest = f"[{rest}]"
    if "@" in rest.partition("/")[0]:
        raise Unavailable("The address has a user's name or a password.", f"The server asks for a token alone. {step}")
    try:
        parts = urlsplit(f"{scheme[1].lower() if scheme else 'http'}://{rest}")
        host, port = parts.hostname or "", parts.port  # of which a wrong one raises
        good = parts.netloc not in ("", ":") and host not in ("http", "https") and bool(_NAME.fullmatch(host or "-"))
        good = good and (port is not None or bool(scheme) or _is_number(host) or is_loopback(host))
    except ValueError:  # brackets, or a port that is none
        good, parts = False, SplitResult("", "", "", "", "")
    if not good or parts.query or parts.fragment:
        raise Unavailable(f"{told[:200]!r} is no address.", step)
    return parts


def _is_number(host: str, version: int | None = None) -> bool:
    try:
        return ipaddress.ip_address(host).version in ((4, 6) if version is None else (version,))
    except ValueError:
        return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
