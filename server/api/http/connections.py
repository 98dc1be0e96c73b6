"""Who is connected over HTTP. A stranger is a connection over which nobody has shown the token yet.

A stranger may stay only so long, and when the room is full the one that has stayed longest makes way. So neither
silence nor numbers keep an honest client out, or use up the descriptors that the server needs for its own files.
"""

import time
from collections.abc import Callable

Peer = tuple[str, int]  # address and port of the other side


class ConnectionLimiter:
    """All connections of one server."""

    def __init__(self, most: int, patience_seconds: float) -> None:
        """Hold at most `most` connections; a stranger is hung up on after `patience_seconds`."""
        self._most, self._patience = most, patience_seconds
        self._strangers: dict[Peer, tuple[float, Callable[[], None]]] = {}  # since when, and how to hang up; in order
        self._guests: set[Peer] = set()

    def arrive(self, peer: Peer, hang_up: Callable[[], None]) -> None:
        """A stranger has come; who hangs up reports it to `leave`."""
        self._strangers[peer] = time.monotonic(), hang_up
        if len(self._strangers) + len(self._guests) > self._most:
            self._dismiss(next(iter(self._strangers)))

    def admit(self, peer: Peer) -> None:
        """The stranger has shown the token, and may stay."""
        if self._strangers.pop(peer, None):
            self._guests.add(peer)

    def leave(self, peer: Peer) -> None:
        """The connection is gone."""
        self._strangers.pop(peer, None)
        self._guests.discard(peer)

    def tidy(self) -> None:
        """Hang up on strangers that stayed too long; to be called every now and then."""
        for peer, (since, _) in list(self._strangers.items()):
            if time.monotonic() - since < self._patience:
                return
            self._dismiss(peer)

    def close(self) -> None:
        """Hang up on every stranger: what they still say would hold up the end."""
        for peer in list(self._strangers):
            self._dismiss(peer)

    def _dismiss(self, peer: Peer) -> None:
        self._strangers.pop(peer)[1]()
