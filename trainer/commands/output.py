"""What a process prints, kept up to a limit: the beginning, the end, and of what lies between the lines that count.

And how it ended, with that.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from trainer.commands.confined_process import Measure
from trainer.text import plain

_HEAD_BYTES = 2 << 20
_SHOWN_BYTES = 4000
_TAIL_BYTES = 2 << 20
_BETWEEN_LINES = 10_000
_LONGEST = 200  # bytes of one of them


class Output:
    """One stream. A flood costs no more than to be read."""

    def __init__(self, mark: bytes) -> None:
        """Lines with `mark` are kept wherever they are; of too many the last."""
        self._mark = mark
        self._head, self._tail = bytearray(), bytearray()
        self._between: deque[bytes] = deque(maxlen=_BETWEEN_LINES)
        self.dropped = 0  # bytes

    def add(self, block: bytes) -> None:
        """Take what came."""
        room = _HEAD_BYTES - len(self._head)
        self._head += block[:room]
        self._tail += block[max(room, 0) :]
        if len(self._tail) >= 2 * _TAIL_BYTES:
            self._shorten()

    def text(self) -> bytes:
        """All of it, or what was kept, each part from the beginning of a line."""
        if not self.dropped:
            return bytes(self._head + self._tail)
        left_out = f"\n... {self.dropped} bytes left out ...\n".encode()
        between = b"".join(line + b"\n" for line in self._between)
        return bytes(self._head.rpartition(b"\n")[0]) + left_out + between + bytes(self._tail)

    def _shorten(self) -> None:
        end = self._tail.rfind(b"\n", 0, len(self._tail) - _TAIL_BYTES) + 1 or len(self._tail) - _TAIL_BYTES
        if not self.dropped:  # the line that the beginning ends in goes on here
            self._search(self._head[self._head.rfind(b"\n") + 1 :] + self._tail[:end])
        else:
            self._search(self._tail[:end])
        del self._tail[:end]
        self.dropped += end

    def _search(self, part: bytearray) -> None:
        at = part.find(self._mark)
        while at >= 0:
            begin, end = part.rfind(b"\n", 0, at) + 1, part.find(b"\n", at)
            self._between.append(bytes(part[begin : end if end >= 0 else len(part)][:_LONGEST]))
            at = part.find(self._mark, end) if end >= 0 else -1


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it has used."""

    exit_code: int | None  # negative: the signal; None: its time was over
    timed_out: bool
    stdout: bytes  # the beginning, the end, and all lines with METRIC, where it is too long to be kept
    stderr: bytes
    cpu_seconds: float
    wall_seconds: float
    peak_memory_mb: float
    out_of_memory: bool = False  # the kernel ended one of its processes

    @property
    def tail(self) -> str:
        """The end of what it printed."""
        return plain((self.stdout[-_SHOWN_BYTES:] + self.stderr[-_SHOWN_BYTES:]).decode("utf-8", "replace"))


def ended_as(measure: Measure, ended: bool, streams: Mapping[str, Output]) -> Ended:
    """What a command used and printed. `ended`: by itself, and not because its time was over."""
    return Ended(
        exit_code=measure.exit_code if ended else None,
        timed_out=not ended,
        stdout=streams["stdout"].text(),
        stderr=streams["stderr"].text(),
        cpu_seconds=measure.cpu_seconds,
        wall_seconds=measure.wall_seconds,
        peak_memory_mb=measure.peak_memory_mb,
    )
