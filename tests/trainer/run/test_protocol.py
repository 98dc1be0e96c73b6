"""Frames between two processes, one of which may be hostile."""

import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from trainer.run.protocol import MAX_HEADER, SO_PASSRIGHTS, Channel, ChannelClosed, DescriptorSent, ProtocolViolation


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, Channel]]:
    theirs, ours = socket.socketpair()
    with theirs, ours:
        yield theirs, Channel(ours)


def frame(header: object, payload: bytes = b"") -> bytes:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(encoded).to_bytes(4, "big") + encoded + payload


def test_a_frame_arrives_as_it_was_sent(pair: tuple[socket.socket, Channel]) -> None:
    payload = os.urandom(3_000_000)  # more than a socket buffer holds
    sender = Thread(target=lambda: Channel(pair[0]).send("submit", payload, steps=3))
    sender.start()
    received = pair[1].receive("step", "submit", limit=len(payload))
    sender.join()
    assert (received.kind, received.fields, bytes(received.payload)) == ("submit", {"steps": 3}, payload)


def test_a_descriptor_rides_on_the_frame_that_brings_one(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_bytes(b"abc")
    theirs, ours = socket.socketpair()
    with theirs, ours, (tmp_path / "tokens").open("rb") as file:
        channel = Channel(ours, trusted=frozenset({"tokens"}))
        Channel(theirs).send("tokens", descriptor=file.fileno())
        descriptor = channel.receive("tokens").descriptor
        assert descriptor is not None
        with os.fdopen(descriptor, "rb") as received:
            assert received.read() == b"abc"
        Channel(theirs).send("config", descriptor=file.fileno())
        with pytest.raises(DescriptorSent):
            channel.receive("config")


def as_on_an_older_kernel(sock: socket.socket) -> None:
    """Let descriptors be sent to `sock`, as every kernel before Linux 6.16 does."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 1)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[int, Callable[[], bool]]]:
    """A descriptor of a locked file, and whether an open file with that lock is still somewhere."""
    path = tmp_path / "locked"
    path.touch()
    descriptor = os.open(path, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # of the open file, like the locks of F_OFD_SETLK

    def locked() -> bool:
        with path.open("rb") as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    yield descriptor, locked
    with suppress(OSError):
        os.close(descriptor)


SENT = frame({"kind": "step", "bytes": 9}, b"a payload")


@pytest.mark.parametrize("place", [0, 1, 10, len(SENT) - 9, len(SENT) - 1])
@pytest.mark.parametrize("count", [1, 200])
def test_no_descriptor_reaches_who_trusts_nobody_wherever_it_rides(
    pair: tuple[socket.socket, Channel], held: tuple[int, Callable[[], bool]], place: int, count: int
) -> None:
    theirs, channel = pair
    (descriptor, locked), before = held, os.listdir("/dev/fd")
    as_on_an_older_kernel(channel._sock)  # pyright: ignore[reportPrivateUsage]
    theirs.sendall(SENT + SENT[:place])
    socket.send_fds(theirs, [SENT[place : place + 1]], [descriptor] * count)
    theirs.sendall(SENT[place + 1 :])
    os.close(descriptor)
    assert channel.receive("step", limit=9).payload == b"a payload" and locked()
    with pytest.raises(DescriptorSent, match="it sent file descriptors"):
        channel.receive("step", limit=9)
    assert len(os.listdir("/dev/fd")) < len(before) and not locked()


def test_descriptors_far_ahead_of_what_is_read_are_gone_when_the_channel_is_closed(
    pair: tuple[socket.socket, Channel], held: tuple[int, Callable[[], bool]]
) -> None:
    (theirs, channel), (descriptor, locked) = pair, held
    as_on_an_older_kernel(channel._sock)  # pyright: ignore[reportPrivateUsage]
    for _ in range(50):
        theirs.sendall(SENT)
    socket.send_fds(theirs, [SENT], [descriptor])
    os.close(descriptor)
    channel.receive("step", limit=9)
    assert locked()
    channel.close()
    assert not locked()


def test_a_kernel_that_can_refuses_to_send_them_at_all(pair: tuple[socket.socket, Channel]) -> None:
    try:
        pair[1]._sock.getsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS)  # pyright: ignore[reportPrivateUsage]
    except OSError:
        pytest.skip("a kernel without SO_PASSRIGHTS")
    with pytest.raises(PermissionError):
        socket.send_fds(pair[0], [SENT], [0])


def test_a_frame_is_told_before_its_payload(pair: tuple[socket.socket, Channel]) -> None:
    told: list[tuple[str, int]] = []

    def opened(kind: str, count: int) -> None:
        told.append((kind, count))
        pair[0].sendall(b"a payload")  # not before: who waits for it would wait for ever

    pair[0].sendall(SENT[:-9])
    assert pair[1].receive("step", limit=9, opened=opened).payload == b"a payload"
    assert told == [("step", 9)]


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xff\xff\xff",
        (MAX_HEADER + 1).to_bytes(4, "big"),
        b"\x00\x00\x00\x00",
        frame(b"not json"),
        frame([1, 2]),
        frame({"kind": "step"}),
        frame({"kind": "step", "bytes": -1}),
        frame({"kind": "step", "bytes": True}),
        frame({"kind": "step", "bytes": "9"}),
        frame({"kind": 7, "bytes": 0}),
        frame({"kind": "rows", "bytes": 0}),
        frame({"kind": "step", "bytes": 1 << 60}),
        frame(b"[" * 60_000),
    ],
)
def test_garbage_is_a_violation_before_anything_is_allocated(pair: tuple[socket.socket, Channel], raw: bytes) -> None:
    pair[0].sendall(raw)
    with pytest.raises(ProtocolViolation):
        pair[1].receive("step", limit=1000)


def test_a_closed_socket_is_told_apart_from_garbage(pair: tuple[socket.socket, Channel]) -> None:
    pair[0].sendall(frame({"kind": "step", "bytes": 10}, b"123"))
    pair[0].close()
    with pytest.raises(ChannelClosed):
        pair[1].receive("step", limit=10)


class OverTime(Exception):
    pass


@pytest.mark.parametrize("drip", [b"", b"\x00"])
def test_waiting_is_ended_by_the_watch(drip: bytes) -> None:
    theirs, ours = socket.socketpair()
    looks = 0

    def watch() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise OverTime

    with theirs, ours:
        theirs.sendall(drip)
        with pytest.raises(OverTime):
            Channel(ours, watch).receive("step")
