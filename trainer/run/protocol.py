"""Frames between the referee and train.py's process, over one Unix socket.

A frame is a 4-byte big-endian header length, a JSON header {"kind", "bytes", ...} and `bytes` bytes of payload. Every
size is checked against the reader's limit before anything is allocated: the writer may be hostile.

A file descriptor may ride on a header from the referee. None is taken from train.py's process: an open file that the
referee keeps can carry what one process has seen to the next.
"""

import errno
import json
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from trainer.contract import CHANNEL_VARIABLE

MAX_HEADER = 64 * 1024
_SLICE = 0.1  # seconds between two looks at the clock while waiting
_CHUNK = 1 << 20
_INT = 4  # bytes of a descriptor's number
SO_PASSRIGHTS = 83  # Linux 6.16: a socket that has it off is sent no descriptors
_WITH_DESCRIPTOR = frozenset({"tokens"})  # kinds of frames that bring one to train.py's process


class ChannelClosed(Exception):
    """The other side is gone."""


class ProtocolViolation(Exception):
    """The other side sent something that is not a legal frame, or not the frame that was due."""


class DescriptorSent(ProtocolViolation):
    """The other side sent file descriptors along. They are gone; the text says nothing of what else it sent."""


@dataclass(frozen=True)
class Frame:
    """One message: its kind, its header fields, its payload, and a descriptor the receiver now owns."""

    kind: str
    fields: dict[str, Any]
    payload: bytearray = field(default_factory=bytearray)
    descriptor: int | None = None


def _forever() -> None:
    """Nothing to look after while waiting."""


def ignored(_kind: str, _count: int) -> None:
    """Nothing to do when a frame begins."""


class Channel:
    """One end of the socket. `watch` is called at least every 0.1 s while waiting, and may raise to end the wait."""

    def __init__(
        self, sock: socket.socket, watch: Callable[[], None] = _forever, trusted: frozenset[str] = frozenset()
    ) -> None:
        """`trusted`: the kinds of frames with which a descriptor is taken; any other one is a violation."""
        self._sock = sock
        self._sock.setblocking(False)
        self._watch = watch
        self._looked = 0.0
        self._trusted = trusted
        if not trusted and sys.platform == "linux":
            with suppress(OSError):  # an older kernel: a descriptor is dropped where it is read
                sock.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)

    def send(self, kind: str, payload: bytes | memoryview = b"", descriptor: int | None = None, **fields: Any) -> None:
        """Send one frame. Raises ChannelClosed; ProtocolViolation where too many descriptors wait in sockets."""
        header = json.dumps({"kind": kind, "bytes": len(payload), **fields}).encode()
        opening = len(header).to_bytes(4, "big") + header
        if descriptor is not None:
            # The descriptor rides on the first byte; the rest follows as plain data.
            self._send_with(descriptor, opening[:1])
            opening = opening[1:]
        self._send_all(opening)
        self._send_all(payload)

    def receive(self, *kinds: str, limit: int = 0, opened: Callable[[str, int], None] = ignored) -> Frame:
        """Wait for the next frame, of one of `kinds`, with at most `limit` bytes of payload.

        `opened` is called with the kind and the size of the payload once the header is here, before the payload.

        Raises ChannelClosed, ProtocolViolation, and whatever `watch` and `opened` raise.
        """
        first, descriptor = self._receive_some(1, self._trusted.issuperset(kinds))
        size = int.from_bytes(first + self._receive_exactly(3), "big")
        if not 2 <= size <= MAX_HEADER:
            raise ProtocolViolation(f"a header of {size} bytes")
        kind, count, fields = _parse(bytes(self._receive_exactly(size)))
        if kind not in kinds:
            raise ProtocolViolation(f"{kind!r} where {' or '.join(kinds)} was due")
        if count > limit:
            raise ProtocolViolation(f"{count} bytes with {kind!r}, {limit} allowed")
        opened(kind, count)
        return Frame(kind, fields, self._receive_exactly(count), descriptor)

    def close(self) -> None:
        self._sock.close()

    def _receive_exactly(self, count: int) -> bytearray:
        data = bytearray()
        while len(data) < count:
            data += self._receive_some(min(count - len(data), _CHUNK))[0]
        return data

    def _receive_some(self, most: int, trusted: bool = False) -> tuple[bytes, int | None]:
        """Wait for up to `most` bytes and, if `trusted`, a descriptor with them.

        Without room for a descriptor the kernel drops all that were sent, and says so.
        """
        while True:
            self._wait()
            try:
                data, ancillary, flags, _ = self._sock.recvmsg(most, socket.CMSG_LEN(_INT) if trusted else 0)
            except BlockingIOError:
                continue
            except OSError as error:
                raise ChannelClosed from error
            if flags & socket.MSG_CTRUNC:
                raise DescriptorSent("it sent file descriptors, and none is taken from it")
            if not data:
                raise ChannelClosed
            return data, int.from_bytes(ancillary[0][2][:_INT], sys.byteorder) if ancillary else None

    def _send_with(self, descriptor: int, data: bytes) -> None:
        self._wait(write=True)
        try:
            socket.send_fds(self._sock, [data], [descriptor])
        except OSError as error:
            if error.errno == errno.ETOOMANYREFS:
                raise ProtocolViolation("too many file descriptors are on their way between processes") from error
            raise ChannelClosed from error

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
        raise ProtocolViolation("a header that is not a JSON object with kind and bytes") from error
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
        _inherited = Channel(socket.socket(fileno=int(number)), trusted=_WITH_DESCRIPTOR)
    return _inherited
