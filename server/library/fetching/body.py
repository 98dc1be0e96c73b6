"""The body of an answer, unpacked within limits: a small one may stand for gigabytes. Pure."""

import zlib
from collections.abc import Iterable

from server.errors import SourceUnreachable

ENCODINGS = "gzip, deflate"  # what is asked for: their decompressors can be stopped
_BLOCK = 1 << 16
_GZIP = 16 + zlib.MAX_WBITS
_STEP = "Save it in a browser, and add the file."


def unpacked(chunks: Iterable[bytes], encoding: str, most: int) -> bytes:
    """All of a body.

    Args:
        chunks: as they come from the network. encoding: the header Content-Encoding. most: bytes, packed or not.

    Raises:
        SourceUnreachable: it is larger, broken off, or packed in a way that was not asked for.
    """
    packed, out = 0, bytearray()
    unpack = _Unpack(encoding.strip().lower())
    for chunk in chunks:
        packed += len(chunk)
        for piece in unpack.pieces(chunk):
            out += piece
            if len(out) > most:
                break
        if max(packed, len(out)) > most:
            told = f"It has more than {most / 1e6:.3g} MB."
            raise SourceUnreachable(told, "Add the part that matters, as a file of its own.")
    if not unpack.complete:
        raise SourceUnreachable(
            "It breaks off in the middle.", "Call again; or save it in a browser, and add the file."
        )
    return bytes(out)


class _Unpack:
    """What takes packed bytes as they come."""

    def __init__(self, encoding: str) -> None:
        known = ("", "identity", "gzip", "x-gzip", "deflate")
        if encoding not in known:
            raise SourceUnreachable(f"It is compressed as {encoding[:40]!r}, which was not requested.", _STEP)
        self._gzip, self._plain = encoding.endswith("gzip"), encoding in known[:2]
        self._made = zlib.decompressobj(_GZIP) if self._gzip else None
        self._start = b""

    @property
    def complete(self) -> bool:
        return self._plain or (self._made.eof if self._made else not self._start)

    def pieces(self, chunk: bytes) -> Iterable[bytes]:
        """What a chunk stands for, in pieces of bounded size."""
        if self._plain:
            yield chunk
            return
        data = chunk
        if self._made is None:
            data = self._start = self._start + chunk
            if len(data) < 2:
                return
            self._made = zlib.decompressobj(zlib.MAX_WBITS if _has_header(data) else -zlib.MAX_WBITS)
        try:
            yield from self._unpacked(data)
        except zlib.error:
            raise SourceUnreachable("Its compressed data is damaged.", _STEP) from None

    def _unpacked(self, data: bytes) -> Iterable[bytes]:
        made = self._made
        assert made is not None
        while data:
            if made.eof:
                if not (self._gzip and data.startswith(b"\x1f")):
                    return  # what follows the end counts for nothing
                self._made = made = zlib.decompressobj(_GZIP)  # another member
            yield made.decompress(data, _BLOCK)
            data = made.unused_data if made.eof else made.unconsumed_tail
        while not made.eof and (piece := made.decompress(b"", _BLOCK)):
            yield piece


def _has_header(data: bytes) -> bool:
    """Whether packed bytes begin as zlib has it: many servers leave that out."""
    return data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
