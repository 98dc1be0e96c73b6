"""The way of git to the network: a proxy on this machine that looks at addresses, and counts bytes and seconds.

Git resolves names itself, and follows redirects. So each of its connections is made here, to an address that may be.
"""

import re
import selectors
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from threading import Lock, Thread

from server.errors import SourceUnreachable
from server.library.fetching.reach import Deadline, Reach

_CONNECT = re.compile(rb"CONNECT ([\w.-]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5}) HTTP/1\.[01]\r\n")
_MOST_HEAD = 16_384
_BLOCK = 1 << 16
_IDLE_SECONDS = 30.0
_STEP = "Clone the part that you need yourself, and name the folder."


class Tunnel:
    """A proxy that knows CONNECT and nothing else, for one fetch."""

    def __init__(self, reach: Reach, deadline: Deadline, most_bytes: int) -> None:
        self._reach, self._deadline, self._most = reach, deadline, most_bytes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock, self._taken, self._open = Lock(), 0, set[socket.socket]()
        self.problem: SourceUnreachable | None = None  # why a connection was refused or cut
        Thread(target=self._serve, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """End it, and every connection through it."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits there
        self._listener.close()
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            Thread(target=self._lead, args=(client,), daemon=True).start()

    def _lead(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            try:
                client.settimeout(self._deadline.left(_IDLE_SECONDS))
                with self._connected(client) as server:
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    self._pass(client, server)
            except SourceUnreachable as error:
                self.problem = self.problem or error
                client.sendall(b"HTTP/1.1 403 Refused\r\nContent-Length: 0\r\n\r\n")

    @contextmanager
    def _connected(self, client: socket.socket) -> Generator[socket.socket]:
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _MOST_HEAD and (block := client.recv(_BLOCK)):
            head += block
        found = _CONNECT.match(head)
        if not found:
            raise SourceUnreachable("A repository is fetched by https alone.", _STEP)
        host, port = found[1].decode("ascii"), int(found[2])

        def connect(address: str, port: int, seconds: float) -> socket.socket:
            return socket.create_connection((address, port), seconds)

        with self._reach.connect(host, port, self._deadline, connect) as server:
            with self._lock:
                self._open |= {client, server}
            try:
                yield server
            finally:
                with self._lock:
                    self._open -= {client, server}

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        """Hand bytes on, both ways, until one side ends. Raises SourceUnreachable: too many, or too slow."""
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while True:
                ready = selector.select(self._deadline.left(_IDLE_SECONDS))
                if not ready:
                    raise SourceUnreachable("The server stopped answering.", "Call again later.")
                for key, _ in ready:
                    source, target = key.fileobj, key.data
                    assert isinstance(source, socket.socket)
                    if not (block := source.recv(_BLOCK)):
                        return
                    self._count(len(block))
                    target.settimeout(self._deadline.left(_IDLE_SECONDS))
                    target.sendall(block)

    def _count(self, size: int) -> None:
        with self._lock:
            self._taken += size
            over = self._taken > self._most
        if over:
            raise SourceUnreachable(f"The repository has more than {self._most / 1e6:.3g} MB.", _STEP)
