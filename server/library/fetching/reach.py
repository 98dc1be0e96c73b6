"""Connections: a name is resolved once, each address is looked at, and the one that may be is connected to."""

import socket
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

import httpcore2

from server.errors import SourceUnreachable
from server.library.fetching.addresses import Allowed

T = TypeVar("T")
_STEP_OPEN = "If that is your own network and you trust it, call again with --allow-address {address}."
_TRIED = 4  # addresses of one name


class Deadline:
    """The end of all that is done for one source."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._end = seconds, time.monotonic() + seconds

    def left(self, most: float) -> float:
        """Seconds for the next step, `most` of them. Raises SourceUnreachable: there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise SourceUnreachable(
                f"It takes more than {self._seconds:g} seconds to fetch.", "Save it in a browser, and add the file."
            )
        return min(left, most)


class Reach:
    """What may be connected to."""

    def __init__(self, allowed: Allowed | None = None, connect_seconds: float = 10) -> None:
        self._allowed, self._seconds = allowed or Allowed(), connect_seconds

    def connect(self, host: str, port: int, deadline: Deadline, connect: Callable[[str, int, float], T]) -> T:
        """A connection to a host.

        Args:
            connect: makes one to an address that is no name, in so many seconds.

        Raises:
            SourceUnreachable: it has no address that may be connected to, or none answers.
        """
        problem = ""
        for address in self._permitted(host, port, deadline):
            try:
                return connect(address, port, deadline.left(self._seconds))
            except (OSError, httpcore2.NetworkError, httpcore2.TimeoutException) as error:
                cause = error.__cause__ or error
                problem = getattr(cause, "strerror", "") or "it does not answer"
        told = f"{host} cannot be reached: {problem.lower()}."
        raise SourceUnreachable(told, "Check the network and the address.")

    def _permitted(self, host: str, port: int, deadline: Deadline) -> list[str]:
        found = _resolved(host, port, deadline.left(self._seconds))
        judged = [(address, self._allowed.why_not(host, address)) for address in found]
        if good := [address for address, why in judged if not why]:
            return good[:_TRIED]
        address, why = judged[0]
        told = host if address == host.strip("[]") else f"{host} ({address})"
        raise SourceUnreachable(f"Nothing is fetched from {told}: it is {why}.", _STEP_OPEN.format(address=address))


def _resolved(host: str, port: int, seconds: float) -> list[str]:
    """The addresses of a name. The system's resolver knows no deadline: whoever waits for it does."""
    answer: SimpleQueue[list[str] | OSError] = SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
            answer.put([str(place[0]) for _, _, _, _, place in found])
        except (OSError, UnicodeError) as error:
            answer.put(error if isinstance(error, OSError) else OSError(str(error)))

    Thread(target=ask, daemon=True).start()
    try:
        found = answer.get(timeout=seconds)
    except Empty:
        found = OSError("no answer")
    if isinstance(found, OSError) or not found:
        told = f"{host} has no address that is known here."
        raise SourceUnreachable(told, "Check the network and the name.")
    return found
