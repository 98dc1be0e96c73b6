"""Addresses and URLs of a server as people write them."""

import ipaddress
import re
from typing import NamedTuple

from server.errors import Unavailable
from server.serve_words import DEFAULT_ADDRESS, DEFAULT_PORT
from server.text import clip

PATH = "/mcp"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOKEN_VARIABLE = "AUTORESEARCH_TOKEN"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # what is listened on, and what this machine calls it by
_PARTS = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[^\s\]/]+)?)\]|([^\s/?#@\[\]:%\\]*))(?::([0-9]{1,5}))?(/[^\s?#]*)?")
_MOST_PORT = 65535


class Parts(NamedTuple):
    """An address, its host in small letters and without brackets; None for a port that is not named."""

    scheme: str
    host: str
    port: int | None
    path: str  # without a slash at its end


def client_url(told: str) -> str:
    """The complete URL for a client; missing parts are the defaults of `serve --http`. Raises Unavailable."""
    step = f"Write it as the server prints it, such as http://{DEFAULT_ADDRESS}{PATH}."
    scheme, host, port, path = split(told, step)
    if port == 0:
        raise Unavailable(f"{told!r} has no port that a server can listen on.", step)
    if port is None and (is_loopback(host) or not _SCHEME.match(told.strip())):
        port = DEFAULT_PORT  # else the scheme's own, as of a proxy
    path = PATH if path.lower() in ("", PATH) else path
    return f"{scheme}://{called(host)}{f':{port}' if port is not None else ''}{path}"


def called(host: str) -> str:
    """The host name in a URL, as seen from this machine."""
    host = _EVERYWHERE.get(host, host)
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Whether the name or address is loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() in LOOPBACK


def split(told: str, step: str) -> Parts:
    """The parts of HOST:PORT or of a URL. Raises Unavailable, which ends with `step` and shows no password."""
    told = told.strip()
    scheme = _SCHEME.match(told)
    if scheme and scheme[1].lower() not in ("http", "https"):
        raise Unavailable(f"{scheme[1]}:// is not an address of a server over HTTP.", step)
    rest = told[scheme.end() :] if scheme else told
    if rest.isdecimal() and not scheme:
        rest = f":{rest}"
    elif _is_number(rest, 6) and not _is_number(rest.rpartition(":")[0], 6):
        rest = f"[{rest}]"
    if "@" in rest.partition("/")[0]:
        raise Unavailable("The address has a user name or a password.", f"The server asks only for a token. {step}")
    found = _PARTS.fullmatch(rest)
    host, port = ((found[1] or found[2]).lower(), found[3]) if found else ("", None)
    named = bool(scheme and host) or port or _is_number(host) or is_loopback(host)
    if not found or not named or host in ("http", "https") or int(port or 0) > _MOST_PORT:
        raise Unavailable(f"{clip(told)!r} is not an address.", step)
    path = (found[4] or "").rstrip("/")
    return Parts((scheme[1] if scheme else "http").lower(), host or "127.0.0.1", int(port) if port else None, path)


def _is_number(host: str, version: int | None = None) -> bool:
    try:
        return ipaddress.ip_address(host).version in ((4, 6) if version is None else (version,))
    except ValueError:
        return False
