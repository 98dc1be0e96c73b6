"""What a page of its own needs of this machine: a port that stays the same, and a browser that is shown the link."""

import os
import socket
import sys
import webbrowser
import zlib
from contextlib import suppress
from html import escape
from pathlib import Path

from server.errors import Unavailable

_PORTS = range(49152, 65536)  # which nobody has registered
_BACKLOG = 64
HOST = "127.0.0.1"


def bind(port: int, workspace: Path) -> socket.socket:
    """Listen on this machine alone: on `port`, or for 0 on the workspace's usual one, else on any.

    The usual one lets a tab find the page again after a restart.

    Raises:
        Unavailable: somebody else listens on the port that was named.
    """
    usual = _PORTS[zlib.crc32(str(workspace.resolve()).encode(errors="surrogateescape")) % len(_PORTS)]
    if not port:
        with suppress(OSError):
            return socket.create_server((HOST, usual), backlog=_BACKLOG)
    try:
        return socket.create_server((HOST, port), backlog=_BACKLOG)
    except OSError as error:
        told = f"The page cannot listen on {HOST}:{port}: {error.strerror}."
        raise Unavailable(told, "Name another --port, or leave --port out.") from error


def show(link: str, folder: Path) -> bool:
    """Open the link in a browser with windows, if there is one here. Returns whether one was asked.

    Everybody on a machine can read the arguments of a program: the browser is handed a file that leads to the link.
    """
    if os.environ.get("SSH_CONNECTION") or not sys.stdout.isatty():
        return False
    if sys.platform != "darwin" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        return webbrowser.open(leading_file(link, folder).resolve().as_uri())
    except (OSError, webbrowser.Error):
        return False


def leading_file(link: str, folder: Path) -> Path:
    """A page that leads to the link, for its owner's eyes alone. Raises OSError."""
    path = folder / "page-link.html"
    told = f'<!doctype html><meta http-equiv="refresh" content="0;url={escape(link)}"><title>autoresearch</title>'
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(told)
    return path
