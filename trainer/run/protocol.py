"""Frames between the referee and train.py's process, over one Unix socket.

A frame is a 4-byte big-endian header length, a JSON header {"kind", "bytes", ...} and `bytes` bytes of payload;
a file descriptor may ride on the header. Every size is checked against the reader's limit before anything is
allocated: the writer may be hostile.
"""

import json
import os
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from trainer.contract import CHANNEL_VARIABLE

MAX_HEADER = 64 * 1024
_SLICE = 0.1  # seconds between two looks at the clock while waiting
_CHUNK = 1 << 20


class ChannelClosed(Exception):
    """The other side is gone."""


class ProtocolViolation(Exception):
    """The other side sent something that is not a legal frame, or not the frame that was due."""


@dataclass(frozen=True)
class Frame:
    """One message: its kind, its header fields, its payload, and a descriptor the receiver now owns."""

    kind: str
    fields: dict[str, Any]
    payload: bytearray = field(default_factory=bytearray)
    descriptor: int | None = None


def _forever() -> None:
    """Nothing to look after while waiting."""


class Channel:
    """One end of the socket. `watch` is called at least every 0.1 s while waiting, and may raise to end the wait."""

    def __init__(self, sock: socket.socket, watch: Callable[[], None] = _forever) -> None:
        self._sock = sock
        self._sock.setblocking(False)
        self._watch = watch
        self._looked = 0.0

    def send(self, kind: str, payload: bytes | memoryview = b"", descriptor: int | None = None, **fields: Any) -> None:
        """Send one frame. Raises ChannelClosed."""
        header = json.dumps({"kind": kind, "bytes": len(payload), **fields}).encode()
        opening = len(header).to_bytes(4, "big") + header
        if descriptor is not None:
            # The descriptor rides on the first byte; the rest follows as plain data.
            self._wait(write=True)
            socket.send_fds(self._sock, [opening[:1]], [descriptor])
            opening = opening[1:]
        self._send_all(opening)
        self._send_all(payload)

    def receive(self, *kinds: str, limit: int = 0) -> Frame:
        """Wait for the next frame, of one of `kinds`, with at most `limit` bytes of payload.

        Raises ChannelClosed, ProtocolViolation, and whatever `watch` raises.
        """
        first, descriptor = self._receive_first()
        size = int.from_bytes(first + self._receive_exactly(3), "big")
        if not 2 <= size <= MAX_HEADER:
            raise ProtocolViolation(f"a header of {size} bytes")
        kind, count, fields = _parse(bytes(self._receive_exactly(size)))
        if kind not in kinds:
            raise ProtocolViolation(f"{kind!r} where {' or '.join(kinds)} was due")
        if count > limit:
            raise ProtocolViolation(f"{count} bytes with {kind!r}, {limit} allowed")
        return Frame(kind, fields, self._receive_exactly(count), descriptor)

    def close(self) -> None:
        self._sock.close()

    def _receive_first(self) -> tuple[bytearray, int | None]:
        self._wait()
        try:
            data, descriptors, _, _ = socket.recv_fds(self._sock, 1, 4)
        except OSError as error:
            raise ChannelClosed from error
        for extra in descriptors[1:]:
            os.close(extra)
        if not data:
            raise ChannelClosed
        return bytearray(data), descriptors[0] if descriptors else None

    def _receive_exactly(self, count: int) -> bytearray:
        data = bytearray()
        while len(data) < count:
            self._wait()
            try:
                chunk = self._sock.recv(min(count - len(data), _CHUNK))
            except BlockingIOError:
                continue
            except OSError as error:
                raise ChannelClosed from error
            if not chunk:
                raise ChannelClosed
            data += chunk
        return data

    def _send_all(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            self._wait(write=True)
            try:
                view = view[self._sock.send(view[:_CHUNK]) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise ChannelClosed from error

    def _wait(self, write: bool = False) -> None:
        """Return when the socket is ready; look after `watch` meanwhile, also under a steady stream of data."""
        while True:
            if time.monotonic() - self._looked >= _SLICE:
                self._looked = time.monotonic()
                self._watch()
            ready = select.select([] if write else [self._sock], [self._sock] if write else [], [], _SLICE)
            if ready[0] or ready[1]:
                return


def _parse(header: bytes) -> tuple[str, int, dict[str, Any]]:
    try:
        fields = json.loads(header)
        kind, count = fields.pop("kind"), fields.pop("bytes")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ProtocolViolation("a header that is no JSON object with kind and bytes") from error
    if not isinstance(kind, str) or type(count) is not int or count < 0:
        raise ProtocolViolation("a header whose kind or bytes is of the wrong type")
    return kind, count, fields


_inherited: Channel | None = None


def inherited() -> Channel:
    """The channel this process was started with; the same object every time.

    Raises:
        RuntimeError: this process was not started by a supervisor.
    """
    global _inherited  # one descriptor, one stream: two readers would tear frames apart
    if _inherited is None:
        number = os.environ.get(CHANNEL_VARIABLE)
        if number is None:
            raise RuntimeError("train.py is started by the autoresearch server: call run_experiment, or `make demo`.")
        _inherited = Channel(socket.socket(fileno=int(number)))
    return _inherited
