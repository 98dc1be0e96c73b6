"""Connections over HTTP: how many there may be, and how long one may stay unauthenticated.

A connection is unauthenticated until a request on it has the token. It may stay for a limited time, and when there are
too many connections, the oldest unauthenticated connection is closed. So idle or numerous connections cannot block a
client with a token, or use up the file descriptors that the server needs.
"""

import time
from collections.abc import Callable

Peer = tuple[str, int]  # address and port of the other side


class ConnectionLimiter:
    """All connections of one server."""

    def __init__(self, most: int, patience_seconds: float) -> None:
        """Hold at most `most` connections; close an unauthenticated one after `patience_seconds`."""
        self._most, self._patience = most, patience_seconds
        # Since when, and how to close it; the oldest first.
        self._unauthenticated: dict[Peer, tuple[float, Callable[[], None]]] = {}
        self._authenticated: set[Peer] = set()

    def add(self, peer: Peer, close: Callable[[], None]) -> None:
        """A connection was opened. What `close` closes is reported to `remove`."""
        self._unauthenticated[peer] = time.monotonic(), close
        if len(self._unauthenticated) + len(self._authenticated) > self._most:
            self._close(next(iter(self._unauthenticated)))

    def authenticate(self, peer: Peer) -> None:
        """The connection has shown the token, and may stay."""
        if self._unauthenticated.pop(peer, None):
            self._authenticated.add(peer)

    def remove(self, peer: Peer) -> None:
        """The connection is gone."""
        self._unauthenticated.pop(peer, None)
        self._authenticated.discard(peer)

    def close_expired(self) -> None:
        """Close unauthenticated connections that stayed too long; call it regularly."""
        for peer, (since, _) in list(self._unauthenticated.items()):
            if time.monotonic() - since < self._patience:
                return
            self._close(peer)

    def close_unauthenticated(self) -> None:
        """Close every unauthenticated connection: what it still sends would hold up the end."""
        for peer in list(self._unauthenticated):
            self._close(peer)

    def _close(self, peer: Peer) -> None:
        self._unauthenticated.pop(peer)[1]()
