"""Bodies are unpacked within limits."""

import gzip
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest

from server.errors import SourceUnreachable
from server.library.fetching.body import unpacked

TEXT = b"Muon orthogonalises momentum. " * 5000


def _raw(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return made.compress(data) + made.flush()


def _cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@pytest.mark.parametrize("size", [1, 7, 65536])
@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("", TEXT[:3000]),
        ("gzip", gzip.compress(TEXT)),
        ("x-gzip", gzip.compress(TEXT[:70]) + gzip.compress(TEXT[70:])),
        ("gzip", gzip.compress(TEXT) + b"\0" * 512),
        ("deflate", zlib.compress(TEXT)),
        ("Deflate", _raw(TEXT)),
    ],
)
def test_what_was_packed_is_unpacked(encoding: str, packed: bytes, size: int) -> None:
    assert unpacked(_cut(packed, size), encoding, len(TEXT)) == (TEXT if encoding else packed)


@pytest.mark.parametrize(
    ("encoding", "packed", "words"),
    [
        ("", TEXT, "more than"),
        ("gzip", gzip.compress(TEXT), "more than"),
        ("deflate", _raw(TEXT), "more than"),
        ("gzip", gzip.compress(TEXT)[:-20], "breaks off"),
        ("gzip", b"<html>no gzip", "damaged"),
        ("deflate", b"\xff\xff\xff\xff", "damaged"),
        ("br", b"\x0b\x02\x80abc", "not requested"),
        ("gzip, gzip", b"", "not requested"),
    ],
)
def test_what_is_too_large_or_damaged_is_refused(encoding: str, packed: bytes, words: str) -> None:
    most = len(TEXT) - 1 if words == "more than" else 10 * len(TEXT)
    with pytest.raises(SourceUnreachable, match=words):
        unpacked(_cut(packed, 1000), encoding, most)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_takes_no_more_memory_than_a_large_page(encoding: str) -> None:
    """A gigabyte of zeros, in a megabyte, in one chunk."""
    made = zlib.compressobj(9, wbits=31 if encoding == "gzip" else zlib.MAX_WBITS)
    head = made.compress(b"\0" * (1 << 20)) + made.flush(zlib.Z_FULL_FLUSH)
    again = made.compress(b"\0" * (1 << 20)) + made.flush(zlib.Z_FULL_FLUSH)
    bomb = head + again * 1000
    tracemalloc.start()
    try:
        with pytest.raises(SourceUnreachable, match="more than 20 MB"):
            unpacked([bomb], encoding, 20_000_000)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_a_flood_of_packed_bytes_that_stand_for_nothing_ends() -> None:
    made = zlib.compressobj(wbits=31)
    head = made.compress(b"") + made.flush(zlib.Z_SYNC_FLUSH)
    nothing = made.flush(zlib.Z_FULL_FLUSH) or b"\0\0\0\xff\xff"
    with pytest.raises(SourceUnreachable, match="more than"):
        unpacked((chunk for chunk in [head, *[nothing * 1000] * 100]), "gzip", 100_000)
