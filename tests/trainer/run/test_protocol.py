"""Frames between two processes, one of which may be hostile."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from trainer.run.protocol import MAX_HEADER, Channel, ChannelClosed, ProtocolViolation


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


def test_a_descriptor_rides_on_a_frame(pair: tuple[socket.socket, Channel], tmp_path: Path) -> None:
    (tmp_path / "tokens").write_bytes(b"abc")
    with (tmp_path / "tokens").open("rb") as file:
        Channel(pair[0]).send("tokens", descriptor=file.fileno())
    descriptor = pair[1].receive("tokens").descriptor
    assert descriptor is not None
    with os.fdopen(descriptor, "rb") as received:
        assert received.read() == b"abc"


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
